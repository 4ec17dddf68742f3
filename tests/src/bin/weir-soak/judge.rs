//! What happened against what was in force: the verdict on each event.

use std::sync::Arc;

use crate::event::{Ask, Event, Kind, Outcome};
use crate::history::History;
use crate::model::{Candidate, Held, State};

/// What an event says about the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Served as it had to be.
    Served,
    /// Refused as it had to be.
    Refused,
    /// Either answer would have done: something that concerns it was changing, or is refused by one server of several.
    Open,
    /// It may not be so.
    Violation(String),
}

/// The verdict.
pub fn judge(event: &Event, history: &History) -> Verdict {
    let now = Views::new(event, history.between(event.from, event.until));
    match &event.outcome {
        Outcome::Torn(what) => Verdict::Violation(format!("a wrong answer: {what}")),
        // What policy ends, it resets.
        Outcome::Cut(what) => match Views::new(event, history.between(event.since, event.until)).churns() {
            true => Verdict::Open,
            false => Verdict::Violation(format!("a part that looks whole: {what}: {}", now.describe())),
        },
        Outcome::Served(server) => {
            if !now.may_be_served(server.as_deref()) {
                return Verdict::Violation(format!(
                    "served by {} and forbidden: {}",
                    server.as_deref().unwrap_or("somebody"),
                    now.describe()
                ));
            }
            if now.must_be_served() {
                Verdict::Served
            } else {
                Verdict::Open
            }
        }
        Outcome::Refused(how) | Outcome::Failed(how) => {
            let failed = matches!(event.outcome, Outcome::Failed(_));
            let whole = Views::new(event, history.between(event.since, event.until));
            let down = history.was_down(event.since, event.until);
            if whole.must_be_served() && !whole.churns() && (!down || whole.in_the_kernel()) {
                return Verdict::Violation(format!("not served ({how}) and allowed: {}", whole.describe()));
            }
            if now.must_be_refused() {
                // 503 and a time-out are no refusals. A pod that is going may answer in its own way.
                return match failed && !down && !whole.churns() {
                    true => {
                        Verdict::Violation(format!("failed ({how}) where it had to be refused: {}", now.describe()))
                    }
                    false => Verdict::Refused,
                };
            }
            Verdict::Open
        }
    }
}

/// The event as each of the states sees it.
struct Views<'a> {
    event: &'a Event,
    states: Vec<Arc<State>>,
    candidates: Vec<Vec<Candidate>>,
}

impl Views<'_> {
    fn new(event: &Event, states: Vec<Arc<State>>) -> Views<'_> {
        let held = match (&event.held, event.kind) {
            (None, _) => Held::No,
            (Some(held), Kind::Kept | Kind::Fresh | Kind::Pipelined) => Held::Maybe(held.clone()),
            (Some(held), _) => Held::By(held.clone()),
        };
        let ask = |state: &Arc<State>| state.candidates(&event.client, event.to, &event.ask, &held);
        Views {
            event,
            candidates: states.iter().map(ask).collect(),
            states,
        }
    }

    /// Some state lets it, by that server. The address of a pod that nobody has declared is left alone.
    fn may_be_served(&self, server: Option<&str>) -> bool {
        let is_service = |state: &Arc<State>| state.services.values().any(|one| one.ips.contains(&self.event.to.ip()));
        let mut views = self.states.iter().zip(&self.candidates);
        if views.any(|(state, candidates)| candidates.is_empty() && !is_service(state)) {
            return true;
        }
        let fits = |one: &Candidate| one.allowed && server.is_none_or(|server| server == one.server);
        self.candidates.iter().flatten().any(fits)
    }

    /// Every state lets it, whoever of the servers gets it.
    fn must_be_served(&self) -> bool {
        let all = |candidates: &Vec<Candidate>| !candidates.is_empty() && candidates.iter().all(|one| one.allowed);
        self.candidates.iter().all(all)
    }

    /// No state lets it.
    fn must_be_refused(&self) -> bool {
        let none = |candidates: &Vec<Candidate>| !candidates.is_empty() && candidates.iter().all(|one| !one.allowed);
        self.candidates.iter().all(none)
    }

    fn in_the_kernel(&self) -> bool {
        self.candidates.iter().flatten().all(|one| one.kernel)
    }

    /// Who the client is, or who the servers are, changes; or one of them is being made or removed.
    fn churns(&self) -> bool {
        let who = |state: &Arc<State>, candidates: &Vec<Candidate>| {
            let servers = candidates.iter().map(|one| state.pods.get(&one.server).cloned());
            // A pod that is somebody else by its bindings is refused for a moment, but keeps what it has open.
            let bindings = self.event.held.is_none().then(|| state.named_bindings());
            (
                state.pods.get(&self.event.client).cloned(),
                servers.collect::<Vec<_>>(),
                bindings,
            )
        };
        let all: Vec<_> = self
            .states
            .iter()
            .zip(&self.candidates)
            .map(|(state, candidates)| who(state, candidates))
            .collect();
        // A split that changes changes the candidates, and disturbs nobody.
        let moving = all
            .iter()
            .any(|(client, servers, _)| client.iter().chain(servers.iter().flatten()).any(|pod| pod.churning));
        let identity = |(client, _, bindings): &(Option<_>, Vec<_>, _)| (client.clone(), Clone::clone(bindings));
        // Nobody yet, or nobody any more: it knows no Services either.
        let stranger = all.iter().any(|(client, _, _)| client.is_none());
        // What went straight to its server because everything may is ended where only requests may.
        let modes = self.states.windows(2).any(|pair| pair[0].lenient != pair[1].lenient);
        moving
            || stranger
            || modes
            || self.way_changes()
            || all.windows(2).any(|pair| identity(&pair[0]) != identity(&pair[1]))
            || self.servers_change()
    }

    /// What was any bytes may be requests only, or the other way round: nobody can read requests out of a connection that
    /// went straight to its server, so it ends.
    fn way_changes(&self) -> bool {
        let mut bytes = self.candidates.iter().flatten().map(|one| one.bytes);
        let first = bytes.next();
        self.event.held.is_some() && bytes.any(|one| Some(one) != first)
    }

    /// The same server is somebody else.
    fn servers_change(&self) -> bool {
        let servers = self.candidates.iter().flatten().map(|one| &one.server);
        let mut changes = false;
        for server in servers {
            let mut pods = self.states.iter().map(|state| state.pods.get(server));
            let first = pods.next();
            changes |= pods.any(|pod| Some(pod) != first);
        }
        changes
    }

    fn describe(&self) -> String {
        let mut text = String::new();
        for (state, candidates) in self.states.iter().zip(&self.candidates) {
            let client = state.pods.get(&self.event.client);
            let who = client.map_or("nobody".to_string(), |pod| format!("{}/{}", pod.namespace, pod.account));
            let servers: Vec<String> = candidates
                .iter()
                .map(|one| format!("{} {}", one.server, if one.allowed { "may" } else { "may not" }))
                .collect();
            text += &format!("\n      as {who}: {}", servers.join(", "));
        }
        let what = match &self.event.ask {
            Ask::Bytes => "bytes".to_string(),
            Ask::Datagram => "a datagram".to_string(),
            Ask::Http { method, path, gold } => format!("{method} {path}{}", if *gold { " (gold)" } else { "" }),
        };
        format!("{what} to {}{text}", self.event.to)
    }
}

#[cfg(test)]
mod tests;
