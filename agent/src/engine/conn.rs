//! One accepted connection: who it belongs to, what it stands on, and how it is ended from outside.
//!
//! Bias: the hot path pays nothing for being watched. A connection keeps its deadline and what it stands on in cells
//! that its core reads when the snapshot changes or the clock ticks; no timer, channel or lock is touched per request.
//! The core's thread owns everything here.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use weir_core::identity::Identity;
use weir_core::snapshot::{PodInfo, Snapshot};

use super::account::{Account, Held};
use super::judge::{self, Server};
use super::kernel::Direction;
use super::observe::{Flow, Seat};
use super::outcome::Protocol;
use super::turns::Ticket;

/// What an open connection relies on, and is judged by when the snapshot changes.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// Nothing was granted yet.
    Opening,
    /// Bytes are relayed to this server.
    Tcp(Server),
    /// Bytes are relayed to this server, behind a request that asked for another protocol. Whoever relays them judges that
    /// request again when asked to.
    Upgraded(Server),
    /// Between two requests.
    HttpIdle,
    /// A request is under way to this server, or what came behind it. Whoever works on it judges it again when asked to.
    HttpBusy(Server),
    /// Streams of HTTP/2, each with a server of its own, or none just now. Its task judges them again, and sees for itself
    /// that no more are taken.
    Http2,
}

/// How a connection is told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a reset, at once.
    Reset,
    /// In order: it is idle, and nothing more can come of it.
    Close,
}

/// A wait that took longer than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Late;

