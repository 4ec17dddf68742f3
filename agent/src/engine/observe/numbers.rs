//! What is read of a pair of workloads: all cores added up, from the start of the agent.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::workload::Workload;

use super::super::outcome::Protocol;
use super::cells::{BOUNDS, BUCKETS, CLASSES, Cells, Edge, GRPC};

/// Which side's agent has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The client's; the server is on another node, or is no enrolled pod, or was never found.
    Client,
    /// The server's; the client is on another node or is not enrolled.
    Server,
    /// Both pods are this node's: nobody else counts it.
    Both,
}

impl Side {
    /// The side as labels name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
            Side::Both => "both",
        }
    }
}

/// What has passed between two workloads since the agent began. Only grows, but for [`Numbers::open`].
#[derive(Clone, Debug)]
pub struct EdgeNumbers {
    /// The client's workload.
    pub source: Arc<Workload>,
    /// The server's; of kind `Service` where no server was found, `unknown` where nothing is known.
    pub destination: Arc<Workload>,
    /// Which side has seen it.
    pub side: Side,
    /// By protocol, as far as it was seen.
    pub protocols: BTreeMap<Protocol, Numbers>,
    /// Refusals by reason, and whether they were only audited.
    pub refused: BTreeMap<(&'static str, bool), u64>,
}

impl EdgeNumbers {
    pub(super) fn new(source: Arc<Workload>, destination: Arc<Workload>, side: Side) -> EdgeNumbers {
        EdgeNumbers {
            source,
            destination,
            side,
            protocols: BTreeMap::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, edge: &Edge) {
        for (protocol, cells) in edge.seen() {
            self.protocols.entry(protocol).or_default().add(cells);
        }
        for (reason, audit, count) in edge.refusals() {
            *self.refused.entry((reason, audit)).or_default() += count;
        }
    }
}

/// The numbers of one protocol.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers {
    /// Requests by the class of their answer: index 0 is none, 1 to 5 are 1xx to 5xx.
    pub classes: [u64; CLASSES],
    /// Requests by latency, not added up: up to each of [`Numbers::bounds`], and above all of them.
    pub buckets: [u64; BUCKETS],
    /// The sum of all latencies, in seconds.
    pub seconds: f64,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes from the server, or of the engine's own answers.
    pub down: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// gRPC statuses: 0 to 16, then others, then none.
    pub grpc: [u64; GRPC],
}

impl Numbers {
    /// Upper bounds of the buckets but the last, in seconds.
    pub fn bounds() -> impl Iterator<Item = f64> {
        BOUNDS.iter().map(|nanos| *nanos as f64 / 1e9)
    }

    /// Requests that have come to their end.
    pub fn requests(&self) -> u64 {
        self.classes.iter().sum()
    }

    /// Requests that failed for the server's sake: no answer, or 5xx.
    pub fn failures(&self) -> u64 {
        let [none, .., server] = self.classes;
        none + server
    }

    /// What is new since `before`, for a window of time. The gauge stays as it is.
    pub fn since(&self, before: &Numbers) -> Numbers {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        Numbers {
            classes: std::array::from_fn(|index| less(self.classes[index], before.classes[index])),
            buckets: std::array::from_fn(|index| less(self.buckets[index], before.buckets[index])),
            seconds: (self.seconds - before.seconds).max(0.0),
            up: less(self.up, before.up),
            down: less(self.down, before.down),
            connections: less(self.connections, before.connections),
            open: self.open,
            retries: less(self.retries, before.retries),
            grpc: std::array::from_fn(|index| less(self.grpc[index], before.grpc[index])),
        }
    }

    /// The latency that this share of requests (0 to 1) stayed within, in seconds, as PromQL's `histogram_quantile`
    /// works it out: straight within a bucket; of the last bucket its lower bound. `None` without any request.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u64 = self.buckets.iter().sum();
        if all == 0 {
            return None;
        }
        let rank = share.clamp(0.0, 1.0) * all as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, upper) in self.buckets.iter().zip(Numbers::bounds()) {
            let count = *count as f64;
            if count > 0.0 && below + count >= rank {
                return Some(lower + (upper - lower) * ((rank - below) / count));
            }
            below += count;
            lower = upper;
        }
        Some(lower)
    }

    fn add(&mut self, cells: &Cells) {
        let sum = |all: &mut [u64], more: &[super::super::stats::Counter]| {
            for (all, more) in all.iter_mut().zip(more) {
                *all = all.wrapping_add(more.get());
            }
        };
        sum(&mut self.classes, &cells.classes);
        sum(&mut self.buckets, &cells.buckets);
        if let Some(grpc) = cells.grpc.get() {
            sum(&mut self.grpc, &**grpc);
        }
        self.seconds += cells.nanos.get() as f64 / 1e9;
        for (all, more) in [
            (&mut self.up, &cells.up),
            (&mut self.down, &cells.down),
            (&mut self.connections, &cells.connections),
            (&mut self.open, &cells.open),
            (&mut self.retries, &cells.retries),
        ] {
            *all = all.wrapping_add(more.get());
        }
    }
}

/// How often a split has sent something to a backend since the agent began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitNumbers {
    /// Which.
    pub turn: Arc<super::Turn>,
    /// Requests and connections that were sent there (or refused there).
    pub taken: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn of(millis: &[u64]) -> Numbers {
        let (cells, mut numbers) = (Cells::default(), Numbers::default());
        for millis in millis {
            cells.took(Duration::from_millis(*millis));
        }
        numbers.add(&cells);
        numbers
    }

    #[test]
    fn quantiles_are_those_of_promql() {
        assert_eq!(Numbers::default().quantile(0.5), None);
        // Ten between 5 and 10 ms: the middle of the bucket, and its upper end.
        let ten = of(&[7; 10]);
        assert_eq!(ten.quantile(0.5), Some(0.0075));
        assert_eq!(ten.quantile(1.0), Some(0.01));
        // Nine fast ones and one slow one: the 90th stays fast, the 99th does not.
        let slow = of(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 400]);
        assert!(slow.quantile(0.9).is_some_and(|time| time <= 0.001));
        assert!(slow.quantile(0.99).is_some_and(|time| time > 0.25 && time < 0.5));
        assert_eq!(of(&[60_000]).quantile(0.5), Some(30.0), "above all bounds");
    }

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let numbers = of(&[1]);
        assert_eq!(numbers.buckets[2], 1, "le means up to and with");
        assert_eq!(of(&[31_000]).buckets[BUCKETS - 1], 1);
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let cells = Cells::default();
        let read = || {
            let mut numbers = Numbers::default();
            numbers.add(&cells);
            numbers
        };
        cells.answered(200);
        cells.answered(503);
        let before = read();
        cells.answered(0);
        cells.answered(404);
        cells.took(Duration::from_millis(3));
        let window = read().since(&before);
        assert_eq!((window.requests(), window.failures()), (2, 1));
        assert_eq!(window.buckets.iter().sum::<u64>(), 1);
    }
}
