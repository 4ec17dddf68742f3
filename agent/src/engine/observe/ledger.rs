//! The table of one core: from two workloads to their numbers.
//!
//! Bias: no string after the first time. The table is the core's own, never larger than the setting says, and loses
//! what the snapshot has no more.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::model::Key;
use weir_core::snapshot::{PodInfo, Snapshot};
use weir_core::workload::Workload;

use super::super::conn::Conn;
use super::super::judge::{Destination, Server};
use super::super::kernel::Direction;
use super::super::outcome::Protocol;
use super::cells::Edge;
use super::numbers::Side;
use super::registry::{EdgeKey, Registry, SERVICE, UNKNOWN, is_there};

/// Mixes keys whose parts are digests already.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
}

struct Held {
    edge: Arc<Edge>,
    /// It is not that of all who had no room.
    own: bool,
    source: Arc<Workload>,
    destination: Arc<Workload>,
}

/// The table.
pub(in super::super) struct Ledger {
    core: usize,
    most: usize,
    registry: Arc<Registry>,
    edges: RefCell<HashMap<EdgeKey, Held, BuildHasherDefault<Mix>>>,
    /// Services whose servers were not found, by what was asked for.
    services: RefCell<HashMap<SocketAddr, Arc<Workload>>>,
    unknown: Arc<Workload>,
}

impl Ledger {
    /// An empty table with room for `most` pairs.
    pub fn new(core: usize, most: usize, registry: Arc<Registry>) -> Ledger {
        Ledger {
            core,
            most,
            registry,
            edges: RefCell::default(),
            services: RefCell::default(),
            unknown: Arc::new(Workload::new(UNKNOWN, UNKNOWN, UNKNOWN)),
        }
    }

    /// The numbers of a connection's client and a server.
    pub fn towards(&self, conn: &Conn, server: &Server) -> Arc<Edge> {
        let side = match (conn.direction, &server.pod) {
            (Direction::Inbound, _) => Side::Server,
            (Direction::Outbound, Some(pod)) if pod.cookie.is_some() => Side::Both,
            (Direction::Outbound, _) => Side::Client,
        };
        let destination = server.pod.as_ref().map_or(&self.unknown, |pod| &pod.workload);
        self.edge(&conn.client.workload, destination, side)
    }

    /// The numbers of a connection's client and what it asked for, where no server was picked.
    pub fn asked(&self, snapshot: &Snapshot, conn: &Conn) -> Arc<Edge> {
        let side = Side::of(conn.direction);
        let service = match Destination::of(snapshot, conn) {
            Destination::Root(root) => Some(&root.service),
            Destination::Pod | Destination::Unknown => None,
        };
        let Some(service) = service else {
            let pod = snapshot.peers.get(&conn.destination.ip());
            let destination = pod.map_or(&self.unknown, |pod| &pod.workload);
            return self.edge(&conn.client.workload, destination, side);
        };
        let mut services = self.services.borrow_mut();
        let destination = services.entry(conn.destination).or_insert_with(|| {
            Arc::new(Workload::new(
                service.namespace.as_str(),
                SERVICE,
                service.name.as_str(),
            ))
        });
        self.edge(&conn.client.workload, destination, side)
    }

    /// The numbers of two pods of which one may not be known.
    pub fn between(&self, direction: Direction, source: Option<&PodInfo>, destination: Option<&PodInfo>) -> Arc<Edge> {
        let of = |pod: Option<&PodInfo>| pod.map_or(&self.unknown, |pod| &pod.workload).clone();
        self.edge(&of(source), &of(destination), Side::of(direction))
    }

    /// Lets go of what the snapshot has no more.
    pub fn judge(&self, snapshot: &Snapshot) {
        let services: HashSet<&Key> = snapshot.roots.values().map(|root| &root.service).collect();
        self.edges.borrow_mut().retain(|_, held| {
            held.own
                && [&held.source, &held.destination]
                    .iter()
                    .all(|one| is_there(snapshot, &services, one))
        });
        self.services.borrow_mut().clear();
    }

    fn edge(&self, source: &Arc<Workload>, destination: &Arc<Workload>, side: Side) -> Arc<Edge> {
        let key = EdgeKey::new(source, destination, side);
        let mut edges = self.edges.borrow_mut();
        if let Some(held) = edges.get(&key) {
            return held.edge.clone();
        }
        if edges.len() >= self.most {
            return self.registry.other(self.core, side);
        }
        let (edge, own) = self.registry.edge(self.core, source, destination, side);
        edges.insert(
            key,
            Held {
                edge: edge.clone(),
                own,
                source: source.clone(),
                destination: destination.clone(),
            },
        );
        edge
    }
}

impl Side {
    fn of(direction: Direction) -> Side {
        match direction {
            Direction::Outbound => Side::Client,
            Direction::Inbound => Side::Server,
        }
    }
}

/// A connection, counted as open between two workloads until it is dropped: those of its first request, or of its bytes.
#[derive(Debug)]
pub(in super::super) struct Seat {
    edge: Arc<Edge>,
    /// The protocol that it began with.
    pub protocol: Protocol,
}

