//! One core of the engine: a thread with its own runtime, listeners, connections, pool and rotations.
//!
//! Bias: cores share nothing that requests write to. All state is the thread's own (`Rc`, `Cell`), so that there is no
//! lock and no contended cache line between two requests; the price is that idle upstream connections and the place
//! in a rotation are per core. Commands come over a channel; the clock ticks every [`TICK`] and bounds all waits.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use weir_core::model::Key;
use weir_core::snapshot::Snapshot;

use super::access;
use super::account::{Account, Books};
use super::conn::{Conn, End};
use super::http1::Shelf;
use super::http2::Upstreams;
use super::judge::{self, Again};
use super::kernel::Kernel;
use super::listen::{self, PodListeners};
use super::netns::Namespace;
use super::observe::Ledger;
use super::open::{self, Found, Look};
use super::opening::Openings;
use super::pods::{PodError, PodSpec};
use super::pool::Pool;
use super::refuse::Refusal;
use super::spare::Spare;
use super::split::Rotations;
use super::stats::Counters;
use super::{Config, Shared};

/// How often deadlines are looked at: every wait may take so much longer than it was allowed.
const TICK: Duration = Duration::from_millis(50);

/// How many ticks pass between two looks at the bytes of relays.
const COUNT: u64 = 20;

/// How many bytes a relay moves with one read; shared by all relays of the core.
const SCRATCH: usize = 256 * 1024;

/// What the engine tells a core.
pub(super) enum Command {
    /// Serve exactly these pods; says which could not be served.
    Pods(Arc<[PodSpec]>, oneshot::Sender<Vec<PodError>>),
    /// The snapshot was swapped.
    Judge,
    /// Say what is open.
    Look(Look, oneshot::Sender<Found>),
    /// Take no more connections, end the idle ones, and stop once all are gone or the time is over.
    Stop(Duration),
}

/// One core.
pub(super) struct Core {
    index: usize,
    shared: Arc<Shared>,
    /// What it has seen.
    pub counters: Arc<Counters>,
    /// What each client has here.
    pub books: Books,
    /// The descriptor for when there is none.
    pub spare: Spare,
    /// Idle upstream connections.
    pub pool: Pool,
    /// Upstream connections of HTTP/2.
    pub upstreams: Upstreams,
    /// Places in the rotations of Services.
    pub rotations: Rotations,
    /// What can become of connections.
    pub openings: Openings,
    /// Buffers of requests.
    pub shelf: Shelf,
    /// Where the access log takes its lines from.
    pub access: Option<access::Queue>,
    /// What has passed between whom.
    pub ledger: Ledger,
    /// Where a relay reads into, between two awaits.
    pub scratch: RefCell<Box<[u8]>>,
    started: Instant,
    clock: Rc<Cell<u64>>,
    ticks: Cell<u64>,
    stopping: Cell<bool>,
    pods: RefCell<HashMap<u64, PodListeners>>,
    conns: RefCell<HashMap<u64, Rc<Conn>>>,
    last_conn: Cell<u64>,
    last_second: Cell<u64>,
}

impl Core {
    /// A core that serves nobody yet.
    pub fn new(index: usize, shared: Arc<Shared>, counters: Arc<Counters>) -> Core {
        Core {
            index,
            counters,
            books: Books::new(&shared.config.limits, shared.config.cores, shared.payers.clone()),
            spare: Spare::new(),
            pool: Pool::new(shared.config.limits.idle_upstreams_per_pair),
            upstreams: Upstreams::default(),
            rotations: Rotations::new(index, shared.registry.clone()),
            access: shared.config.access_log.as_ref().map(access::AccessLog::queue),
            ledger: Ledger::new(index, shared.config.limits.workload_pairs, shared.registry.clone()),
            openings: Openings::default(),
            shelf: Shelf::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            started: Instant::now(),
            clock: Rc::new(Cell::new(0)),
            ticks: Cell::new(0),
            stopping: Cell::new(false),
            pods: RefCell::default(),
            conns: RefCell::default(),
            last_conn: Cell::new(0),
            last_second: Cell::new(0),
            shared,
        }
    }

