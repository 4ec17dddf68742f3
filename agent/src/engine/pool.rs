//! Idle upstream connections of one core.
//!
//! Bias: identity over reuse. A connection is kept for the client pod and the server pod that it was opened between
//! and is never lent to another, because the server was shown that client's address. It is dropped when either pod
//! changes, when the pair has nothing left that is granted, and when it was idle for too long. Newest first, so that
//! a burst's extra connections age out.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use weir_core::snapshot::{PodInfo, Snapshot};

use super::judge::{self, Server};
use super::linger;

/// Between whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Between {
    /// Cookie of the pod whose listener accepted the request.
    pub cookie: u64,
    /// Address of the client.
    pub client: IpAddr,
    /// Address and port of the server.
    pub server: SocketAddr,
}

struct Idle {
    stream: TcpStream,
    client: Arc<PodInfo>,
    server: Server,
    since: u64,
}

/// The connections.
pub(super) struct Pool {
    most: usize,
    idle: RefCell<HashMap<Between, Vec<Idle>>>,
}

impl Pool {
    /// Keeps at most `most` connections between two pods.
    pub fn new(most: usize) -> Pool {
        Pool {
            most,
            idle: RefCell::default(),
        }
    }

    /// A connection between these two, still open as far as can be seen without asking the kernel.
    pub fn take(&self, between: &Between, client: &PodInfo, server: &Server) -> Option<TcpStream> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(between)?;
        while let Some(found) = idle.pop() {
            let same = judge::is_same(&found.client, client) && found.server.is_same(server);
            // Readable means closed, or bytes that nobody asked for. Either way it is of no more use.
            let quiet =
                matches!(found.stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
            if same && quiet {
                return Some(found.stream);
            }
            linger::orderly(&found.stream);
        }
        None
    }

    /// Keeps a connection whose last exchange is complete.
    pub fn put(&self, between: Between, stream: TcpStream, client: Arc<PodInfo>, server: Server, now: u64) {
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(between).or_default();
        match idle.len() < self.most {
            true => idle.push(Idle {
                stream,
                client,
                server,
                since: now,
            }),
            false => linger::orderly(&stream),
        }
    }

    /// Drops what the snapshot gives no more reason to keep.
    pub fn judge(&self, snapshot: &Snapshot) {
        self.keep(|idle| {
            judge::is_current(snapshot, &idle.client)
                && idle.server.is_current(snapshot)
                && judge::may_reach(snapshot, &idle.client, &idle.server)
        });
    }

    /// Drops what has been idle for longer than `time` at `now` (milliseconds of the core's clock).
    pub fn expire(&self, now: u64, time: Duration) {
        self.keep(|idle| now.saturating_sub(idle.since) < time.as_millis() as u64);
    }

    fn keep(&self, good: impl Fn(&Idle) -> bool) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| {
                let keep = good(idle);
                if !keep {
                    linger::orderly(&idle.stream);
                }
                keep
            });
            !idle.is_empty()
        });
    }
}
