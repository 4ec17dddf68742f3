//! What the agent holds and what it counts.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use weir_tests::metrics::Metrics;
use weir_tests::netns;
use weir_tests::pins::Pins;

use crate::director::Director;

/// Maps whose entries are counted in the kernel.
const MAPS: [&str; 7] = ["PODS", "PEERS", "POLICY", "SERVICES", "SLOTS", "BUDGETS", "LISTENERS"];

/// What has to be flat: name, value, and by how much it may grow.
pub struct Held(Vec<(String, u64, u64)>);

impl Held {
    /// Now.
    pub fn now(director: &Director) -> Result<Held> {
        let pid = director.agent.pid().context("the agent is not running")?;
        let pins = Pins::of(&director.fleet.world);
        let threads = fs::read_dir(format!("/proc/{pid}/task"))
            .context("the agent's threads")?
            .count();
        let mut held = vec![
            // Idle connections to servers, and what a reload has open.
            ("descriptors".to_string(), director.agent.descriptors()? as u64, 16),
            // Those that block: they end after ten seconds without work.
            ("threads".to_string(), threads as u64, 4),
            ("memory, KiB".to_string(), director.agent.memory_kib()?, 12 * 1024),
            ("links".to_string(), pins.links()?.len() as u64, 0),
            ("origins noted".to_string(), pins.inner_entries("ORIGINS")? as u64, 0),
        ];
        for map in MAPS {
            held.push((format!("entries of {map}"), pins.entries(map)? as u64, 0));
        }
        let mut sockets = 0;
        for pod in director.fleet.pods() {
            sockets += netns::within(&pod.netns, in_use)?;
        }
        held.push(("sockets in pods".to_string(), sockets, 16));
        Ok(Held(held))
    }

    /// A line for each: before, now, and whether it grew more than it may.
    pub fn compare(&self, before: &Held) -> Vec<(String, u64, u64, bool)> {
        let pairs = before.0.iter().zip(&self.0);
        pairs
            .map(|((name, before, spare), (_, now, _))| (name.clone(), *before, *now, *now <= before + spare))
            .collect()
    }

    /// The most telling ones, for a line.
    pub fn short(&self) -> String {
        let value = |wanted: &str| {
            self.0
                .iter()
                .find(|(name, _, _)| name == wanted)
                .map_or(0, |(_, value, _)| *value)
        };
        format!(
            "{} fds, {} threads, {} MiB",
            value("descriptors"),
            value("threads"),
            value("memory, KiB") / 1024
        )
    }
}

/// TCP sockets of this thread's namespace that are not closed, TIME-WAIT aside.
fn in_use() -> Result<u64> {
    let mut sum = 0;
    for (file, prefix) in [("sockstat", "TCP: inuse "), ("sockstat6", "TCP6: inuse ")] {
        let text = fs::read_to_string(format!("/proc/thread-self/net/{file}")).context(file)?;
        let rest = text
            .lines()
            .find_map(|line| line.strip_prefix(prefix))
            .context("sockstat")?;
        sum += rest
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse::<u64>()
            .context("sockstat")?;
    }
    Ok(sum)
}

/// Counters that are summed over all lives of the agent, by name.
const COUNTED: &[&str] = &[
    "weir_engine_accepted_total",
    "weir_engine_requests_total",
    "weir_engine_tcp_relayed_total",
    "weir_engine_revoked_total",
    "weir_engine_rejudged_total",
    "weir_engine_refused_request_total",
    "weir_engine_refused_connection_total",
    "weir_engine_refused_protocol_total",
    "weir_engine_refused_unknown_total",
    "weir_engine_bad_requests_total",
    "weir_engine_bad_gateway_total",
    "weir_engine_unavailable_total",
    "weir_engine_gateway_timeout_total",
    "weir_engine_over_limit_total",
    "weir_engine_accept_errors_total",
    "weir_engine_reports_lost_total",
    "weir_kernel_map_failures_total",
    "weir_kernel_verdicts_total",
    "weir_refusals_total",
];

/// What must never happen here.
const NEVER: &[&str] = &[
    "weir_engine_over_limit_total",
    "weir_engine_accept_errors_total",
    "weir_kernel_map_failures_total",
];
/// What has to happen.
const ALWAYS: &[&str] = &[
    "weir_engine_requests_total",
    "weir_engine_tcp_relayed_total",
    "weir_engine_refused_request_total",
    "weir_kernel_verdicts_total",
    "weir_refusals_total",
];

/// Sums by name.
#[derive(Default)]
pub struct Counters(BTreeMap<&'static str, f64>);

impl Counters {
    /// Adds what an agent counted, just before it ends.
    pub fn add(&mut self, metrics: &Metrics) {
        for name in COUNTED {
            *self.0.entry(name).or_default() += metrics.sum(name, &[]);
        }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, f64)> {
        self.0.iter().map(|(name, value)| (*name, *value))
    }

    /// Those that are not as they have to be.
    pub fn faults(&self) -> Vec<String> {
        let value = |name: &str| self.0.get(name).copied().unwrap_or_default();
        let never = NEVER.iter().filter(|name| value(name) != 0.0);
        let always = ALWAYS.iter().filter(|name| value(name) == 0.0);
        never
            .chain(always)
            .map(|name| format!("{name} is {}", value(name)))
            .collect()
    }
}