    /// Works on commands until it is told to stop or the engine is gone. Runs inside a `LocalSet`.
    pub async fn run(self: Rc<Core>, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rounds = tokio::task::spawn_local(self.books.turns().clone().run());
        let mut patience = None;
        while patience.is_none_or(|until| Instant::now() < until && !self.conns.borrow().is_empty()) {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Pods(pods, reply)) => drop(reply.send(self.serve(&pods).await)),
                    Some(Command::Judge) => self.judge(),
                    Some(Command::Look(look, reply)) => {
                        drop(tokio::task::spawn_local(open::look(self.clone(), look, reply)));
                    }
                    Some(Command::Stop(time)) => {
                        self.stop();
                        let until = Instant::now() + time;
                        patience = Some(patience.map_or(until, |before| until.min(before)));
                    }
                    None => break,
                },
                _ = ticks.tick() => self.tick(),
            }
        }
        rounds.abort();
        self.books.turns().close();
    }

    /// The numbers of all that is open.
    pub fn ids(&self) -> Vec<u64> {
        self.conns.borrow().keys().copied().collect()
    }

    /// What is open under a number.
    pub fn conn(&self, id: u64) -> Option<Rc<Conn>> {
        self.conns.borrow().get(&id).cloned()
    }

    /// The pod at whose listener the connection was accepted is this one.
    pub fn is_cookie_of(&self, conn: &Conn, pod: &Key) -> bool {
        let snapshot = self.snapshot();
        snapshot.local.get(&conn.cookie).is_some_and(|local| local.pod == *pod)
    }

    /// Which one it is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// The engine's settings.
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The kernel's programs.
    pub fn kernel(&self) -> &dyn Kernel {
        &*self.shared.kernel
    }

    /// The snapshot in force. Not to be held across an await.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.shared.snapshot.load()
    }

    /// Milliseconds since the core began, as of the last tick.
    pub fn now(&self) -> u64 {
        self.clock.get()
    }

    /// The clock itself.
    pub fn clock(&self) -> Rc<Cell<u64>> {
        self.clock.clone()
    }

    /// True once no more requests are taken. Every connection is woken when that begins.
    pub fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits for `work`, but not while the core is stopping; `None` then. What `work` has done by then stays done.
    pub async fn unless_stopping<F: Future>(&self, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.is_stopping() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Where sockets of an enrolled pod of this node are made.
    pub fn namespace_of(&self, cookie: u64) -> Option<Namespace> {
        self.pods.borrow().get(&cookie).map(|pod| pod.spec.namespace.clone())
    }

    /// Hands on a refusal of what `account` asked for, or counts it as lost. It is only made if there is room for it.
    pub fn report(&self, account: &Account, refusal: impl FnOnce() -> Refusal) {
        if !self.shared.refusals.send(account.payer(), refusal) {
            self.counters.reports_lost.one();
        }
    }

    /// Closes idle upstream connections because descriptors are out; false if there was none.
    pub fn give_back(&self, most: usize) -> bool {
        let closed = self.pool.give_back(&self.books, most);
        self.counters.upstream_evicted.add(closed);
        closed > 0
    }

    /// Keeps a connection in sight until the answer is dropped.
    pub fn watch(self: &Rc<Core>, conn: Rc<Conn>) -> Watched {
        let id = self.last_conn.get().wrapping_add(1);
        self.last_conn.set(id);
        self.conns.borrow_mut().insert(id, conn);
        self.counters.open.one();
        Watched { core: self.clone(), id }
    }

    async fn serve(self: &Rc<Core>, pods: &[PodSpec]) -> Vec<PodError> {
        let keep = |open: &PodListeners| pods.iter().any(|pod| pod.is_same(&open.spec));
        let gone: Vec<u64> = self
            .pods
            .borrow()
            .iter()
            .filter(|(_, open)| !keep(open))
            .map(|(cookie, _)| *cookie)
            .collect();
        for cookie in &gone {
            let listeners = self.pods.borrow_mut().remove(cookie);
            if let Some(listeners) = listeners {
                listeners.close().await;
            }
        }
        self.end_where(|conn| gone.contains(&conn.cookie));
        let mut errors = Vec::new();
        for pod in pods {
            if self.stopping.get() || self.pods.borrow().contains_key(&pod.cookie) {
                continue;
            }
            match listen::open(self, pod) {
                Ok(open) => drop(self.pods.borrow_mut().insert(pod.cookie, open)),
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Judges everything that is open by the snapshot in force.
    fn judge(&self) {
        let snapshot = self.snapshot();
        self.pool.judge(&snapshot);
        self.upstreams.judge(&snapshot);
        self.rotations.judge(&snapshot);
        self.ledger.judge(&snapshot);
        for conn in self.conns.borrow().values() {
            match judge::again(&snapshot, &self.openings, conn) {
                Again::Stay => {}
                Again::Ask => conn.doubt(),
                Again::End(end) => {
                    if end == End::Reset {
                        self.counters.revoked.one();
                    }
                    conn.end(end);
                }
            }
        }
    }

    fn tick(&self) {
        self.clock.set(self.started.elapsed().as_millis() as u64);
        self.ticks.set(self.ticks.get().wrapping_add(1));
        if self.ticks.get().is_multiple_of(COUNT) {
            self.conns.borrow().values().for_each(|conn| conn.count());
        }
        for conn in self.conns.borrow().values().filter(|conn| conn.is_late()) {
            conn.wake();
        }
        self.pool.expire(self.now(), self.config().times.idle_upstream);
        self.upstreams.expire(self.now(), self.config().times.idle_upstream);
        self.spare.fill();
        let second = self.now() / 1000;
        if self.last_second.replace(second) != second {
            self.books.tidy();
            self.pods
                .borrow()
                .values()
                .for_each(|pod| pod.count_overflows(&self.counters));
        }
        let (requests, bytes, idle) = self.books.now();
        self.counters.requests_in_flight.set(requests as u64);
        self.counters.buffered_bytes.set(bytes as u64);
        self.counters.upstream_idle.set(idle as u64);
    }

    fn stop(&self) {
        self.stopping.set(true);
        // The pods stay: what is under way may still have to connect inside their namespaces.
        self.pods.borrow_mut().values_mut().for_each(PodListeners::rest);
        for conn in self.conns.borrow().values() {
            conn.wake();
        }
    }

    fn end_where(&self, gone: impl Fn(&Conn) -> bool) {
        for conn in self.conns.borrow().values().filter(|conn| gone(conn)) {
            self.counters.revoked.one();
            conn.end(End::Reset);
        }
    }
}

/// A connection that its core has in sight.
pub(super) struct Watched {
    core: Rc<Core>,
    id: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let conn = self.core.conns.borrow_mut().remove(&self.id);
        drop(conn);
        self.core.counters.open.less();
    }
}
