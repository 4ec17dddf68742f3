//! What is open right now, for people who look.
//!
//! Bias: looking costs the cores next to nothing. A core answers in chunks between which it does its other work, and makes
//! no more rows than were asked for. Only connections that go through the engine are known here: those that the kernel
//! lets pass straight to the server are the pods' own.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use weir_core::model::Key;
use weir_core::snapshot::PodInfo;

use super::Engine;
use super::conn::{Conn, Standing};
use super::core::{Command, Core};
use super::judge::Destination;
use super::kernel::Direction;
use super::observe::Turn;
use super::outcome::{Allowed, Protocol};

/// Connections that a core looks at before it does something else.
const CHUNK: usize = 256;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Look {
    /// Only connections of this pod, as client or server.
    pub pod: Option<Key>,
    /// No more rows than this.
    pub most: usize,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Connections that are as asked.
    pub matching: usize,
    /// Rows of some of them.
    pub rows: Vec<OpenConnection>,
}

/// One open connection.
#[derive(Debug)]
pub struct OpenConnection {
    /// The core that has it.
    pub core: usize,
    /// `opening`, `idle`, `busy`, `relaying` or `upgraded`.
    pub state: &'static str,
    /// What it began with, once that is known.
    pub protocol: Option<Protocol>,
    /// The side at which it was accepted.
    pub direction: Direction,
    /// Address and port of the client.
    pub client: SocketAddr,
    /// Its pod.
    pub source: Arc<PodInfo>,
    /// What it asked for.
    pub asked: SocketAddr,
    /// The Service behind that.
    pub service: Option<Key>,
    /// Where its bytes or its last request went.
    pub server: Option<SocketAddr>,
    /// Whose that address is.
    pub destination: Option<Arc<PodInfo>>,
    /// What allowed that.
    pub allowed: Option<Allowed>,
    /// The split's backend that it was.
    pub turn: Option<Arc<Turn>>,
    /// How long it has been open.
    pub age: Duration,
    /// Requests, streams and relays so far.
    pub requests: u64,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes from servers.
    pub down: u64,
}

impl Engine {
    /// What is open. A core that is gone has nothing.
    pub async fn connections(&self, look: Look) -> Found {
        let mut replies = Vec::with_capacity(self.cores.len());
        for core in &self.cores {
            let (reply, replied) = oneshot::channel();
            core.tell(Command::Look(look.clone(), reply));
            replies.push(replied);
        }
        let mut found = Found::default();
        for replied in replies {
            if let Ok(more) = replied.await {
                found.matching += more.matching;
                found.rows.extend(more.rows);
            }
        }
        // The oldest ones, whichever core has them.
        found.rows.sort_by_key(|row| std::cmp::Reverse(row.age));
        found.rows.truncate(look.most);
        found
    }
}

/// Looks through the connections of a core, with breaks.
pub(super) async fn look(core: Rc<Core>, look: Look, reply: oneshot::Sender<Found>) {
    let mut found = Found::default();
    for (nth, id) in core.ids().into_iter().enumerate() {
        if nth % CHUNK == CHUNK - 1 {
            tokio::task::yield_now().await;
        }
        let Some(conn) = core.conn(id) else { continue };
        let server = conn.server();
        let of = |pod: &Key| {
            let destination = server.as_ref().and_then(|server| server.pod.as_ref());
            conn.client.pod == *pod || destination.is_some_and(|info| info.pod == *pod) || core.is_cookie_of(&conn, pod)
        };
        if !look.pod.as_ref().is_none_or(of) {
            continue;
        }
        found.matching += 1;
        if found.rows.len() < look.most {
            found.rows.push(row(&core, &conn));
        }
    }
    // Who asked may have gone.
    let _ = reply.send(found);
}

fn row(core: &Core, conn: &Conn) -> OpenConnection {
    let (state, server) = (conn.state(), conn.server());
    OpenConnection {
        core: core.index(),
        state,
        protocol: conn.protocol(),
        direction: conn.direction,
        client: conn.peer,
        source: conn.client.clone(),
        asked: conn.destination,
        service: Destination::of(&core.snapshot(), conn).service().cloned(),
        server: server.as_ref().map(|server| server.address),
        allowed: server.as_ref().and_then(|server| server.allowed.clone()),
        turn: server.as_ref().and_then(|server| server.turn.clone()),
        destination: server.and_then(|server| server.pod),
        age: conn.since.elapsed(),
        requests: conn.asked.get(),
        up: conn.up.get(),
        down: conn.down.get(),
    }
}

impl Standing {
    /// In one word.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Standing::Opening => "opening",
            Standing::Tcp(_) => "relaying",
            Standing::Upgraded(_) => "upgraded",
            Standing::HttpIdle => "idle",
            _ => "busy",
        }
    }
}
