//! What a request, a stream or a relayed connection came to: one [`Outcome`], told once.
//!
//! Bias: told exactly once, whatever happens. An [`Ongoing`] is made when something has been judged (or can't be) and
//! reports when it is dropped, so a reset, a revocation and a panic count as well as an orderly end. What is noted on
//! the way is plain cells; names are resolved when they are read. The core's thread owns everything here.
//!
//! ```text
//!   judged ─▶ Ongoing::new ─▶ goes_to, answered, count … ─▶ drop ─▶ Core::observe(&Outcome)
//! ```
use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use weir_core::matcher::RequestView;
use weir_core::policy::{Granted, HttpAllowed};
use weir_core::snapshot::PairAccess;

use super::access::Note;
use super::conn::Conn;
use super::core::Core;
use super::judge::Server;
use super::observe::{Edge, Flow, Seat};
use super::refuse::Reason;
use super::stats::Counter;

/// What was spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// A request of HTTP/1.0 or 1.1.
    Http1,
    /// A stream of HTTP/2.
    Http2,
    /// A stream of HTTP/2 whose content type says gRPC.
    Grpc,
    /// Bytes.
    Tcp,
    /// Bytes that began with a TLS ClientHello.
    Tls,
    /// Bytes behind an HTTP upgrade (WebSocket and the like).
    Upgraded,
}

impl Protocol {
    /// All of them, in the order of their numbers.
    pub const ALL: [Protocol; 6] = [
        Protocol::Http1,
        Protocol::Http2,
        Protocol::Grpc,
        Protocol::Tcp,
        Protocol::Tls,
        Protocol::Upgraded,
    ];

    /// The protocol as labels and lines name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::Grpc => "grpc",
            Protocol::Tcp => "tcp",
            Protocol::Tls => "tls",
            Protocol::Upgraded => "upgraded",
        }
    }
}

/// What lets something pass: a grant of a pair, which stays readable when the snapshot has gone.
#[derive(Clone, Debug)]
pub struct Allowed {
    access: Arc<PairAccess>,
    granted: Granted,
}

impl Allowed {
    /// As the snapshot has found it.
    pub(super) fn new((access, granted): (&Arc<PairAccess>, Granted)) -> Allowed {
        Allowed {
            access: access.clone(),
            granted,
        }
    }

    /// TrafficTarget, HTTPRouteGroup and match.
    pub fn names(&self) -> Option<HttpAllowed<'_>> {
        self.access.named(self.granted)
    }
}

/// Why something was not sent on, or would not have been.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    /// Why.
    pub reason: Reason,
    /// It was sent on nevertheless, because its destination is only audited.
    pub audit: bool,
}

/// What is known of a request, a stream or a relayed connection; complete once it has ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What was spoken. An upgrade changes it.
    pub protocol: Cell<Protocol>,
    /// When its head was there, or a relayed connection was judged.
    pub started: Instant,
    /// What it asked for, where that is to be logged.
    pub note: RefCell<Option<Box<Note>>>,
    /// Where it was sent, or would have been, where that is to be logged.
    pub server: RefCell<Option<Server>>,
    /// Status of the answer that the client got, the engine's own included; 0 for none.
    pub status: Cell<u16>,
    /// gRPC status, where there was one.
    pub grpc: Cell<Option<u32>>,
    /// Bytes from the client.
    pub up: Cell<u64>,
    /// Bytes from the server, or of the engine's own answer.
    pub down: Cell<u64>,
    /// Why it was refused, or would have been.
    pub refused: RefCell<Option<Refused>>,
    /// How often it was sent again.
    pub retries: Cell<u32>,
    /// Server name of a TLS ClientHello.
    pub sni: RefCell<Option<Box<str>>>,
}

impl Outcome {
    fn new(protocol: Protocol) -> Outcome {
        Outcome {
            protocol: Cell::new(protocol),
            started: Instant::now(),
            note: RefCell::new(None),
            server: RefCell::new(None),
            status: Cell::new(0),
            grpc: Cell::new(None),
            up: Cell::new(0),
            down: Cell::new(0),
            refused: RefCell::new(None),
            retries: Cell::new(0),
            sni: RefCell::new(None),
        }
    }

    /// Notes the status of the final answer.
    pub fn answered(&self, status: u16) {
        self.status.set(status);
    }

    /// Notes why it is not sent on.
    pub fn refuse(&self, reason: Reason) {
        self.refused.replace(Some(Refused { reason, audit: false }));
    }

    /// Notes why it would not be sent on, were its destination not only audited.
    pub fn would_refuse(&self, reason: Reason) {
        self.refused.replace(Some(Refused { reason, audit: true }));
    }

    fn add(&self, up: u64, down: u64) {
        self.up.set(self.up.get().wrapping_add(up));
        self.down.set(self.down.get().wrapping_add(down));
    }
}

/// Something under way. Tells its core what it came to when it is dropped.
pub(super) struct Ongoing<'a> {
    core: &'a Core,
    conn: &'a Conn,
    outcome: Outcome,
    /// Between whom, once that is known.
    edge: OnceCell<Arc<Edge>>,
    /// Bytes that were not counted yet.
    pending: Cell<(u64, u64)>,
    /// The connection's bytes when it began, where it has the connection for itself.
    alone: Option<(u64, u64)>,
    /// Bytes from the client that belong to what follows.
    unread: Cell<u64>,
}

