//! Connections to servers, shared by the streams of one client pod.
//!
//! Bias: identity over reuse, as in the pool of HTTP/1.1 connections: never lent to another client, because the server
//! was shown that one's address; dropped when either pod changes, when the pair has nothing left that is granted, and
//! when it was idle for too long. A stream goes to the newest connection with room; where all are full another one is
//! opened, up to a bound, and then it waits. Owned by the core. A server that closes one new connection after the other
//! is not asked for more.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use weir_core::snapshot::Snapshot;

use super::super::accept::Place;
use super::super::conn::Conn;
use super::super::core::Core;
use super::super::judge::{self, Server};
use super::super::pool::Between;
use super::upstream::{Down, Upstream};

/// The connections of a core.
#[derive(Default)]
pub(in super::super) struct Upstreams {
    pairs: RefCell<HashMap<Between, Pair>>,
}

#[derive(Default)]
struct Pair {
    /// Oldest first.
    open: Vec<Rc<Upstream>>,
    /// Streams that found all of them full.
    waiting: Vec<Waker>,
}

/// A stream's place on a connection; given back when it is dropped.
pub(super) struct Lease {
    core: Rc<Core>,
    between: Between,
    /// The connection.
    pub upstream: Rc<Upstream>,
}

/// New connections to one server that may fail before a stream is sent on them.
const FRESH: u32 = 2;

impl Lease {
    /// A place on a connection between these two, and the handle to send with.
    ///
    /// # Errors
    /// There is no connection to be had.
    pub async fn take(
        core: &Rc<Core>,
        place: &Rc<Place>,
        conn: &Rc<Conn>,
        server: &Server,
    ) -> Result<(Lease, SendRequest<Bytes>), Down> {
        let between = Between {
            cookie: conn.cookie,
            client: conn.peer.ip(),
            server: server.address,
        };
        let mut failed = 0;
        loop {
            let lease = poll_fn(|cx| core.upstreams.poll_lease(cx, core, place, conn, server, between)).await;
            let mut send = match poll_fn(|cx| lease.upstream.poll_open(cx)).await {
                Ok(send) => send,
                // It was open when we chose it: another one may be, and this one is out of the pool.
                Err(Down::Closed) if lease.upstream.used.get() || failed < FRESH => {
                    failed += u32::from(!lease.upstream.used.get());
                    continue;
                }
                Err(down) => return Err(down),
            };
            // A GOAWAY that has come already shows here, before anything is sent.
            match poll_fn(|cx| send.poll_ready(cx)).await {
                Ok(()) => {
                    if lease.upstream.used.replace(true) {
                        core.counters.upstream_reuses.one();
                    }
                    return Ok((lease, send));
                }
                Err(_) => {
                    lease.upstream.close(Down::Closed);
                    core.upstreams.forget(&between, &lease.upstream);
                    if !lease.upstream.used.get() {
                        failed += 1;
                        if failed > FRESH {
                            return Err(Down::Closed);
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let active = &self.upstream.active;
        active.set(active.get().saturating_sub(1));
        if active.get() == 0 {
            self.upstream.rests(&self.core);
        }
        self.core.upstreams.wake(&self.between);
    }
}

impl Upstreams {
    fn poll_lease(
        &self,
        cx: &Context<'_>,
        core: &Rc<Core>,
        place: &Rc<Place>,
        conn: &Rc<Conn>,
        server: &Server,
        between: Between,
    ) -> Poll<Lease> {
        let limits = &core.config().limits.http2;
        let mut pairs = self.pairs.borrow_mut();
        let pair = pairs.entry(between).or_default();
        // What one connection was told goes for a new one, until that is told something itself.
        let told = pair
            .open
            .iter()
            .filter_map(|upstream| upstream.takes())
            .filter(|takes| *takes > 0)
            .min();
        let most = told.unwrap_or(usize::MAX).min(limits.streams as usize);
        let fits = |upstream: &&Rc<Upstream>| {
            upstream.has_room(most) && judge::is_same(&upstream.client, &conn.client) && upstream.server.is_same(server)
        };
        let found = pair.open.iter().rev().find(fits).cloned();
        let upstream = match found {
            Some(upstream) => upstream,
            None if pair.open.len() < limits.upstreams_per_pair => {
                let upstream = Upstream::open(core, place, conn, server, between);
                pair.open.push(upstream.clone());
                upstream
            }
            None => {
                pair.waiting.push(cx.waker().clone());
                return Poll::Pending;
            }
        };
        upstream.active.set(upstream.active.get() + 1);
        upstream.works();
        Poll::Ready(Lease {
            core: core.clone(),
            between,
            upstream,
        })
    }

    /// Takes a connection out of the pool: it has no more to offer.
    pub(super) fn forget(&self, between: &Between, upstream: &Rc<Upstream>) {
        let mut pairs = self.pairs.borrow_mut();
        let Some(pair) = pairs.get_mut(between) else {
            return;
        };
        pair.open.retain(|open| !Rc::ptr_eq(open, upstream));
        let waiting = std::mem::take(&mut pair.waiting);
        if pair.open.is_empty() {
            pairs.remove(between);
        }
        drop(pairs);
        waiting.into_iter().for_each(Waker::wake);
    }

    fn wake(&self, between: &Between) {
        let waiting = self
            .pairs
            .borrow_mut()
            .get_mut(between)
            .map(|pair| std::mem::take(&mut pair.waiting));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// Sends no more streams over what the snapshot gives no more reason to keep.
    pub fn judge(&self, snapshot: &Snapshot) {
        self.keep(|upstream| {
            judge::is_current(snapshot, &upstream.client)
                && upstream.server.is_current(snapshot)
                && judge::may_reach(snapshot, &upstream.client, &upstream.server)
        });
    }

    /// Closes what has had no stream for longer than `time` at `now` (milliseconds of the core's clock).
    pub fn expire(&self, now: u64, time: Duration) {
        self.keep(|upstream| {
            let idle = now.saturating_sub(upstream.idle_since.get());
            upstream.active.get() > 0 || idle < time.as_millis() as u64
        });
    }

    fn keep(&self, good: impl Fn(&Upstream) -> bool) {
        let mut waiting = Vec::new();
        self.pairs.borrow_mut().retain(|_, pair| {
            pair.open.retain(|upstream| {
                let keep = good(upstream);
                if !keep {
                    upstream.close(Down::Closed);
                }
                keep
            });
            if pair.open.is_empty() {
                waiting.append(&mut pair.waiting);
            }
            !pair.open.is_empty()
        });
        waiting.into_iter().for_each(Waker::wake);
    }
}
