//! The numbers of one pair of workloads on one core.
//!
//! Bias: fixed arrays, so that observing is a handful of plain additions and reading takes no lock. The core that made
//! them is the only writer; a scrape reads them while requests run and may see a request half counted.

use std::sync::OnceLock;
use std::time::Duration;

use super::super::outcome::Protocol;
use super::super::stats::Counter;

/// Upper bounds of the latency buckets, in nanoseconds; one more bucket has no bound.
pub(super) const BOUNDS: [u64; 16] = [
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
];

/// Buckets, the one without a bound included.
pub(super) const BUCKETS: usize = BOUNDS.len() + 1;

/// Classes of answers: none, and 1xx to 5xx.
pub(super) const CLASSES: usize = 6;

/// gRPC statuses (0 to 16), then anything else, then none.
pub(super) const GRPC: usize = 19;

/// Reasons of refusals that are told apart for a pair; what comes then is counted under the last.
const REASONS: usize = 24;

/// One protocol between two workloads.
#[derive(Debug, Default)]
pub(in super::super) struct Cells {
    pub(super) classes: [Counter; CLASSES],
    pub(super) buckets: [Counter; BUCKETS],
    pub(super) nanos: Counter,
    pub(super) up: Counter,
    pub(super) down: Counter,
    pub(super) connections: Counter,
    pub(super) open: Counter,
    pub(super) retries: Counter,
    pub(super) grpc: OnceLock<Box<[Counter; GRPC]>>,
}

impl Cells {
    /// An answer, or none (0).
    pub(super) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).min(CLASSES - 1);
        if let Some(counter) = self.classes.get(class) {
            counter.one();
        }
    }

    /// How long a request took.
    pub(super) fn took(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        if let Some(counter) = self.buckets.get(bucket) {
            counter.one();
        }
        self.nanos.add(nanos);
    }

    /// A gRPC status, or none.
    pub(super) fn grpc(&self, status: Option<u32>) {
        let slot = match status {
            Some(code @ 0..=16) => code as usize,
            Some(_) => 17,
            None => 18,
        };
        let counters = self.grpc.get_or_init(Box::default);
        if let Some(counter) = counters.get(slot) {
            counter.one();
        }
    }

    /// Bytes in both directions.
    pub(in super::super) fn bytes(&self, up: u64, down: u64) {
        self.up.add(up);
        self.down.add(down);
    }
}

/// All protocols between two workloads, as one core has seen them.
#[derive(Debug, Default)]
pub(in super::super) struct Edge {
    protocols: [OnceLock<Box<Cells>>; Protocol::ALL.len()],
    refused: [(OnceLock<(&'static str, bool)>, Counter); REASONS],
}

impl Edge {
    /// The numbers of a protocol.
    pub(in super::super) fn cells(&self, protocol: Protocol) -> Option<&Cells> {
        let cells = self.protocols.get(protocol as usize)?;
        Some(cells.get_or_init(Box::default))
    }

    /// A refusal, or what would have been one.
    pub(super) fn refused(&self, reason: &'static str, audit: bool) {
        let ours = |slot: &&(OnceLock<(&'static str, bool)>, Counter)| {
            *slot.0.get_or_init(|| (reason, audit)) == (reason, audit)
        };
        if let Some((_, counter)) = self.refused.iter().find(ours).or(self.refused.last()) {
            counter.one();
        }
    }

    /// The protocols that were seen.
    pub(super) fn seen(&self) -> impl Iterator<Item = (Protocol, &Cells)> {
        let cells = Protocol::ALL.iter().zip(&self.protocols);
        cells.filter_map(|(protocol, cells)| Some((*protocol, &**cells.get()?)))
    }

    /// Refusals by reason, and whether they were only audited.
    pub(super) fn refusals(&self) -> impl Iterator<Item = (&'static str, bool, u64)> {
        let slots = self.refused.iter();
        slots.filter_map(|(slot, counter)| slot.get().map(|(reason, audit)| (*reason, *audit, counter.get())))
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> u64 {
        self.seen()
            .fold(0, |sum, (_, cells)| sum.wrapping_add(cells.open.get()))
    }
}
