//! HTTP/2 with prior knowledge: streams, each judged and sent on by itself.
//!
//! Bias: the library speaks the protocol, we decide. The h2 crate frames, multiplexes and bounds memory on both legs;
//! here is who may, where to, over which connection, and what a misbehaving peer may cost. A connection is one task, a
//! stream another; they share cells, and no timer runs for either: the core's tick finds what is late.
//!
//! ```text
//!   client ═ wire, gauge ═ connection ─▶ judged ─┬─▶ refused: 403, or grpc-status 7
//!                              ▲                 └─▶ stream: pool ─▶ upstream ═ wire, gauge ═ server
//!                              └── deadlines, doubt, GOAWAY          way up, way down
//! ```
//!
//! `docs/http2.md` has what is forwarded, what is refused, and the limits.

mod answer;
mod backlog;
mod exchange;
mod gauge;
mod pool;
mod request;
mod response;
mod retry;
mod stream;
mod upstream;
mod watch;
mod way;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason as Code, RecvStream};
use http::Request;
use tokio::net::TcpStream;
use weir_core::http2::Fault;
use weir_core::matcher::RequestView;
use weir_core::policy::Missing;

use super::accept::Place;
use super::conn::{Conn, Late, Standing};
use super::core::Core;
use super::judge::Server;
use super::outcome::{Meter, Ongoing};
use super::refuse::Reason;
use super::{flow, http1, linger};

pub(super) use pool::Upstreams;
pub(super) use upstream::{Down, Upstream};

use backlog::Backlog;
use gauge::Gauge;
use request::{Asked, Shape};
use stream::Stream;
use watch::{Watch, Word};
use wire::Wire;

/// A client's connection.
struct Session {
    core: Rc<Core>,
    place: Rc<Place>,
    conn: Rc<Conn>,
    /// Streams that were granted and are under way, by number.
    streams: RefCell<HashMap<u32, Rc<Stream>>>,
    /// Streams that have a task.
    underway: Cell<usize>,
    /// When the last of them ended, in milliseconds of the core's clock.
    idle_since: Cell<u64>,
    /// What waits in the library.
    backlog: Backlog,
}

/// Serves streams until the connection ends. `first` was read from the client already.
pub(super) async fn serve(
    core: &Rc<Core>,
    place: &Rc<Place>,
    conn: &Rc<Conn>,
    client: &mut TcpStream,
    first: BytesMut,
) {
    let limits = &core.config().limits;
    let session = Rc::new(Session {
        core: core.clone(),
        place: place.clone(),
        conn: conn.clone(),
        streams: RefCell::default(),
        underway: Cell::new(0),
        idle_since: Cell::new(core.now()),
        backlog: Backlog::default(),
    });
    conn.stands_on(Standing::Http2);
    let gauge = Rc::new(Gauge::new(core.clock(), &limits.http2));
    let ended = {
        let wire = Wire::of_client(client, first, gauge.clone(), |bytes| {
            Meter::from_client(core, conn).add(bytes)
        });
        session.run(wire, &gauge).await
    };
    // The library has let go of it; who still holds `conn` may be about to connect.
    conn.held.set(0);
    match ended {
        // What it says to that is of no interest, but it has to get to read why.
        Ended::Told => http1::farewell(core, conn, client).await,
        Ended::Closed => linger::orderly(client),
        Ended::Broken => {}
    }
}

/// How a connection ended.
enum Ended {
    /// With a GOAWAY of ours, which may still be on its way.
    Told,
    /// By the client, in order.
    Closed,
    /// Otherwise.
    Broken,
}

