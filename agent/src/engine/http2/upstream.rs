//! One connection to a server, with the streams of one client pod on it.
//!
//! Bias: the connection outlives the stream that asked for it. A task of its own opens it, shakes hands and drives it;
//! streams only wait for its state. A server that does not begin with SETTINGS, or overdraws its account, loses the
//! connection, and its streams are answered 502. While no stream is on it, it takes one of its client's places for idle
//! connections, like those of HTTP/1.1.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use tokio::net::TcpStream;
use weir_core::snapshot::PodInfo;

use super::super::accept::Place;
use super::super::account::Account;
use super::super::conn::Conn;
use super::super::core::Core;
use super::super::judge::Server;
use super::super::settings::Http2;
use super::super::upstream::{ConnectError, connect_apart};
use super::super::{linger, pool::Between};
use super::gauge::Gauge;
use super::wire::Wire;

/// Why no stream can be sent on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Down {
    /// It could not be opened.
    Refused,
    /// There is no descriptor for it.
    NoDescriptor,
    /// Nobody answered in time.
    Late,
    /// It was open, and takes no more streams.
    Closed,
}

enum State {
    Opening,
    Open(SendRequest<Bytes>),
    Down(Down),
}

/// The connection, as its streams see it.
pub(in super::super) struct Upstream {
    /// The pod that it was opened for.
    pub client: Arc<PodInfo>,
    /// Where it leads.
    pub server: Server,
    /// Streams on it now.
    pub active: Cell<u32>,
    /// When the last of them ended, in milliseconds of the core's clock.
    pub idle_since: Cell<u64>,
    /// A stream has been sent on it.
    pub used: Cell<bool>,
    /// Its number among the idle ones of its client, while it is one.
    idle: Cell<Option<u64>>,
    account: Rc<Account>,
    gauge: Rc<Gauge>,
    state: RefCell<State>,
    waiting: RefCell<Vec<Waker>>,
}

impl Upstream {
    /// Begins to open a connection. `between` is its place in the pool.
    pub fn open(
        core: &Rc<Core>,
        place: &Rc<Place>,
        conn: &Rc<Conn>,
        server: &Server,
        between: Between,
    ) -> Rc<Upstream> {
        let limits = &core.config().limits.http2;
        let upstream = Rc::new(Upstream {
            client: conn.client.clone(),
            server: server.clone(),
            active: Cell::new(0),
            idle_since: Cell::new(core.now()),
            used: Cell::new(false),
            idle: Cell::new(None),
            account: conn.account.clone(),
            gauge: Rc::new(Gauge::of_server(core.clock(), limits)),
            state: RefCell::new(State::Opening),
            waiting: RefCell::default(),
        });
        let (core, place, conn, mine) = (core.clone(), place.clone(), conn.clone(), upstream.clone());
        tokio::task::spawn_local(async move {
            let down = mine.run(&core, &place, conn).await;
            mine.close(down);
            core.upstreams.forget(&between, &mine);
        });
        upstream
    }

    /// The handle to send a stream with, once there is one.
    pub fn poll_open(&self, cx: &std::task::Context<'_>) -> Poll<Result<SendRequest<Bytes>, Down>> {
        match &*self.state.borrow() {
            State::Opening => {
                self.waiting.borrow_mut().push(cx.waker().clone());
                Poll::Pending
            }
            State::Open(send) => Poll::Ready(Ok(send.clone())),
            State::Down(down) => Poll::Ready(Err(*down)),
        }
    }

    /// How many streams its server takes at the same time, once that is known.
    pub fn takes(&self) -> Option<usize> {
        match &*self.state.borrow() {
            State::Open(send) if self.is_http2() => Some(send.current_max_send_streams()),
            State::Down(_) => Some(0),
            _ => None,
        }
    }

    /// One more stream may be sent on it. `most` counts as long as its server has not said how many it takes.
    pub fn has_room(&self, most: usize) -> bool {
        (self.active.get() as usize) < self.takes().unwrap_or(most).min(most)
    }

    /// No more streams are sent on it. Those that are may end; then it closes.
    pub fn close(&self, down: Down) {
        self.works();
        self.state.replace(State::Down(down));
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// The last stream on it has ended: it goes on the account of its client, whose oldest idle one makes room if need be.
    pub fn rests(self: &Rc<Self>, core: &Core) {
        self.idle_since.set(core.now());
        if matches!(*self.state.borrow(), State::Down(_)) {
            return;
        }
        match core.pool.note(self) {
            Some((number, closed)) => {
                core.counters.upstream_evicted.add(closed);
                self.idle.set(Some(number));
            }
            None => self.close(Down::Closed),
        }
    }

    /// A stream is on it again, or will never be.
    pub fn works(&self) {
        if let Some(number) = self.idle.take() {
            self.account.remove_idle(number);
        }
    }

    /// Who pays for it.
    pub fn account(&self) -> &Rc<Account> {
        &self.account
    }

    /// The server has shown that it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.gauge.is_settled()
    }

    async fn run(&self, core: &Rc<Core>, place: &Place, conn: Rc<Conn>) -> Down {
        let mut stream = match connect_apart(core, place, &conn, &self.server).await {
            Ok(stream) => stream,
            Err(ConnectError::Late) => return Down::Late,
            Err(ConnectError::NoDescriptor) => return Down::NoDescriptor,
            Err(ConnectError::Failed(_)) => return Down::Refused,
        };
        // The client's connection that asked for this one may end long before it.
        drop(conn);
        if self.drive(core, &mut stream).await {
            linger::orderly(&stream);
        }
        Down::Closed
    }

    /// Until the connection is through; true if it ended in order.
    async fn drive(&self, core: &Core, stream: &mut TcpStream) -> bool {
        let received = |bytes| core.counters.bytes_from_servers.add(bytes as u64);
        let wire = Wire::of_server(stream, self.gauge.clone(), received);
        let Ok((send, mut connection)) = builder(&core.config().limits.http2, &core.config().limits.http)
            .handshake::<_, Bytes>(wire)
            .await
        else {
            return false;
        };
        // The policy may have changed, or its place may be needed.
        if matches!(*self.state.borrow(), State::Down(_)) {
            return false;
        }
        self.state.replace(State::Open(send));
        self.waiting.take().into_iter().for_each(Waker::wake);
        let mut patience = pin!(tokio::time::sleep(core.config().times.connect));
        let ticket = Rc::default();
        poll_fn(|cx| {
            // What a server sends is on its client's account.
            if !self.account.may_go(&ticket, cx) {
                return Poll::Pending;
            }
            self.gauge.begin_turn();
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(ended.is_ok());
            }
            let silent = !self.gauge.is_settled() && patience.as_mut().poll(cx).is_ready();
            match self.gauge.excess().is_some() || silent {
                true => Poll::Ready(false),
                false => Poll::Pending,
            }
        })
        .await
    }
}

fn builder(limits: &Http2, heads: &weir_core::http1::Limits) -> client::Builder {
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window())
        .max_frame_size(limits.frame_size)
        .max_header_list_size(u32::try_from(heads.head_bytes).unwrap_or(u32::MAX))
        .max_send_buffer_size(limits.send_buffer)
        .max_concurrent_reset_streams(limits.streams as usize)
        .initial_max_send_streams(limits.streams as usize)
        .max_concurrent_streams(0);
    builder
}
