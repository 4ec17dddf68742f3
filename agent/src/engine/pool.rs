//! Idle upstream connections of one core.
//!
//! Bias: identity over reuse. A connection is kept for the client pod and the server pod that it was opened between
//! and is never lent to another, because the server was shown that client's address. It is dropped when either pod
//! changes, when the pair has nothing left that is granted, and when it was idle for too long. Newest first, so that
//! a burst's extra connections age out. What a client keeps here is on its account; where that is full its own oldest
//! one makes room, and nobody else's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use weir_core::snapshot::{PodInfo, Snapshot};

use super::account::{Account, Books};
use super::conn::Conn;
use super::http2::{Down, Upstream};
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

/// One connection in the order of its account.
#[derive(Clone)]
pub(super) struct Order {
    /// Its number; later ones are higher.
    pub number: u64,
    what: What,
}

#[derive(Clone)]
enum What {
    /// In the pool, under this.
    Http1(Between),
    /// In the pool of its own kind.
    Http2(Weak<Upstream>),
}

struct Idle {
    number: u64,
    stream: TcpStream,
    client: Arc<PodInfo>,
    server: Server,
    account: Rc<Account>,
    since: u64,
}

/// The connections.
pub(super) struct Pool {
    most: usize,
    last: Cell<u64>,
    idle: RefCell<HashMap<Between, Vec<Idle>>>,
}

impl Pool {
    /// Keeps at most `most` connections between two pods.
    pub fn new(most: usize) -> Pool {
        Pool {
            most,
            last: Cell::new(0),
            idle: RefCell::default(),
        }
    }

    /// A connection between these two, still open as far as can be seen without asking the kernel.
    pub fn take(&self, between: &Between, client: &PodInfo, server: &Server) -> Option<TcpStream> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(between)?;
        while let Some(found) = idle.pop() {
            found.account.remove_idle(found.number);
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

    /// Keeps a connection of `conn`'s client whose last exchange is complete. How many had to be closed for it.
    pub fn put(&self, between: Between, stream: TcpStream, conn: &Conn, server: Server, now: u64) -> u64 {
        let account = &conn.account;
        let Some(mut closed) = self.make_room(account) else {
            linger::orderly(&stream);
            return 1;
        };
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(between).or_default();
        if idle.len() >= self.most && !idle.is_empty() {
            let oldest = idle.remove(0);
            oldest.account.remove_idle(oldest.number);
            linger::orderly(&oldest.stream);
            closed += 1;
        }
        let number = self.number();
        account.add_idle(Order {
            number,
            what: What::Http1(between),
        });
        idle.push(Idle {
            number,
            stream,
            client: conn.client.clone(),
            server,
            account: account.clone(),
            since: now,
        });
        closed
    }

    /// Notes that a connection of HTTP/2 is idle: the number that it has to be taken back by, and how many had to be closed for
    /// it. `None`: there is no place for it.
    pub fn note(&self, upstream: &Rc<Upstream>) -> Option<(u64, u64)> {
        let closed = self.make_room(upstream.account())?;
        let number = self.number();
        upstream.account().add_idle(Order {
            number,
            what: What::Http2(Rc::downgrade(upstream)),
        });
        Some((number, closed))
    }

    fn number(&self) -> u64 {
        let number = self.last.get().wrapping_add(1);
        self.last.set(number);
        number
    }

    /// Closes the oldest connections of this client until there is a place; how many. `None` if none can be had.
    fn make_room(&self, account: &Account) -> Option<u64> {
        let mut closed = 0;
        while !account.has_idle_place() {
            if !self.close_oldest(account) {
                return None;
            }
            closed += 1;
        }
        Some(closed)
    }

    /// Closes up to `most` connections, each time the oldest of the client that has most, and says how many it was:
    /// their descriptors are needed elsewhere.
    pub fn give_back(&self, books: &Books, most: usize) -> u64 {
        let closed = |_: &usize| books.idlest().is_some_and(|account| self.close_oldest(&account));
        (0..most).take_while(closed).count() as u64
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

    fn close_oldest(&self, account: &Account) -> bool {
        let Some(order) = account.oldest_idle() else {
            return false;
        };
        account.remove_idle(order.number);
        let between = match &order.what {
            What::Http1(between) => between,
            What::Http2(upstream) => {
                if let Some(upstream) = upstream.upgrade() {
                    upstream.close(Down::Closed);
                }
                return true;
            }
        };
        let mut all = self.idle.borrow_mut();
        if let Some(idle) = all.get_mut(between)
            && let Some(at) = idle.iter().position(|idle| idle.number == order.number)
        {
            linger::orderly(&idle.remove(at).stream);
            if idle.is_empty() {
                all.remove(between);
            }
        }
        true
    }

    fn keep(&self, good: impl Fn(&Idle) -> bool) {
        self.idle.borrow_mut().retain(|_, idle| {
            idle.retain(|idle| {
                let keep = good(idle);
                if !keep {
                    idle.account.remove_idle(idle.number);
                    linger::orderly(&idle.stream);
                }
                keep
            });
            !idle.is_empty()
        });
    }
}
