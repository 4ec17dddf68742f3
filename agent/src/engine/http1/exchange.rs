//! One request and its response over one upstream connection, both on their way at the same time.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use weir_core::http1::Body;

use super::super::conn::{Conn, Late};
use super::super::core::Core;
use super::super::judge::Server;
use super::super::outcome::Meter;
use super::Session;
use super::again;
use super::body::{self, Cut};
use super::request::Asked;
use super::response::{Answered, Response, Unanswered};

/// How much a client may send ahead of its answer before it has to wait.
const AHEAD: usize = 4 * 1024;

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exchanged {
    /// The response has reached the client. The request's body may still be coming.
    Complete {
        /// The client's connection can be used again, once the body has ended.
        keep_client: bool,
        /// The server's can: all of the request was sent, and it will listen again.
        keep_server: bool,
    },
    /// The server's connection ended before a byte of a response.
    Stale {
        /// Not a byte of the request was taken either.
        untouched: bool,
    },
    /// The client is to be told this; it has got nothing yet.
    Failed {
        /// 400, 408, 502 or 504.
        status: u16,
        /// Why.
        reason: &'static str,
    },
    /// The server has taken the upgrade, and the client knows: what follows is no HTTP.
    Switched,
    /// One side has gone in the middle; the other must not take what it has for the whole.
    Broken,
}

/// How far the two directions have got, seen by each other.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Some of the request was written.
    pub sent: Cell<bool>,
    /// Some of the body has come.
    pub body_begun: Cell<bool>,
    /// The server has asked for the body.
    pub continued: Cell<bool>,
    /// All of the request was written.
    pub uploaded: Cell<bool>,
    /// The final head is on its way to the client.
    pub answered: Cell<bool>,
}

impl Session<'_> {
    /// Sends [`Session::request`] and the rest of `body` to `target`, and passes the response on, as long as the request is
    /// allowed.
    pub(super) async fn exchange(
        &mut self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        asked: Asked,
        body: &mut Body,
        target: &Server,
    ) -> Exchanged {
        let Session { core, conn, .. } = *self;
        let (request, told) = (&self.request, self.ongoing.as_ref());
        conn.allow(core.config().times.response);
        let progress = Progress::default();
        progress
            .body_begun
            .set(body.remaining() != asked.body(core).remaining() || body.is_done());
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let upload = Request {
            core,
            conn,
            progress: &progress,
            head: request,
            body,
            input: &mut self.input,
        };
        let input = &mut self.response;
        let response = Response {
            core,
            conn,
            asked,
            told,
            request,
            progress: &progress,
            input,
            output: &mut self.output,
        };
        let mut up = pin!(upload.relay(&mut from_client, &mut to_server));
        let mut down = pin!(response.relay(&mut from_server, &mut to_client));
        let mut watching = true;
        let outcome = poll_fn(|cx| {
            if conn.take_doubt() && again::judge(core, conn, target, asked, request, told).is_err() {
                return Poll::Ready(Err(Cut::Revoked));
            }
            if watching && let Poll::Ready(cut) = up.as_mut().poll(cx) {
                // A server may answer early and close its side: what it says still counts.
                match cut {
                    Cut::Receiver => watching = false,
                    cut => return Poll::Ready(Err(cut)),
                }
            }
            down.as_mut().poll(cx).map(Ok)
        })
        .await;
        settle(outcome, &progress)
    }
}

fn settle(outcome: Result<Result<Answered, Unanswered>, Cut>, progress: &Progress) -> Exchanged {
    let answered = progress.answered.get();
    match outcome {
        Ok(Ok(Answered { switched: true, .. })) => Exchanged::Switched,
        Ok(Ok(Answered {
            keep_client,
            keep_server,
            ..
        })) => Exchanged::Complete {
            keep_client,
            keep_server: keep_server && progress.uploaded.get(),
        },
        Ok(Err(Unanswered::Silence)) => Exchanged::Stale {
            untouched: !progress.sent.get(),
        },
        Ok(Err(Unanswered::Bad(reason))) => Exchanged::Failed { status: 502, reason },
        Ok(Err(Unanswered::Late)) => Exchanged::Failed {
            status: 504,
            reason: "the server did not answer in time",
        },
        Err(Cut::Framing(_)) if !answered => Exchanged::Failed {
            status: 400,
            reason: "the request's body is malformed",
        },
        Err(Cut::Late) if !answered => Exchanged::Failed {
            status: 408,
            reason: "the request's body did not come in time",
        },
        Ok(Err(Unanswered::Broken)) | Err(_) => Exchanged::Broken,
    }
}

/// A request on its way to the server.
struct Request<'a> {
    core: &'a Core,
    conn: &'a Conn,
    progress: &'a Progress,
    head: &'a [u8],
    body: &'a mut Body,
    input: &'a mut BytesMut,
}

impl Request<'_> {
    /// Sends the request, then keeps an eye on the client. Ends only when something has failed.
    async fn relay(mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Cut {
        match self.send(from, to).await {
            Ok(()) => self.progress.uploaded.set(true),
            Err(cut) => return cut,
        }
        self.watch(from).await
    }

    async fn send(&mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<(), Cut> {
        let (core, conn) = (self.core, self.conn);
        match conn.in_time(to.write(self.head)).await {
            Ok(Ok(written)) => {
                self.progress.sent.set(written > 0);
                body::send(core, conn, to, self.head.get(written..).unwrap_or_default()).await?;
            }
            Ok(Err(_)) => return Err(Cut::Receiver),
            Err(Late) => return Err(Cut::Late),
        }
        let from = (from, Meter::from_client(core, conn));
        body::relay(core, conn, self.body, self.input, from, to).await
    }

    /// Waits for the client to go away, and takes in what it sends ahead, up to a bound. A half-close is no farewell:
    /// the client may still want its answer.
    async fn watch(&mut self, from: &mut ReadHalf<'_>) -> Cut {
        while self.input.len() < AHEAD {
            self.input.reserve(AHEAD);
            match from.read_buf(self.input).await {
                Ok(0) => break,
                Ok(read) => Meter::from_client(self.core, self.conn).add(read),
                Err(_) => return Cut::Sender,
            }
        }
        std::future::pending().await
    }
}