impl Seat {
    /// Counts it.
    pub fn new(edge: Arc<Edge>, protocol: Protocol) -> Seat {
        if let Some(cells) = edge.cells(protocol) {
            cells.connections.one();
            cells.open.one();
        }
        Seat { edge, protocol }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(cells) = self.edge.cells(self.protocol) {
            cells.open.less();
        }
    }
}

/// What has the bytes of a connection for itself, so that those of a long one are counted while it is open.
#[derive(Debug)]
pub(in super::super) struct Flow {
    /// Where they are counted.
    edge: Arc<Edge>,
    /// The connection's bytes that were counted already, or came before.
    pub up: Cell<u64>,
    /// The same from the server.
    pub down: Cell<u64>,
    protocol: Protocol,
}

impl Flow {
    /// `up` and `down` are the connection's bytes before it.
    pub fn new(edge: Arc<Edge>, protocol: Protocol, up: u64, down: u64) -> Flow {
        Flow {
            edge,
            protocol,
            up: Cell::new(up),
            down: Cell::new(down),
        }
    }

    /// Counts what has come by now: `up` and `down` are the connection's bytes so far.
    pub fn count(&self, upgraded: bool, up: u64, down: u64) {
        let protocol = if upgraded { Protocol::Upgraded } else { self.protocol };
        let (more_up, more_down) = (up.wrapping_sub(self.up.get()), down.wrapping_sub(self.down.get()));
        if let Some(cells) = self.edge.cells(protocol) {
            cells.bytes(more_up, more_down);
        }
        self.up.set(up);
        self.down.set(down);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    const ROUNDS: u32 = 20_000;

    /// The time of one of [`ROUNDS`].
    fn time(mut work: impl FnMut()) -> Duration {
        let begun = Instant::now();
        (0..ROUNDS).for_each(|_| work());
        begun.elapsed() / ROUNDS
    }

    #[test]
    fn a_pair_is_found_again_without_the_registry() {
        let registry = Arc::new(Registry::new(10, Duration::ZERO));
        let ledger = Ledger::new(0, 10, registry.clone());
        let workload = |name: &str| Arc::new(Workload::new("shop", "Deployment", name));
        let (buyer, store) = (workload("buyer"), workload("store"));
        let first = ledger.edge(&buyer, &store, Side::Both);
        // As another snapshot has it: the same names, other strings.
        let again = ledger.edge(&workload("buyer"), &workload("store"), Side::Both);
        assert!(Arc::ptr_eq(&first, &again));
        assert!(
            !Arc::ptr_eq(&first, &ledger.edge(&store, &buyer, Side::Both)),
            "there is a direction"
        );
        assert_eq!(registry.edges().len(), 2);
    }

    #[test]
    fn the_bound_holds_for_all_cores_together() {
        let registry = Arc::new(Registry::new(1, Duration::ZERO));
        let workload = |name: &str| Arc::new(Workload::new("shop", "Deployment", name));
        let core = |number| Ledger::new(number, 1, registry.clone());
        core(0).edge(&workload("buyer"), &workload("store"), Side::Both);
        core(1).edge(&workload("thief"), &workload("store"), Side::Both);
        core(2).edge(&workload("buyer"), &workload("store"), Side::Both);
        let names: Vec<_> = registry.edges().iter().map(|edge| edge.source.name.clone()).collect();
        assert_eq!(
            (names, registry.overflowed()),
            (vec!["other".to_owned(), "buyer".to_owned()], 1)
        );
    }

    /// Prints what observing costs beside the system calls without which no request gets through. Run it with
    /// `cargo test -p weir-agent --lib observing_costs -- --ignored --nocapture`.
    #[test]
    #[ignore = "a measurement"]
    fn observing_costs_little_beside_two_reads_and_two_writes() {
        let ledger = Ledger::new(0, 2000, Arc::new(Registry::new(2000, Duration::ZERO)));
        let workload = |name: &str| Arc::new(Workload::new("shop", "Deployment", name));
        let clients: Vec<_> = (0..100).map(|n| workload(&format!("client-{n}"))).collect();
        let (store, mut turn) = (workload("store"), 0);
        let observe = time(|| {
            let started = Instant::now();
            turn = (turn + 7) % clients.len();
            let edge = ledger.edge(&clients[turn], &store, Side::Both);
            let flow = Flow::new(edge.clone(), Protocol::Http1, 0, 0);
            let cells = edge.cells(Protocol::Http1).expect("a protocol");
            cells.answered(200);
            cells.took(started.elapsed());
            cells.bytes(100 - flow.up.get(), 200);
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (mut server, _) = listener.accept().expect("accepted");
        let mut space = [0; 100];
        let calls = time(|| {
            for _ in 0..2 {
                client.write_all(&space).expect("sent");
                server.read_exact(&mut space).expect("received");
            }
        });
        let share = observe.as_secs_f64() / calls.as_secs_f64();
        println!(
            "observing {observe:?}, two reads and two writes {calls:?}: {:.2} %",
            share * 100.0
        );
        assert!(share < 0.1, "{share}");
    }
}
