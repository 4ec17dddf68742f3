//! Which pairs of workloads have numbers: what cores and scrapes share.
//!
//! Bias: bounded before complete. There are never more pairs than the setting says; what comes then is counted together as
//! `other`. The lock is taken when a core sees a pair for the first time, when the snapshot changes, and for a moment by a
//! scrape; never by a request. A pair whose workload has gone keeps its numbers for a while, so that the last scrapes see
//! them whole, and comes back where it was if the workload does.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir_core::model::Key;
use weir_core::snapshot::Snapshot;
use weir_core::workload::{Workload, WorkloadId};

use super::cells::Edge;
use super::numbers::{EdgeNumbers, Side, SplitNumbers};
use super::turn::{Turn, Turns};

/// Names a pair without a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct EdgeKey {
    pub source: WorkloadId,
    pub destination: WorkloadId,
    pub side: Side,
}

impl EdgeKey {
    pub(super) fn new(source: &Workload, destination: &Workload, side: Side) -> EdgeKey {
        EdgeKey {
            source: source.id,
            destination: destination.id,
            side,
        }
    }
}

struct Entry {
    source: Arc<Workload>,
    destination: Arc<Workload>,
    side: Side,
    /// By core.
    cores: Vec<(usize, Arc<Edge>)>,
    /// Since when one of the two is gone.
    gone: Option<Instant>,
}

#[derive(Default)]
struct Inner {
    edges: HashMap<EdgeKey, Entry>,
    turns: Turns,
}

/// All pairs and all turns of splits.
pub(in super::super) struct Registry {
    most: usize,
    grace: Duration,
    inner: Mutex<Inner>,
    overflowed: AtomicU64,
    other: Arc<Workload>,
}

/// What kind of workload stands for many.
pub(super) const OTHER: &str = "other";
/// What kind of workload stands for somebody nobody knows.
pub(super) const UNKNOWN: &str = "unknown";
/// What kind of workload stands for a Service whose server was not found.
pub(super) const SERVICE: &str = "Service";

impl Registry {
    /// For at most `most` pairs and as many turns; what is gone is forgotten after `grace`.
    pub fn new(most: usize, grace: Duration) -> Registry {
        Registry {
            most,
            grace,
            inner: Mutex::default(),
            overflowed: AtomicU64::new(0),
            other: Arc::new(Workload::new(OTHER, OTHER, OTHER)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often there was no room for a pair or a turn.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Ordering::Relaxed)
    }

    /// The numbers of a pair on one core; those of `other` when there is no room.
    pub(super) fn edge(
        &self,
        core: usize,
        source: &Arc<Workload>,
        destination: &Arc<Workload>,
        side: Side,
    ) -> (Arc<Edge>, bool) {
        let key = EdgeKey::new(source, destination, side);
        let mut inner = self.lock();
        if inner.edges.len() >= self.most && !inner.edges.contains_key(&key) {
            drop(inner);
            return (self.other(core, side), false);
        }
        (inner.on(key, core, || (source.clone(), destination.clone())), true)
    }

    /// The numbers of all pairs that there is no room for.
    pub(super) fn other(&self, core: usize, side: Side) -> Arc<Edge> {
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        let key = EdgeKey::new(&self.other, &self.other, side);
        self.lock().on(key, core, || (self.other.clone(), self.other.clone()))
    }

    /// The turn of these names, which keeps its number for as long as a root has it.
    pub fn turn(&self, core: usize, turn: Turn) -> Option<Arc<Turn>> {
        let found = self.lock().turns.on(core, turn, self.most);
        if found.is_none() {
            self.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// Notes what is gone by a new snapshot, and forgets what has been gone for long.
    pub fn judge(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let services: HashSet<&Key> = snapshot.roots.values().map(|root| &root.service).collect();
        let mut inner = self.lock();
        for entry in inner.edges.values_mut() {
            let stays = [&entry.source, &entry.destination]
                .iter()
                .all(|workload| is_there(snapshot, &services, workload));
            entry.gone = if stays { None } else { entry.gone.or(Some(now)) };
        }
        inner.turns.judge(snapshot, now);
        inner.forget(now, self.grace);
    }

    /// All pairs, cores added up, in the order of their names.
    pub fn edges(&self) -> Vec<EdgeNumbers> {
        let mut inner = self.lock();
        inner.forget(Instant::now(), self.grace);
        let entries: Vec<_> = inner
            .edges
            .values()
            .map(|entry| {
                let empty = EdgeNumbers::new(entry.source.clone(), entry.destination.clone(), entry.side);
                (empty, entry.cores.clone())
            })
            .collect();
        drop(inner);
        // Without the lock: a core that sees a new pair does not wait for the adding up.
        let mut edges: Vec<EdgeNumbers> = entries
            .into_iter()
            .map(|(mut numbers, cores)| {
                cores.iter().for_each(|(_, edge)| numbers.add(edge));
                numbers
            })
            .collect();
        edges.sort_by(|one, other| {
            let names = |edge: &EdgeNumbers| (edge.source.clone(), edge.destination.clone(), edge.side);
            names(one).cmp(&names(other))
        });
        edges
    }

    /// All turns, cores added up, in the order of their names.
    pub fn splits(&self) -> Vec<SplitNumbers> {
        let mut inner = self.lock();
        inner.forget(Instant::now(), self.grace);
        inner.turns.numbers()
    }
}

impl Inner {
    fn on(&mut self, key: EdgeKey, core: usize, names: impl FnOnce() -> (Arc<Workload>, Arc<Workload>)) -> Arc<Edge> {
        let entry = self.edges.entry(key).or_insert_with(|| {
            let (source, destination) = names();
            Entry {
                source,
                destination,
                side: key.side,
                cores: Vec::new(),
                gone: None,
            }
        });
        if let Some((_, edge)) = entry.cores.iter().find(|(at, _)| *at == core) {
            return edge.clone();
        }
        let edge = Arc::new(Edge::default());
        entry.cores.push((core, edge.clone()));
        edge
    }

    /// What is open stays in sight however long it was gone.
    fn forget(&mut self, now: Instant, grace: Duration) {
        let long = |gone: Option<Instant>| gone.is_some_and(|gone| now.duration_since(gone) >= grace);
        self.edges
            .retain(|_, entry| !long(entry.gone) || entry.cores.iter().any(|(_, edge)| edge.open() > 0));
        self.turns.forget(long);
    }
}

/// The snapshot has this workload, or it is none that could go.
pub(super) fn is_there(snapshot: &Snapshot, services: &HashSet<&Key>, workload: &Workload) -> bool {
    match workload.kind.as_str() {
        OTHER | UNKNOWN => true,
        SERVICE => services
            .iter()
            .any(|service| service.namespace == workload.namespace && service.name == workload.name),
        _ => snapshot.workloads.contains_key(&workload.id),
    }
}
