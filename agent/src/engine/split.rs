//! Whose turn it is: the place in each Service's rotation.
//!
//! Bias: exact shares over spread. A core takes backends in smooth weighted round robin and a backend's endpoints in
//! turn; the place is kept across snapshots as long as the route's backends and weights are the same, so that an
//! unrelated change does not begin a 99:1 split anew. Owned by the core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::model::Key;
use weir_core::pick::Wrr;
use weir_core::snapshot::{Root, Snapshot, SplitRoute};

use super::observe::{Registry, Turn};

/// The rotations of all roots that this core has seen requests for.
pub(super) struct Rotations {
    /// The core's number. Endpoint rotations begin there, so that the cores don't all begin with the same endpoint.
    offset: usize,
    registry: Arc<Registry>,
    roots: RefCell<HashMap<SocketAddr, RootRotation>>,
}

struct RootRotation {
    generation: u64,
    routes: Vec<RouteRotation>,
}

struct RouteRotation {
    split: Option<Key>,
    backends: Vec<BackendRotation>,
    turn: Wrr,
}

struct BackendRotation {
    service: Key,
    weight: u64,
    next: usize,
    /// How often it was its turn; `None` where nothing is split, or nothing more is counted.
    taken: Option<Arc<Turn>>,
}

impl Rotations {
    /// Without any root.
    pub fn new(offset: usize, registry: Arc<Registry>) -> Rotations {
        Rotations {
            offset,
            registry,
            roots: RefCell::default(),
        }
    }

    /// The endpoint and backend whose turn it is on route number `route` of the root at `address`; `None` if there is nobody.
    pub fn pick(
        &self,
        generation: u64,
        address: SocketAddr,
        root: &Root,
        route: usize,
    ) -> Option<(SocketAddr, Option<Arc<Turn>>)> {
        let mut roots = self.roots.borrow_mut();
        let rotation = roots.entry(address).or_insert_with(|| RootRotation {
            generation,
            routes: Vec::new(),
        });
        if rotation.generation != generation || rotation.routes.len() != root.routes.len() {
            rotation.adopt(root, self);
            rotation.generation = generation;
        }
        let rotation = rotation.routes.get_mut(route)?;
        let index = rotation.turn.next()?;
        let endpoints = &root.routes.get(route)?.backends.get(index)?.endpoints;
        let backend = rotation.backends.get_mut(index)?;
        let endpoint = *endpoints.get(backend.next.checked_rem(endpoints.len())?)?;
        backend.next = backend.next.wrapping_add(1);
        Some((endpoint, backend.taken.clone()))
    }

    /// Forgets roots that are gone.
    pub fn judge(&self, snapshot: &Snapshot) {
        self.roots
            .borrow_mut()
            .retain(|address, _| snapshot.roots.contains_key(address));
    }
}

impl RootRotation {
    /// Takes over routes that are new or have changed.
    fn adopt(&mut self, root: &Root, rotations: &Rotations) {
        let is_split = root.routes.iter().any(|route| route.split.is_some());
        let mut known = std::mem::take(&mut self.routes);
        for route in &root.routes {
            let same = known.iter().position(|rotation| rotation.is_of(route));
            let mut rotation = match same {
                Some(index) => known.swap_remove(index),
                None => RouteRotation::new(route, rotations.offset),
            };
            // Asked for anew each time: the registry forgets what was gone for long.
            for backend in &mut rotation.backends {
                let turn = is_split.then(|| Turn {
                    root: root.service.clone(),
                    port: root.port,
                    split: route.split.clone(),
                    backend: backend.service.clone(),
                    ..Turn::default()
                });
                backend.taken = turn.and_then(|turn| rotations.registry.turn(rotations.offset, turn));
            }
            self.routes.push(rotation);
        }
    }
}

impl RouteRotation {
    fn new(route: &SplitRoute, offset: usize) -> RouteRotation {
        let backend = |backend: &weir_core::snapshot::Backend| BackendRotation {
            service: backend.service.clone(),
            weight: backend.weight,
            next: offset,
            taken: None,
        };
        RouteRotation {
            split: route.split.clone(),
            backends: route.backends.iter().map(backend).collect(),
            turn: Wrr::new(route.backends.iter().map(|backend| backend.weight)),
        }
    }

    fn is_of(&self, route: &SplitRoute) -> bool {
        self.split == route.split
            && self.backends.len() == route.backends.len()
            && self
                .backends
                .iter()
                .zip(&route.backends)
                .all(|(ours, theirs)| ours.weight == theirs.weight && ours.service == theirs.service)
    }
}
