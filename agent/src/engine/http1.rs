//! HTTP/1.1: one request after the other, each judged by itself.
//!
//! Bias: strict and in order. A request is answered before the next one is looked at, so pipelined requests cost
//! latency and never their order; what is framed doubtfully ends the connection. A request and its answer are relayed
//! at the same time, each through one buffer of bounded size. A connection has buffers while a request is under way only.
//!
//! ```text
//!   Idle ──head──▶ judged ─┬─▶ refused: 403 ───────────────┬─▶ body read to its end ─▶ Idle
//!    ▲                     └─▶ upstream ─▶ exchange ─┬──────┘
//!    │                             ▲      │ stale    └─▶ body still coming, or close ─▶ answer, FIN, drain
//!    └─── done, both keep ◀────────┼──────┼──────▶ 101: bytes until the end
//!                                  └──────┘ once, on a new connection
//! ```

mod again;
mod answer;
mod body;
mod exchange;
mod request;
mod response;
mod shelf;
mod upgrade;

use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::net::TcpStream;

use super::accept::Place;
use super::conn::{Conn, Standing};
use super::core::Core;
use super::judge::No;
use super::linger;
use super::outcome::Ongoing;
use super::permit;
use super::turns;
use super::upstream::{self, ConnectError};

pub(super) use answer::farewell;

use exchange::Exchanged;
use request::{Asked, Heard};
use shelf::Buffers;
pub(super) use shelf::Shelf;

/// What follows a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// The next one.
    Next,
    /// An orderly close, with what the client still sends read and dropped.
    Farewell,
    /// An orderly close, at once: nothing is under way.
    Close,
    /// A reset: the exchange was cut short.
    Reset,
    /// The connection has ended, in order or not.
    Ended,
}

/// A client's connection and its buffers.
struct Session<'a> {
    core: &'a Rc<Core>,
    place: &'a Place,
    conn: &'a Conn,
    /// What the client has sent and nobody has looked at.
    input: BytesMut,
    /// What goes to the server first: the head, and as much of the body as was there with it.
    request: Vec<u8>,
    /// What the server has sent and nobody has looked at. Empty between two exchanges.
    response: BytesMut,
    /// Heads and answers for the client.
    output: Vec<u8>,
    /// The request under way.
    ongoing: Option<Ongoing<'a>>,
}

/// Serves requests until the connection ends. `input` was read from the client already.
pub(super) async fn serve(core: &Rc<Core>, place: &Place, conn: &Conn, client: &mut TcpStream, input: BytesMut) {
    let (request, output) = (Vec::new(), Vec::new());
    let mut session = Session {
        core,
        place,
        conn,
        input,
        request,
        response: BytesMut::new(),
        output,
        ongoing: None,
    };
    loop {
        let then = session.one(client).await;
        session.tell();
        match then {
            // One request in a turn: what the client has sent ahead waits for its next one.
            Then::Next => {
                session.shelve();
                turns::give_way().await;
            }
            Then::Farewell => return answer::farewell(core, conn, client).await,
            Then::Close => return linger::orderly(client),
            Then::Reset | Then::Ended => return,
        }
    }
}