/// An accepted connection.
pub(super) struct Conn {
    /// Cookie of the enrolled pod whose listener accepted it.
    pub cookie: u64,
    /// Which side that pod is.
    pub direction: Direction,
    /// The client: its real address and port.
    pub peer: SocketAddr,
    /// The client's pod, by the snapshot of the moment it connected.
    pub client: Arc<PodInfo>,
    /// What was asked for: a Service's address, or a pod's.
    pub destination: SocketAddr,
    /// Bytes received from the client so far.
    pub up: Cell<u64>,
    /// Bytes received from servers for it so far.
    pub down: Cell<u64>,
    /// Who pays for it.
    pub account: Rc<Account>,
    /// What its buffers take up.
    pub held: Held,
    ticket: Rc<Ticket>,
    /// Requests, streams and relays so far, refused ones included.
    pub asked: Cell<u64>,
    /// When it was accepted.
    pub since: Instant,
    /// Where it is counted as open.
    seat: RefCell<Option<Seat>>,
    /// Where its bytes are counted while one thing has it for itself.
    flow: RefCell<Option<Flow>>,
    /// Who the client is, and by which snapshot.
    known: Cell<(u64, Identity)>,
    standing: RefCell<Standing>,
    /// Where the last request went.
    last: RefCell<Option<Server>>,
    clock: Rc<Cell<u64>>,
    deadline: Cell<u64>,
    end: Cell<Option<End>>,
    doubted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Conn {
    /// A connection that has just been accepted. `clock` is its core's, in milliseconds; `account` is the client's.
    pub fn new(
        cookie: u64,
        direction: Direction,
        peer: SocketAddr,
        client: Arc<PodInfo>,
        destination: SocketAddr,
        (account, clock): (Rc<Account>, Rc<Cell<u64>>),
    ) -> Conn {
        Conn {
            cookie,
            direction,
            peer,
            client,
            destination,
            up: Cell::new(0),
            down: Cell::new(0),
            held: Held::new(account.clone()),
            account,
            ticket: Rc::default(),
            asked: Cell::new(0),
            since: Instant::now(),
            seat: RefCell::new(None),
            flow: RefCell::new(None),
            known: Cell::new((u64::MAX, Identity::UNKNOWN)),
            standing: RefCell::new(Standing::Opening),
            last: RefCell::new(None),
            clock,
            deadline: Cell::new(u64::MAX),
            end: Cell::new(None),
            doubted: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Who the client is by this snapshot: the IdentityBindings that bind its pod may be others than when it connected.
    /// Nobody if its pod is not the same any more.
    pub fn identity(&self, snapshot: &Snapshot) -> Identity {
        let (generation, identity) = self.known.get();
        if generation == snapshot.generation {
            return identity;
        }
        let identity = judge::identity(snapshot, &self.client);
        self.known.set((snapshot.generation, identity));
        identity
    }

    /// Counts it as open, the first time.
    pub fn sits(&self, seat: impl FnOnce() -> Seat) {
        self.seat.borrow_mut().get_or_insert_with(seat);
    }

    /// Its bytes are counted there from now on.
    pub fn flows(&self, flow: Flow) {
        self.flow.replace(Some(flow));
    }

    /// Its bytes are counted nowhere any more.
    pub fn flowed(&self) -> Option<Flow> {
        self.flow.take()
    }

    /// Counts the bytes of what is relayed and may go on for days.
    pub fn count(&self) {
        let upgraded = match *self.standing.borrow() {
            Standing::Tcp(_) => false,
            Standing::Upgraded(_) => true,
            _ => return,
        };
        if let Some(flow) = &*self.flow.borrow() {
            flow.count(upgraded, self.up.get(), self.down.get());
        }
    }

    /// What it stands on.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// What it stands on, in one word.
    pub fn state(&self) -> &'static str {
        self.standing.borrow().word()
    }

    /// Where its bytes or its last request went.
    pub fn server(&self) -> Option<Server> {
        match &*self.standing.borrow() {
            Standing::Tcp(server) | Standing::Upgraded(server) | Standing::HttpBusy(server) => Some(server.clone()),
            _ => self.last.borrow().clone(),
        }
    }

    /// Notes where its last request went, for streams, which it does not stand on.
    pub fn went_to(&self, server: &Server) {
        self.last.replace(Some(server.clone()));
    }

    /// What it began with, or has become.
    pub fn protocol(&self) -> Option<Protocol> {
        match &*self.standing.borrow() {
            Standing::Upgraded(_) => Some(Protocol::Upgraded),
            _ => self.seat.borrow().as_ref().map(|seat| seat.protocol),
        }
    }

    /// Notes what it stands on from now on.
    pub fn stands_on(&self, standing: Standing) {
        // Kept for who asks what the last request was.
        if let Standing::HttpBusy(server) = self.standing.replace(standing) {
            self.last.replace(Some(server));
        }
    }

    /// From now on [`Conn::in_time`] waits no longer than `time`, give or take a tick of the core's clock.
    pub fn allow(&self, time: Duration) {
        self.deadline
            .set(self.clock.get().saturating_add(time.as_millis() as u64));
    }

    /// From now on [`Conn::in_time`] waits for ever.
    pub fn allow_forever(&self) {
        self.deadline.set(u64::MAX);
    }

    /// From now on [`Conn::is_late`] from `time` on, in milliseconds of its core's clock.
    pub fn allow_until(&self, time: u64) {
        self.deadline.set(time);
    }

    /// From now on [`Conn::is_late`] from `time` on, or earlier if it was so before.
    pub fn allow_at_most_until(&self, time: u64) {
        self.deadline.set(self.deadline.get().min(time));
    }

    /// True once the deadline has passed.
    pub fn is_late(&self) -> bool {
        self.clock.get() >= self.deadline.get()
    }

    /// Tells the connection to end. A later, softer word does not take back a harder one.
    pub fn end(&self, end: End) {
        if self.end.get() != Some(End::Reset) {
            self.end.set(Some(end));
        }
        self.wake();
    }

    /// The snapshot has changed under a request: whoever works on it has to ask again whether it is allowed.
    pub fn doubt(&self) {
        self.doubted.set(true);
        self.wake();
    }

    /// Whether the snapshot has changed since this was last asked, as far as [`Core`](super::core::Core) could not tell by
    /// itself what comes of that.
    pub fn take_doubt(&self) -> bool {
        self.doubted.replace(false)
    }

    /// Makes its task look at deadline, end and doubt.
    pub fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Runs the connection's work, in turns of its client, until it is through, or until the connection is told to end.
    pub async fn watched<F: Future>(&self, work: F) -> Result<F::Output, End> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Some(end) = self.end.get() {
                return Poll::Ready(Err(end));
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            if !self.account.may_go(&self.ticket, cx) {
                return Poll::Pending;
            }
            work.as_mut().poll(cx).map(Ok)
        })
        .await
    }

    /// Waits for `work`, but not beyond the deadline. What `work` has done by then stays done.
    pub async fn in_time<F: Future>(&self, work: F) -> Result<F::Output, Late> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.is_late() => Poll::Ready(Err(Late)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
