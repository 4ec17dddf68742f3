//! Idle upstream connections of one core.
//!
//! Bias: identity over reuse. A connection is kept for the client pod and the server pod that it was opened between
//! and is never lent to another, because the server was shown that client's address. It is dropped when either pod
//! changes, when the pair has nothing left that is granted, and when it was idle for too long. Newest first, so that
//! a burst's extra connections age out. What a client keeps here is on its account; where that is full its own oldest
//! one makes room, and nobody else's.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
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

    /// A connection between these two, still open and silent.
    pub fn take(&self, between: &Between, client: &PodInfo, server: &Server) -> Option<TcpStream> {
        let mut all = self.idle.borrow_mut();
        let idle = all.get_mut(between)?;
        while let Some(found) = idle.pop() {
            found.account.remove_idle(found.number);
            let same = judge::is_same(&found.client, client) && found.server.is_same(server);
            if same && is_quiet(&found.stream) {
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

/// Nothing has come, neither bytes nor the end: else it is closed, or has an answer that nobody asked for (like the 408 of
/// a server that closes what was idle), which the next request must not get. The kernel is asked, because the runtime may
/// not know yet; that takes half a microsecond.
fn is_quiet(stream: &TcpStream) -> bool {
    let mut byte = 0u8;
    // SAFETY: the call writes at most one byte into `byte`, which lives until it returns, and does not wait.
    let got = unsafe {
        libc::recv(
            stream.as_raw_fd(),
            (&raw mut byte).cast(),
            1,
            libc::MSG_PEEK | libc::MSG_DONTWAIT,
        )
    };
    got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::account::Client;
    use super::super::kernel::Direction;
    use super::super::settings::Limits;
    use super::*;

    #[test]
    fn what_has_come_or_gone_a_moment_ago_is_not_lent() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let local = IpAddr::from([127, 0, 0, 1]);
            let listener = std::net::TcpListener::bind((local, 0)).unwrap();
            let address = listener.local_addr().unwrap();
            let books = Books::new(&Limits::default(), 1, Arc::default());
            let account = books.of(Client::Pod(1));
            let client = Arc::new(PodInfo::unknown(local));
            let conn = Conn::new(
                1,
                Direction::Outbound,
                address,
                client.clone(),
                address,
                (account, Rc::default()),
            );
            let between = Between {
                cookie: 1,
                client: local,
                server: address,
            };
            let server = || Server {
                address,
                pod: None,
                allowed: None,
                turn: None,
            };
            let pool = Pool::new(4);
            let mut ends = Vec::new();
            for _ in 0..3 {
                let stream = TcpStream::connect(address).await.unwrap();
                ends.push(listener.accept().unwrap().0);
                pool.put(between, stream, &conn, server(), 0);
            }
            // From here on the runtime has no chance to hear of anything.
            let late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n";
            ends.pop().unwrap().write_all(late).unwrap();
            drop(ends.pop());
            let good = pool.take(&between, &client, &server()).unwrap();
            assert_eq!(good.local_addr().unwrap(), ends[0].peer_addr().unwrap());
            assert!(pool.take(&between, &client, &server()).is_none());
            assert_eq!(books.now().2, 0);
        });
    }
}