impl Session {
    async fn run<T>(self: &Rc<Self>, wire: T, gauge: &Gauge) -> Ended
    where
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let Session { core, conn, .. } = &**self;
        let limits = &core.config().limits;
        conn.allow(core.config().times.head);
        let builder = builder(&limits.http2, &limits.http);
        let mut connection = match conn.in_time(builder.handshake::<_, Bytes>(wire)).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(_)) | Err(Late) => return Ended::Broken,
        };
        let mut watch = Watch::new(core.now());
        conn.allow_until(0);
        poll_fn(|cx| {
            gauge.begin_turn();
            loop {
                match connection.poll_accept(cx) {
                    Poll::Ready(Some(Ok((request, respond)))) => {
                        self.begin(request, respond);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) if error.is_io() => return Poll::Ready(Ended::Broken),
                    Poll::Ready(Some(Err(error))) => {
                        core.counters.bad_connections.one();
                        let client = &conn.client.pod;
                        tracing::debug!(%client, %error, "a client broke the rules of HTTP/2");
                        return Poll::Ready(Ended::Told);
                    }
                    Poll::Ready(None) => return Poll::Ready(watch.ended()),
                    Poll::Pending => {}
                }
                match watch.look(self, gauge) {
                    Some(Word::Goodbye) => connection.graceful_shutdown(),
                    Some(Word::Enough(code)) => {
                        core.counters.bad_connections.one();
                        connection.abrupt_shutdown(code);
                    }
                    Some(Word::End) => return Poll::Ready(watch.ended()),
                    None => {
                        conn.held.set(self.backlog.settle(gauge.is_blocked()));
                        return Poll::Pending;
                    }
                }
            }
        })
        .await
    }

    /// Judges a request, and sets it on its way if it may.
    fn begin(self: &Rc<Self>, request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        let Session { core, conn, .. } = &**self;
        let (parts, body) = request.into_parts();
        let shape = Shape::of(&parts);
        let asked = match Asked::of(parts, body.is_end_stream(), &core.config().limits.http) {
            Ok(asked) => asked,
            Err(Fault::Malformed(reason)) => {
                core.counters.bad_requests.one();
                tracing::debug!(client = %conn.client.pod, reason, "a stream is malformed");
                return respond.send_reset(Code::PROTOCOL_ERROR);
            }
            Err(Fault::Refused(error)) => {
                let told = self.told(shape);
                return answer::say(core, &told, &mut respond, shape, error.status, error.reason);
            }
        };
        core.counters.requests.one();
        let underway = Underway::new(self.clone(), respond.stream_id().as_u32());
        tokio::task::spawn_local(async move {
            exchange::run(&underway, asked, body, respond).await;
            drop(underway);
        });
    }

    fn told(&self, shape: Shape) -> Ongoing<'_> {
        Ongoing::new(&self.core, &self.conn, shape.protocol())
    }
}

/// A stream's place among those of its connection, until it is dropped.
struct Underway {
    session: Rc<Session>,
    number: u32,
}

impl Underway {
    fn new(session: Rc<Session>, number: u32) -> Underway {
        session.underway.set(session.underway.get() + 1);
        Underway { session, number }
    }

    /// From now on the stream has to move, and is judged again when the policy changes.
    fn watch(&self, stream: Stream) -> Rc<Stream> {
        let stream = Rc::new(stream);
        self.session.streams.borrow_mut().insert(self.number, stream.clone());
        stream
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let Session {
            core,
            conn,
            streams,
            underway,
            idle_since,
            ..
        } = &*self.session;
        streams.borrow_mut().remove(&self.number);
        underway.set(underway.get().saturating_sub(1));
        if underway.get() == 0 {
            idle_since.set(core.now());
            conn.allow_at_most_until(core.now());
            conn.wake();
        }
    }
}

/// Reports a request that no rule allows.
fn report(core: &Core, conn: &Conn, server: &Server, asked: &Asked, missing: &Missing) {
    core.report(&conn.account, || {
        let path = String::from_utf8_lossy(asked.path()).into_owned();
        let request = Some((asked.method.to_string(), path));
        flow::refusal(
            core,
            conn,
            Some(server.clone()),
            request,
            Reason::Missing(missing.clone()),
        )
    });
}

fn builder(limits: &super::settings::Http2, heads: &weir_core::http1::Limits) -> server::Builder {
    let mut builder = server::Builder::new();
    builder
        .initial_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window())
        .max_frame_size(limits.frame_size)
        .max_header_list_size(u32::try_from(heads.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams)
        .max_concurrent_reset_streams(limits.streams as usize)
        .max_send_buffer_size(limits.send_buffer);
    builder
}
