//! Turns of splits: which backend a Service's request or connection went to, and how often.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use weir_core::model::Key;
use weir_core::snapshot::Snapshot;

use super::super::stats::Counter;
use super::numbers::SplitNumbers;

/// A backend of a Service that is split.
#[derive(Debug, Default)]
pub struct Turn {
    /// The Service that was asked for.
    pub root: Key,
    /// Its port.
    pub port: u16,
    /// The TrafficSplit; `None` where the Service's own endpoints were taken because no split held for a request.
    pub split: Option<Key>,
    /// The Service whose endpoint it is.
    pub backend: Key,
    pub(in super::super) taken: Counter,
}

impl PartialEq for Turn {
    fn eq(&self, other: &Turn) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Turn {}

type Names<'t> = (&'t Key, u16, Option<&'t Key>, &'t Key);
type Name = (Key, u16, Option<Key>, Key);

impl Turn {
    fn names(&self) -> Names<'_> {
        (&self.root, self.port, self.split.as_ref(), &self.backend)
    }

    fn name(&self) -> Name {
        (self.root.clone(), self.port, self.split.clone(), self.backend.clone())
    }
}

#[derive(Default)]
struct Entry {
    /// By core; at least one.
    cores: Vec<(usize, Arc<Turn>)>,
    gone: Option<Instant>,
}

/// All turns.
#[derive(Default)]
pub(super) struct Turns {
    known: HashMap<Name, Entry>,
}

impl Turns {
    /// The turn on this core; `None` if there are `most` others.
    pub(super) fn on(&mut self, core: usize, turn: Turn, most: usize) -> Option<Arc<Turn>> {
        let name = turn.name();
        if self.known.len() >= most && !self.known.contains_key(&name) {
            return None;
        }
        let entry = self.known.entry(name).or_default();
        if let Some((_, turn)) = entry.cores.iter().find(|(at, _)| *at == core) {
            return Some(turn.clone());
        }
        let turn = Arc::new(turn);
        entry.cores.push((core, turn.clone()));
        Some(turn)
    }

    pub(super) fn judge(&mut self, snapshot: &Snapshot, now: Instant) {
        let mut there: HashSet<Names<'_>> = HashSet::new();
        for root in snapshot.roots.values() {
            for route in &root.routes {
                there.extend(
                    route
                        .backends
                        .iter()
                        .map(|backend| (&root.service, root.port, route.split.as_ref(), &backend.service)),
                );
            }
        }
        for ((root, port, split, backend), entry) in &mut self.known {
            let stays = there.contains(&(root, *port, split.as_ref(), backend));
            entry.gone = if stays { None } else { entry.gone.or(Some(now)) };
        }
    }

    pub(super) fn forget(&mut self, long: impl Fn(Option<Instant>) -> bool) {
        self.known.retain(|_, entry| !long(entry.gone));
    }

    pub(super) fn numbers(&self) -> Vec<SplitNumbers> {
        let mut names: Vec<_> = self.known.iter().collect();
        names.sort_by_key(|(name, _)| *name);
        let sum = |cores: &[(usize, Arc<Turn>)]| cores.iter().map(|(_, turn)| turn.taken.get()).sum();
        let numbers = |(_, entry): (&Name, &Entry)| {
            let (_, turn) = entry.cores.first()?;
            Some(SplitNumbers {
                turn: turn.clone(),
                taken: sum(&entry.cores),
            })
        };
        names.into_iter().filter_map(numbers).collect()
    }
}