impl<'a> Ongoing<'a> {
    /// A stream among others: whoever moves its bytes counts them ([`Ongoing::count`]).
    pub fn new(core: &'a Core, conn: &'a Conn, protocol: Protocol) -> Ongoing<'a> {
        conn.asked.set(conn.asked.get().wrapping_add(1));
        Ongoing {
            core,
            conn,
            outcome: Outcome::new(protocol),
            edge: OnceCell::new(),
            pending: Cell::new((0, 0)),
            alone: None,
            unread: Cell::new(0),
        }
    }

    /// A request or a relay that has the connection for itself. `unread` bytes of what has come from the client are
    /// part of it (or of what follows it).
    pub fn alone(core: &'a Core, conn: &'a Conn, protocol: Protocol, unread: usize) -> Ongoing<'a> {
        let up = conn.up.get().wrapping_sub(unread as u64);
        let mut ongoing = Ongoing::new(core, conn, protocol);
        ongoing.alone = Some((up, conn.down.get()));
        ongoing
    }

    /// Notes where it is sent. The first server of a connection is the one that the connection is counted with.
    pub fn goes_to(&self, server: &Server) {
        let edge = self.would_go_to(server);
        self.conn.sits(|| Seat::new(edge.clone(), self.outcome.protocol.get()));
        match self.alone {
            Some((up, down)) => {
                let flow = Flow::new(edge.clone(), self.outcome.protocol.get(), up, down);
                self.conn.flows(flow);
            }
            None => self.conn.went_to(server),
        }
    }

    /// Notes where it would have been sent, were it not refused.
    pub fn would_go_to(&self, server: &Server) -> &Arc<Edge> {
        if self.core.access.is_some() {
            self.outcome.server.replace(Some(server.clone()));
        }
        // Another try is no other decision.
        if let Some(turn) = server.turn.as_ref().filter(|_| self.edge.get().is_none()) {
            turn.taken.one();
        }
        self.edge.get_or_init(|| self.core.ledger.towards(self.conn, server))
    }

    /// Notes what it asks for, if that is to be logged. To be called once it is known whether it is refused.
    pub fn asks(&self, request: &impl RequestView) {
        let refused = self.outcome.refused.borrow().is_some();
        let wanted = self.core.access.as_ref().is_some_and(|queue| queue.wants(refused));
        if wanted && self.outcome.note.borrow().is_none() {
            self.outcome.note.replace(Some(Box::new(Note::of(request))));
        }
    }

    /// Adds bytes: of a stream, or of an answer that is the engine's own. Those that have come on a connection of one's
    /// own are counted anyway.
    pub fn count(&self, up: u64, down: u64) {
        self.outcome.add(up, down);
        match self.edge.get().and_then(|edge| edge.cells(self.outcome.protocol.get())) {
            Some(cells) => cells.bytes(up, down),
            None => self.owes(up, down),
        }
    }

    /// Notes that `unread` bytes of what has come from the client belong to what follows.
    pub fn leaves(&self, unread: usize) {
        self.unread.set(unread as u64);
    }

    /// Whose it is.
    pub fn conn(&self) -> &Conn {
        self.conn
    }

    /// Between whom, where that is known.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.get().map(|edge| &**edge)
    }

    /// Bytes in both directions that no number has yet.
    pub fn uncounted(&self) -> (u64, u64) {
        self.pending.get()
    }

    fn owes(&self, up: u64, down: u64) {
        let (owed_up, owed_down) = self.pending.get();
        self.pending
            .set((owed_up.wrapping_add(up), owed_down.wrapping_add(down)));
    }
}

impl Deref for Ongoing<'_> {
    type Target = Outcome;

    fn deref(&self) -> &Outcome {
        &self.outcome
    }
}

impl Drop for Ongoing<'_> {
    fn drop(&mut self) {
        if let Some((up, down)) = self.alone {
            let all_up = self.conn.up.get().wrapping_sub(self.unread.get());
            let all_down = self.conn.down.get();
            self.outcome.add(all_up.wrapping_sub(up), all_down.wrapping_sub(down));
            let (up, down) = match self.conn.flowed() {
                Some(flow) => (flow.up.get(), flow.down.get()),
                None => (up, down),
            };
            self.owes(all_up.wrapping_sub(up), all_down.wrapping_sub(down));
        }
        self.core.observe(self);
    }
}

/// Counts bytes of a connection as they come: for all of the core, and for the connection.
#[derive(Clone, Copy)]
pub(super) struct Meter<'a> {
    core: &'a Counter,
    conn: &'a Cell<u64>,
}

impl<'a> Meter<'a> {
    /// Bytes from the client.
    pub fn from_client(core: &'a Core, conn: &'a Conn) -> Meter<'a> {
        Meter {
            core: &core.counters.bytes_from_clients,
            conn: &conn.up,
        }
    }

    /// Bytes from the server.
    pub fn from_server(core: &'a Core, conn: &'a Conn) -> Meter<'a> {
        Meter {
            core: &core.counters.bytes_from_servers,
            conn: &conn.down,
        }
    }

    /// `bytes` more.
    pub fn add(self, bytes: usize) {
        let bytes = bytes as u64;
        self.core.add(bytes);
        self.conn.set(self.conn.get().wrapping_add(bytes));
    }
}
