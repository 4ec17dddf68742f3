//! Where the events come in: the history, the verdicts, and how many there were of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_tests::stop;

use crate::clock;

use crate::event::{Event, Kind};
use crate::history::History;
use crate::judge::{Verdict, judge};

/// Violations that are kept in full.
const KEPT: usize = 20;

/// Verdicts of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub served: u64,
    pub refused: u64,
    pub open: u64,
    pub violations: u64,
    /// The longest, microseconds.
    pub longest: u64,
}

/// Everything so far.
#[derive(Default)]
struct Record {
    tallies: BTreeMap<Kind, Tally>,
    violations: Vec<String>,
    count: u64,
}

/// Shared by the threads that read and the one that edits.
pub struct Court {
    history: Mutex<History>,
    record: Mutex<Record>,
    began: u64,
}

impl Court {
    /// With the state at the beginning.
    pub fn new(history: History) -> Court {
        Court {
            history: Mutex::new(history),
            record: Mutex::default(),
            began: clock::now(),
        }
    }

    /// The history, to be read or written.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A client's line.
    pub fn hear(&self, line: &str) {
        // What ends a soak by hand ends its processes in any order.
        if stop::signal().is_some() {
            return;
        }
        match serde_json::from_str::<Event>(line) {
            Ok(event) => {
                let (verdict, told) = {
                    let history = self.history();
                    let verdict = judge(&event, &history);
                    let told = match verdict {
                        Verdict::Violation(_) => self.tell(&history, &event),
                        _ => String::new(),
                    };
                    (verdict, told)
                };
                self.record(&event, verdict, &told);
            }
            // A client that is killed leaves half a line behind.
            Err(_) if !line.ends_with('}') => {}
            Err(error) => self.accuse(&format!("a client's line is none ({error}): {line}")),
        }
    }

    /// Something else that must not be.
    pub fn accuse(&self, what: &str) {
        let at = self.seconds(clock::now());
        let mut record = self.locked();
        record.count += 1;
        if record.violations.len() < KEPT {
            record.violations.push(format!("{at:8.3} s  {what}"));
        }
    }

    /// Verdicts by kind.
    pub fn tallies(&self) -> BTreeMap<Kind, Tally> {
        self.locked().tallies.clone()
    }

    /// How many violations, and the first of them.
    pub fn violations(&self) -> (u64, Vec<String>) {
        let record = self.locked();
        (record.count, record.violations.clone())
    }

    /// A moment as people and logs have it: seconds of the day, UTC.
    fn clock_time(&self, at: u64) -> String {
        let passed = Duration::from_micros(clock::now().saturating_sub(at));
        let since = SystemTime::now()
            .checked_sub(passed)
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        let ms = since.map_or(0, |since| since.as_millis()) % 86_400_000;
        format!(
            "{:02}:{:02}:{:02}.{:03}",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000
        )
    }

    /// A moment as seconds since the beginning.
    pub fn seconds(&self, at: u64) -> f64 {
        (at as f64 - self.began as f64) / 1e6
    }

    /// The edits that an event saw.
    fn tell(&self, history: &History, event: &Event) -> String {
        let told = history.told(event.since, event.until);
        let line = |(what, written, firm): &(&str, u64, Option<u64>)| {
            let firm = firm.map_or("not yet".to_string(), |firm| format!("{:.3}", self.seconds(firm)));
            format!("\n      {what}: written {:.3}, firm {firm}", self.seconds(*written))
        };
        told.iter().map(line).collect()
    }

    fn record(&self, event: &Event, verdict: Verdict, told: &str) {
        let mut record = self.locked();
        let tally = record.tallies.entry(event.kind).or_default();
        tally.longest = tally.longest.max(event.until.saturating_sub(event.from));
        match verdict {
            Verdict::Served => tally.served += 1,
            Verdict::Refused => tally.refused += 1,
            Verdict::Open => tally.open += 1,
            Verdict::Violation(what) => {
                tally.violations += 1;
                record.count += 1;
                if record.violations.len() < KEPT {
                    let [since, from, until] = [event.since, event.from, event.until].map(|at| self.seconds(at));
                    let at = self.clock_time(event.until);
                    let text = format!(
                        "{from:8.3} s  {at} {} {:?} (fine at {since:.3}, ended {until:.3}): {what}{told}",
                        event.client, event.kind
                    );
                    record.violations.push(text);
                }
            }
        }
    }

    fn locked(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
