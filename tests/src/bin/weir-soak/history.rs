//! What was in force when.
//!
//! An edit has a moment before which the new state can't be in force (just before the file is written) and one after
//! which the old one must not be (the agent says so, plus the grace). Between them either may answer.

use std::sync::Arc;

use crate::clock;
use crate::model::State;

struct Epoch {
    what: String,
    state: Arc<State>,
    written: u64,
    firm: Option<u64>,
}

/// All states so far.
pub struct History {
    epochs: Vec<Epoch>,
    down: Vec<(u64, Option<u64>)>,
}

impl History {
    /// Begins with a state that has been in force for ever.
    pub fn new(state: State) -> History {
        let first = Epoch {
            what: "the beginning".to_string(),
            state: Arc::new(state),
            written: 0,
            firm: Some(0),
        };
        History {
            epochs: vec![first],
            down: Vec::new(),
        }
    }

    /// The newest state.
    pub fn latest(&self) -> Arc<State> {
        self.epochs[self.epochs.len() - 1].state.clone()
    }

    /// From now on this state may be in force, because of `what`.
    pub fn begin(&mut self, what: &str, state: State) {
        self.epochs.push(Epoch {
            what: what.to_string(),
            state: Arc::new(state),
            written: clock::now(),
            firm: None,
        });
    }

    /// From `at` on only the newest state may be.
    pub fn firm(&mut self, at: u64) {
        for epoch in self.epochs.iter_mut().rev() {
            if epoch.firm.is_some() {
                break;
            }
            epoch.firm = Some(at);
        }
    }

    /// The agent goes.
    pub fn goes_down(&mut self) {
        self.down.push((clock::now(), None));
    }

    /// It is back, and everything is as it should be from `at` on.
    pub fn is_up(&mut self, at: u64) {
        if let Some((_, end)) = self.down.last_mut() {
            *end = Some(at);
        }
    }

    /// The states that may have been in force at some moment between the two.
    pub fn between(&self, from: u64, until: u64) -> Vec<Arc<State>> {
        self.epochs_between(from, until)
            .map(|epoch| epoch.state.clone())
            .collect()
    }

    /// What led to them, and when.
    pub fn told(&self, from: u64, until: u64) -> Vec<(&str, u64, Option<u64>)> {
        let epochs = self.epochs_between(from, until);
        epochs
            .map(|epoch| (epoch.what.as_str(), epoch.written, epoch.firm))
            .collect()
    }

    fn epochs_between(&self, from: u64, until: u64) -> impl Iterator<Item = &Epoch> {
        let ends = self.epochs.iter().skip(1).map(|next| next.firm).chain([None]);
        let spans = self.epochs.iter().zip(ends);
        spans
            .filter(move |(epoch, end)| epoch.written <= until && end.is_none_or(|end| end >= from))
            .map(|(epoch, _)| epoch)
    }

    /// True where there was no agent at some moment between the two.
    pub fn was_down(&self, from: u64, until: u64) -> bool {
        self.down
            .iter()
            .any(|(start, end)| *start <= until && end.is_none_or(|end| end >= from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> State {
        let mut state = State::default();
        state.routes.insert(name.to_string(), Vec::new());
        state
    }

    fn names(states: &[Arc<State>]) -> Vec<String> {
        states.iter().flat_map(|state| state.routes.keys().cloned()).collect()
    }

    #[test]
    fn between_write_and_firm_either_state_may_answer() {
        let mut history = History::new(named("a"));
        history.begin("b", named("b"));
        let written = clock::now();
        assert_eq!(names(&history.between(1, 2)), ["a"], "before the write");
        assert_eq!(
            names(&history.between(written, written + 1)),
            ["a", "b"],
            "not firm yet"
        );
        history.firm(written + 100);
        assert_eq!(names(&history.between(written + 50, written + 60)), ["a", "b"]);
        assert_eq!(names(&history.between(written + 101, written + 102)), ["b"]);
        assert_eq!(
            names(&history.between(1, written + 500)),
            ["a", "b"],
            "a long one sees both"
        );
    }
}
