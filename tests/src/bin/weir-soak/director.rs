//! Who changes things: the manifests, the pods, the agent; and keeps the history of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_tests::world::Pod as Place;
use weir_tests::{Agent, Manifests, stop};

use crate::clock;
use crate::court::Court;
use crate::fleet::Fleet;
use crate::model::{State, render};
use crate::rng::Rng;
use crate::watch::Counters;

/// An edit that takes longer than this to be in force is a fault of its own.
const LATEST: Duration = Duration::from_secs(10);

/// A change of one file, and what it does to the state.
pub struct Edit {
    /// The file, without its ending.
    pub file: String,
    /// For the log.
    pub what: String,
    /// The change.
    pub apply: Box<dyn Fn(&mut State)>,
}

/// Everything that can be changed.
pub struct Director {
    // In front of the fleet, in whose world it runs.
    pub agent: Agent,
    pub fleet: Fleet,
    pub manifests: Manifests,
    pub court: Arc<Court>,
    pub rng: Rng,
    /// The policy of the beginning.
    pub home: State,
    /// What is counted over all lives of the agent.
    pub counters: Counters,
    /// Edits and other events by kind.
    pub done: BTreeMap<&'static str, u64>,
    /// The last of them.
    pub last: String,
    /// How long edits took to be in force: sum, longest, number.
    pub took: (Duration, Duration, u32),
    grace: Duration,
    markers: BTreeMap<String, u16>,
    places: u16,
    number: u64,
}

impl Director {
    /// Of an agent that is not started yet.
    pub fn new(fleet: Fleet, manifests: Manifests, agent: Agent, rng: Rng, home: State, grace: Duration) -> Director {
        Director {
            court: fleet.court(),
            agent,
            fleet,
            manifests,
            rng,
            home,
            counters: Counters::default(),
            done: BTreeMap::new(),
            last: String::new(),
            took: Default::default(),
            grace,
            markers: BTreeMap::new(),
            places: 0,
            number: 0,
        }
    }

    /// Notes something that is so at once, without a manifest.
    pub fn note(&self, what: &str, change: impl FnOnce(&mut State)) {
        let mut history = self.court.history();
        let mut state = State::clone(&history.latest());
        change(&mut state);
        history.begin(what, state);
        history.firm(clock::now());
    }

    /// Changes files, all at once, and waits until they are in force.
    pub fn change(&mut self, edits: &[Edit]) -> Result<()> {
        let wanted = self.write(edits)?;
        self.settle(&wanted)
    }

    /// Changes files and does not wait: what `/plan` has to show.
    pub fn write(&mut self, edits: &[Edit]) -> Result<Vec<String>> {
        let last = {
            let mut history = self.court.history();
            let before = history.latest();
            // The agent may read them in any order and in parts: each subset may be in force for a moment.
            for some in 1..1_u32 << edits.len() {
                let mut state = State::clone(&before);
                let chosen = edits.iter().enumerate().filter(|(number, _)| some & 1 << number != 0);
                let what: Vec<&str> = chosen.clone().map(|(_, edit)| edit.what.as_str()).collect();
                chosen.for_each(|(_, edit)| (edit.apply)(&mut state));
                history.begin(&what.join(", "), state);
            }
            history.latest()
        };
        edits
            .iter()
            .map(|edit| self.put(&edit.file, &last.file(&edit.file)))
            .collect()
    }

    /// Writes a file with its marker: what `/plan` shows once it is in force.
    pub fn put(&mut self, file: &str, text: &str) -> Result<String> {
        let next = &mut self.places;
        let place = *self.markers.entry(file.to_string()).or_insert_with(|| {
            *next += 1;
            *next
        });
        self.number += 1;
        let (marker, shown) = render::marker(file, place, self.number);
        let separator = if text.is_empty() { "" } else { "---\n" };
        self.manifests.write(file, &format!("{text}{separator}{marker}"))?;
        Ok(shown)
    }

    /// Removes a file.
    pub fn remove(&mut self, file: &str) -> Result<()> {
        self.markers.remove(file);
        self.manifests.remove(file)
    }

    /// Names of all files.
    pub fn files(&self) -> Vec<String> {
        self.markers.keys().cloned().collect()
    }

    /// Waits until `/plan` shows all of that; from then on, and the grace, only the newest state may be in force.
    pub fn settle(&mut self, wanted: &[String]) -> Result<()> {
        let start = Instant::now();
        self.wait("an edit is not in force", |_, plan| {
            wanted.iter().all(|text| plan.contains(text))
        })?;
        let took = start.elapsed();
        let (sum, longest, count) = self.took;
        self.took = (sum + took, longest.max(took), count + 1);
        self.firm();
        Ok(())
    }

    /// Only the newest state may be in force, after the grace.
    pub fn firm(&self) {
        self.court.history().firm(clock::now() + self.grace.as_micros() as u64);
    }

    /// A pod's manifest, written as the state has it.
    pub fn declare(&mut self, place: &Place, change: impl Fn(&mut State)) -> Result<()> {
        let text = {
            let mut history = self.court.history();
            let mut state = State::clone(&history.latest());
            change(&mut state);
            let pod = state.pods.get(&place.name).context("the pod is not in the state")?;
            let text = render::pod(pod, place);
            history.begin(&format!("{} declared", place.name), state);
            text
        };
        let wanted = self.put(&format!("pod-{}", place.name), &text)?;
        self.settle(&[wanted])
    }

    /// Removes a pod's manifest.
    pub fn undeclare(&mut self, name: &str) -> Result<()> {
        {
            let mut history = self.court.history();
            let mut state = State::clone(&history.latest());
            state.pods.remove(name);
            history.begin(&format!("{name} undeclared"), state);
        }
        self.remove(&format!("pod-{name}"))?;
        // Not in the same file, so both are looked for.
        let marker = self.put("deletions", "")?;
        let gone = format!("/{name}\"");
        self.wait("a deleted pod is still there", |value, plan| {
            plan.contains(&marker) && !value["pods"].to_string().contains(&gone)
        })?;
        self.firm();
        Ok(())
    }

    /// Waits for something that `/plan` has to show, as a value and as text.
    pub fn wait(&mut self, what: &str, holds: impl Fn(&Value, &str) -> bool) -> Result<()> {
        let start = Instant::now();
        loop {
            stop::check()?;
            let plan = self.agent.plan()?;
            if holds(&plan, &plan.to_string()) {
                return Ok(());
            }
            if start.elapsed() > LATEST {
                bail!("{what} after {LATEST:?}\n{}", tail(&self.agent.log()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends the agent with that signal, changes files while there is none, and starts it again.
    pub fn restart(&mut self, signal: i32, edits: &[Edit]) -> Result<()> {
        self.counters.add(&self.agent.metrics()?);
        self.court.history().goes_down();
        match signal {
            libc::SIGKILL => self.agent.kill()?,
            signal => {
                let status = self.agent.signal(signal)?;
                if !status.success() {
                    self.court.accuse(&format!("the agent ended with {status}"));
                }
            }
        }
        let wanted = self.write(edits)?;
        stop::pause(Duration::from_millis(200))?;
        self.agent.run()?;
        self.settle(&wanted)?;
        self.court.history().is_up(clock::now() + self.grace.as_micros() as u64);
        Ok(())
    }

    /// How long after an edit is in force either answer will do.
    pub fn grace(&self) -> Duration {
        self.grace
    }

    /// One more of that kind.
    pub fn count(&mut self, kind: &'static str) {
        *self.done.entry(kind).or_default() += 1;
    }
}

/// The end of a log.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
