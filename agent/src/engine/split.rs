//! Whose turn it is: the place in each Service's rotation.
//!
//! Bias: exact shares over spread. A core takes backends in smooth weighted round robin and a backend's endpoints in
//! turn; the place is kept across snapshots as long as the route's backends and weights are the same, so that an
//! unrelated change does not begin a 99:1 split anew. Owned by the core.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use weir_core::model::Key;
use weir_core::pick::Wrr;
use weir_core::snapshot::{Root, Snapshot, SplitRoute};

/// The rotations of all roots that this core has seen requests for.
pub(super) struct Rotations {
    /// Where endpoint rotations begin, so that the cores don't all begin with the same endpoint.
    offset: usize,
    roots: RefCell<HashMap<SocketAddr, RootRotation>>,
}

/// A Service's turn: what was asked for, and which backend it went to.
#[derive(Debug)]
pub(super) struct Turn {
    /// The Service that was asked for.
    pub root: Key,
    /// Its port.
    pub port: u16,
    /// The TrafficSplit; `None` where the Service's own endpoints were taken.
    #[allow(dead_code, reason = "what reads it comes with the tables of workloads")]
    pub split: Option<Key>,
    /// The Service whose endpoint it is.
    pub backend: Key,
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
    weight: u64,
    next: usize,
    turn: Rc<Turn>,
}

impl Rotations {
    /// Without any root.
    pub fn new(offset: usize) -> Rotations {
        Rotations {
            offset,
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
    ) -> Option<(SocketAddr, Rc<Turn>)> {
        let mut roots = self.roots.borrow_mut();
        let rotation = roots.entry(address).or_insert_with(|| RootRotation {
            generation,
            routes: Vec::new(),
        });
        if rotation.generation != generation || rotation.routes.len() != root.routes.len() {
            rotation.adopt(root, self.offset);
            rotation.generation = generation;
        }
        let rotation = rotation.routes.get_mut(route)?;
        let index = rotation.turn.next()?;
        let endpoints = &root.routes.get(route)?.backends.get(index)?.endpoints;
        let backend = rotation.backends.get_mut(index)?;
        let endpoint = *endpoints.get(backend.next.checked_rem(endpoints.len())?)?;
        backend.next = backend.next.wrapping_add(1);
        Some((endpoint, backend.turn.clone()))
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
    fn adopt(&mut self, root: &Root, offset: usize) {
        let mut known = std::mem::take(&mut self.routes);
        for route in &root.routes {
            let same = known.iter().position(|rotation| rotation.is_of(root, route));
            self.routes.push(match same {
                Some(index) => known.swap_remove(index),
                None => RouteRotation::new(root, route, offset),
            });
        }
    }
}

impl RouteRotation {
    fn new(root: &Root, route: &SplitRoute, offset: usize) -> RouteRotation {
        let backend = |backend: &weir_core::snapshot::Backend| BackendRotation {
            weight: backend.weight,
            next: offset,
            turn: Rc::new(Turn {
                root: root.service.clone(),
                port: root.port,
                split: route.split.clone(),
                backend: backend.service.clone(),
            }),
        };
        RouteRotation {
            split: route.split.clone(),
            backends: route.backends.iter().map(backend).collect(),
            turn: Wrr::new(route.backends.iter().map(|backend| backend.weight)),
        }
    }

    fn is_of(&self, root: &Root, route: &SplitRoute) -> bool {
        self.split == route.split
            && self.backends.len() == route.backends.len()
            && self.backends.iter().zip(&route.backends).all(|(ours, theirs)| {
                let turn = &ours.turn;
                ours.weight == theirs.weight
                    && turn.backend == theirs.service
                    && turn.root == root.service
                    && turn.port == root.port
            })
    }
}