impl Session<'_> {
    /// One request, from its first byte to the last of its answer.
    async fn one(&mut self, client: &mut TcpStream) -> Then {
        self.conn.stands_on(Standing::HttpIdle);
        // While the last request was under way the snapshot may have changed.
        if self.conn.take_doubt() && !self.core.openings.of(&self.core.snapshot(), self.conn).reachable {
            return Then::Close;
        }
        match self.hear(client).await {
            Heard::Nothing => Then::Close,
            Heard::Broken => Then::Reset,
            Heard::Bad(error) => self.answer_bad(client, error.status, error.reason).await,
            Heard::Full => {
                self.core.counters.over_bytes.one();
                let reason = "too many bytes for this client are in the agent's buffers";
                self.answer_bad(client, 503, reason).await
            }
            Heard::Slow => self.answer_bad(client, 408, "the request did not come in time").await,
            Heard::Request(asked, Ok(server)) => self.forward(client, asked, server).await,
            Heard::Request(asked, Err(No::Nobody)) => self.answer(client, asked, 503, "no endpoint is ready").await,
            Heard::Request(asked, Err(No::Missing(_, missing))) => {
                self.answer(client, asked, 403, &missing.to_string()).await
            }
        }
    }

    /// Gets an allowed request to its server and the response back.
    async fn forward(&mut self, client: &mut TcpStream, asked: Asked, mut server: super::judge::Server) -> Then {
        self.conn.stands_on(Standing::HttpBusy(server.clone()));
        let Some(permit) = self.conn.account.request() else {
            self.core.counters.over_requests.one();
            let reason = "too many requests of this client are in flight";
            return self.answer(client, asked, 503, reason).await;
        };
        if self.conn.account.room() == 0 {
            self.core.counters.over_bytes.one();
            let reason = "too many bytes for this client are in the agent's buffers";
            return self.answer(client, asked, 503, reason).await;
        }
        let mut body = asked.body(self.core);
        if let Err(error) = body::take(&mut body, &mut self.input, &mut self.request) {
            return self.answer_bad(client, 400, &error.to_string()).await;
        }
        let mut between = self.between(&server);
        let mut tried = Vec::new();
        let mut pooled = self.core.pool.take(&between, &self.conn.client, &server);
        loop {
            let reused = pooled.is_some();
            let mut upstream = match pooled.take() {
                Some(upstream) => upstream,
                None => match upstream::connect(self.core, self.place, self.conn, &server).await {
                    Ok(upstream) => upstream,
                    Err(error) => {
                        tried.push(server.address);
                        let Some(other) = self.elsewhere(&error, asked, &server, &tried) else {
                            let (status, reason) = error.answer();
                            return self.answer_over(client, asked, body, status, reason).await;
                        };
                        server = other;
                        self.conn.stands_on(Standing::HttpBusy(server.clone()));
                        between = self.between(&server);
                        pooled = self.core.pool.take(&between, &self.conn.client, &server);
                        continue;
                    }
                },
            };
            if reused {
                self.core.counters.upstream_reuses.one();
            }
            self.response.clear();
            // Nothing was sent yet, so the client can be told.
            if self.conn.take_doubt()
                && let Err(reason) = again::judge(
                    self.core,
                    self.conn,
                    &server,
                    asked,
                    &self.request,
                    self.ongoing.as_ref(),
                )
            {
                return self.answer_over(client, asked, body, 403, &reason).await;
            }
            match self.exchange(client, &mut upstream, asked, &mut body, &server).await {
                Exchanged::Stale { untouched } if reused && (untouched || asked.is_repeatable()) => {
                    self.core.counters.upstream_retries.one();
                    if let Some(told) = &self.ongoing {
                        told.retries.set(told.retries.get().saturating_add(1));
                    }
                }
                Exchanged::Stale { .. } => {
                    let reason = "the server closed the connection without an answer";
                    return self.answer_over(client, asked, body, 502, reason).await;
                }
                Exchanged::Failed { status, reason } => {
                    drop(upstream);
                    return match status {
                        400..500 => self.answer_bad(client, status, reason).await,
                        _ => self.answer_over(client, asked, body, status, reason).await,
                    };
                }
                Exchanged::Broken => return Then::Reset,
                Exchanged::Switched => {
                    // A connection of bytes from now on; its seat counts.
                    drop(permit);
                    return self.switched(client, upstream, asked, server).await;
                }
                Exchanged::Complete {
                    keep_client,
                    keep_server,
                } => {
                    if keep_server && self.response.is_empty() {
                        let closed = self
                            .core
                            .pool
                            .put(between, upstream, self.conn, server, self.core.now());
                        self.core.counters.upstream_evicted.add(closed);
                    } else if body.is_done() {
                        linger::orderly(&upstream);
                    }
                    return self.settle(client, keep_client, &mut body).await;
                }
            }
        }
    }

    /// Another endpoint for a request of which nothing was sent, because the first one can't be connected to.
    fn elsewhere(
        &self,
        error: &ConnectError,
        asked: Asked,
        failed: &super::judge::Server,
        tried: &[SocketAddr],
    ) -> Option<super::judge::Server> {
        if matches!(error, ConnectError::NoDescriptor) {
            return None;
        }
        let head = again::reread(&self.request, asked)?;
        permit::request_elsewhere(self.core, self.conn, self.ongoing.as_ref(), &head, failed, tried)
    }

    /// The request has come to its end, if there was one.
    fn tell(&mut self) {
        if let Some(told) = self.ongoing.take() {
            told.leaves(self.input.len());
        }
    }

    fn between(&self, server: &super::judge::Server) -> super::pool::Between {
        super::pool::Between {
            cookie: self.conn.cookie,
            client: self.conn.peer.ip(),
            server: server.address,
        }
    }

    /// Leaves the buffers to others while nothing is in them, so that an idle connection has none.
    fn shelve(&mut self) {
        if self.input.is_empty() {
            let take = |buffer: &mut Vec<u8>| std::mem::take(buffer);
            let (request, output) = (take(&mut self.request), take(&mut self.output));
            let (input, response) = (std::mem::take(&mut self.input), std::mem::take(&mut self.response));
            self.core.shelf.put(Buffers {
                input,
                request,
                response,
                output,
            });
        }
        self.note();
    }

    /// Takes buffers, if it has none.
    fn unshelve(&mut self) {
        if self.input.capacity() == 0 {
            let buffers = self.core.shelf.take();
            self.input = buffers.input;
            self.request = buffers.request;
            self.response = buffers.response;
            self.output = buffers.output;
        }
        self.note();
    }

    /// Puts what the buffers take up on the client's account.
    fn note(&self) {
        let (input, response) = (self.input.capacity(), self.response.capacity());
        let (request, output) = (self.request.capacity(), self.output.capacity());
        self.conn.held.set(input + response + request + output);
    }
}
