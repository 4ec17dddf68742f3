//! What the engine says by itself, and how a connection is closed behind it.
//!
//! Bias: the client gets to read the answer. A close behind unread bytes would be a reset that overtakes it, so what
//! is still coming is read and dropped, within bounds, and never taken for another request.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use weir_core::http1::{self, Body};

use super::super::conn::Conn;
use super::super::core::Core;
use super::super::linger;
use super::super::outcome::{Ongoing, Protocol};
use super::request::Asked;
use super::{Session, Then, body};

/// Most of a body that is read for nothing, so that a connection can stay.
const DRAIN: usize = 64 * 1024;

/// Most that is read for nothing before a connection is closed.
const FAREWELL: usize = 1024 * 1024;

impl Session<'_> {
    /// Answers a request that is not sent on.
    pub(super) async fn answer(&mut self, client: &mut TcpStream, asked: Asked, status: u16, reason: &str) -> Then {
        let body = asked.body(self.core);
        self.answer_over(client, asked, body, status, reason).await
    }

    /// Answers a request whose body has come as far as `body` says.
    pub(super) async fn answer_over(
        &mut self,
        client: &mut TcpStream,
        asked: Asked,
        mut body: Body,
        status: u16,
        reason: &str,
    ) -> Then {
        let counters = &self.core.counters;
        match status {
            502 => counters.bad_gateway.one(),
            503 => counters.unavailable.one(),
            504 => counters.gateway_timeout.one(),
            _ => {}
        }
        let short = body.remaining().is_none_or(|left| left <= DRAIN as u64);
        let follows = body.is_done() || short && !asked.expects;
        let old = asked.version == http1::Version::Http10;
        let keep = asked.keep_alive && follows && !old && !self.core.is_stopping();
        match self.say(client, status, reason, !keep, asked.head).await {
            true => self.settle(client, keep, &mut body).await,
            false => Then::Reset,
        }
    }

    /// Answers what is no request, or none that can be read on.
    pub(super) async fn answer_bad(&mut self, client: &mut TcpStream, status: u16, reason: &str) -> Then {
        self.core.counters.bad_requests.one();
        if self.ongoing.is_none() {
            self.ongoing = Some(Ongoing::alone(self.core, self.conn, Protocol::Http1, self.input.len()));
        }
        match self.say(client, status, reason, true, false).await {
            true => Then::Farewell,
            false => Then::Reset,
        }
    }

    /// What follows an answer: the next request only if the body has ended.
    pub(super) async fn settle(&mut self, client: &mut TcpStream, keep: bool, body: &mut Body) -> Then {
        if !keep {
            return Then::Farewell;
        }
        let ended = body::drop_rest(self.core, self.conn, body, &mut self.input, client, DRAIN).await;
        if ended { Then::Next } else { Then::Farewell }
    }

    async fn say(&mut self, client: &mut TcpStream, status: u16, reason: &str, close: bool, head: bool) -> bool {
        let counters = &self.core.counters;
        if status < 500 {
            &counters.responses_4xx
        } else {
            &counters.responses_5xx
        }
        .one();
        self.output.clear();
        http1::refusal(status, reason, close, head, &mut self.output);
        if let Some(told) = &self.ongoing {
            told.answered(status);
            told.count(0, self.output.len() as u64);
        }
        self.conn.allow(self.core.config().times.response);
        body::send(self.core, self.conn, &mut client.split().1, &self.output)
            .await
            .is_ok()
    }
}

/// Closes in order: FIN, then what the client still sends is dropped until it closes too, within bounds.
pub(in super::super) async fn farewell(core: &Core, conn: &Conn, client: &mut TcpStream) {
    linger::orderly(client);
    if client.shutdown().await.is_err() {
        return;
    }
    conn.allow(core.config().times.drain);
    let mut left = FAREWELL;
    while let Ok(Ok(read)) = conn.in_time(poll_fn(|cx| drop_some(core, client, cx))).await {
        match left.checked_sub(read) {
            Some(rest) if read > 0 => left = rest,
            _ => return,
        }
    }
}

/// Reads into what all connections of the core share: this one's task is no larger for it.
fn drop_some(core: &Core, client: &mut TcpStream, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut scratch = core.scratch.borrow_mut();
    let mut space = ReadBuf::new(&mut scratch);
    ready!(Pin::new(client).poll_read(cx, &mut space))?;
    Poll::Ready(Ok(space.filled().len()))
}
