//! The engine's side of the access log: one [`Entry`] for each request, stream and connection, in a queue.
//!
//! Bias: the data path never waits and never formats. A core puts what it knows into a bounded queue of its own and goes
//! on; what does not fit is counted. One client has no more than a quarter of a queue, so that its flood costs its own lines
//! first. Without an access log nothing of this is made.

mod note;
mod queue;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use weir_core::model::Key;
use weir_core::snapshot::PodInfo;

pub use note::Note;
pub(super) use queue::Queue;
pub use queue::{AccessLog, Entries};

use super::core::Core;
use super::judge::Destination;
use super::kernel::Direction;
use super::observe::Turn;
use super::outcome::{Allowed, Ongoing, Protocol, Refused};
use super::refuse::Reason;

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logged {
    /// What was refused, or would have been in audit.
    Refusals,
    /// Everything.
    All,
}

/// What a request, a stream or a connection came to.
#[derive(Debug)]
pub struct Entry {
    /// When it ended.
    pub time: SystemTime,
    /// What was spoken; `None` for a connection that was reset before that.
    pub protocol: Option<Protocol>,
    /// The side at which it passed.
    pub direction: Direction,
    /// Address and port of the client.
    pub client: SocketAddr,
    /// Its pod, where known.
    pub source: Option<Arc<PodInfo>>,
    /// What it asked for, where known.
    pub asked: Option<SocketAddr>,
    /// The Service behind that.
    pub service: Option<Key>,
    /// Address and port of the server that was picked.
    pub server: Option<SocketAddr>,
    /// Its pod.
    pub destination: Option<Arc<PodInfo>>,
    /// Method, path, host and trace of a request.
    pub note: Option<Box<Note>>,
    /// Status of the answer; 0 for none.
    pub status: u16,
    /// gRPC status.
    pub grpc: Option<u32>,
    /// Bytes from the client.
    pub up: u64,
    /// Bytes from the server, or of the engine's own answer.
    pub down: u64,
    /// From its head to its end.
    pub took: Duration,
    /// How often it was sent again.
    pub retries: u32,
    /// TrafficTarget, and HTTPRouteGroup with match, that allowed it.
    pub allowed: Option<Allowed>,
    /// Split and backend.
    pub turn: Option<Arc<Turn>>,
    /// Server name of a TLS ClientHello.
    pub sni: Option<Box<str>>,
    /// Why it was refused, and whether it was only audited.
    pub refused: Option<(Reason, bool)>,
}

impl Core {
    /// Logs what has ended, if it is to be.
    pub(super) fn log(&self, told: &Ongoing<'_>) {
        let refused = told.refused.borrow();
        let Some(queue) = self.access.as_ref().filter(|queue| queue.wants(refused.is_some())) else {
            return;
        };
        let conn = told.conn();
        let sent = queue.send(conn.peer.ip(), || {
            let server = told.server.borrow();
            let server = server.as_ref();
            Entry {
                time: SystemTime::now(),
                protocol: Some(told.protocol.get()),
                direction: conn.direction,
                client: conn.peer,
                source: Some(conn.client.clone()),
                asked: Some(conn.destination),
                service: Destination::of(&self.snapshot(), conn).service().cloned(),
                server: server.map(|server| server.address),
                destination: server.and_then(|server| server.pod.clone()),
                note: told.note.take(),
                status: told.status.get(),
                grpc: told.grpc.get(),
                up: told.up.get(),
                down: told.down.get(),
                took: told.started.elapsed(),
                retries: told.retries.get(),
                allowed: server.and_then(|server| server.allowed.clone()),
                turn: server.and_then(|server| server.turn.clone()),
                sni: told.sni.take(),
                refused: refused
                    .as_ref()
                    .map(|Refused { reason, audit }| (reason.clone(), *audit)),
            }
        });
        if !sent {
            self.counters.access_lines_lost.one();
        }
    }

    /// Logs a connection that was reset because nobody knows one of its ends.
    pub(super) fn log_stranger(
        &self,
        direction: Direction,
        client: SocketAddr,
        asked: Option<SocketAddr>,
        (source, destination): (Option<Arc<PodInfo>>, Option<Arc<PodInfo>>),
        reason: &Reason,
    ) {
        let Some(queue) = &self.access else { return };
        let sent = queue.send(client.ip(), || Entry {
            time: SystemTime::now(),
            protocol: None,
            direction,
            client,
            source,
            asked,
            service: None,
            server: None,
            destination,
            note: None,
            status: 0,
            grpc: None,
            up: 0,
            down: 0,
            took: Duration::ZERO,
            retries: 0,
            allowed: None,
            turn: None,
            sni: None,
            refused: Some((reason.clone(), false)),
        });
        if !sent {
            self.counters.access_lines_lost.one();
        }
    }
}
