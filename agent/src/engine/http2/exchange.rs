//! One stream, from the grant to the last frame of its answer.
//!
//! Bias: both directions at once, and each side hears how the other has ended. A reset travels on with its code; what
//! was cut short is never ended as if it were whole. A request goes to a server a second time only if the first one
//! surely did not look at it, or may see it twice without harm, and nothing of its body is gone.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};

use super::super::account::Held;
use super::super::judge::No;
use super::super::outcome::Ongoing;
use super::super::permit;
use super::super::refuse::Reason as Why;
use super::answer;
use super::pool::Lease;
use super::request::Asked;
use super::response::{Head, Receiving};
use super::stream::{Stop, Stream};
use super::upstream::Down;
use super::way::{Cut, Way};
use super::{Session, Underway, retry};

/// How a stream ended that was not passed on to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The client has reset it, or gone.
    Client,
    /// The client is to be told this, if it has got no answer yet; else its stream is reset.
    Say(u16, &'static str),
    /// The server has reset it: the client's stream is reset with the same code.
    Reset(Reason),
    /// It has to be sent again, on another connection.
    Again,
}

/// How far an answer has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The final head is on its way to the client.
    pub answered: Cell<bool>,
    /// The head has gone to the server.
    pub sent: Cell<bool>,
    /// All of the request has gone to the server.
    pub uploaded: Cell<bool>,
}

/// Judges a request and, if it may, runs its stream to the end.
pub(super) async fn run(underway: &Underway, asked: Asked, body: RecvStream, mut respond: SendResponse<Bytes>) {
    let Session { core, conn, .. } = &*underway.session;
    let shape = asked.shape;
    let told = Ongoing::new(core, conn, shape.protocol());
    let mut say = |status, reason: &str| answer::say(core, &told, &mut respond, shape, status, reason);
    let judged = core.snapshot().generation;
    let server = match permit::request(core, conn, &told, &asked) {
        Ok(server) => server,
        Err(No::Nobody) => {
            told.asks(&asked);
            return say(503, "no endpoint is ready");
        }
        Err(No::Missing(server, missing)) => {
            core.counters.refused_request.one();
            told.would_go_to(&server);
            super::report(core, conn, &server, &asked, &missing);
            say(403, &missing.to_string());
            told.refuse(Why::Missing(missing));
            return told.asks(&asked);
        }
    };
    told.asks(&asked);
    let Some(_permit) = conn.account.request() else {
        core.counters.over_requests.one();
        return say(503, "too many requests of this client are in flight");
    };
    if conn.account.room() == 0 {
        core.counters.over_bytes.one();
        return say(503, "too many bytes for this client are in the agent's buffers");
    }
    let stream = underway.watch(Stream::new(core, asked, server, judged));
    let progress = Progress::default();
    let work = forward(&underway.session, &stream, &told, &progress, body, &mut respond);
    let ended = stream.watched(core, conn, work).await;
    let failed = match ended {
        Ok(Ok(())) => return,
        Ok(Err(failed)) => failed,
        Err(Stop::Revoked(missing)) => {
            let reason = missing.to_string();
            told.refuse(Why::Missing(missing));
            if !progress.answered.get() {
                return answer::say(core, &told, &mut respond, shape, 403, &reason);
            }
            Failed::Reset(Reason::CANCEL)
        }
        Err(Stop::Gone) => Failed::Say(503, "the server has gone"),
        Err(Stop::Late) if !progress.sent.get() => Failed::Say(503, "no connection to the server has room"),
        Err(Stop::Late) if progress.uploaded.get() => Failed::Say(504, "the server did not answer in time"),
        Err(Stop::Late) => Failed::Say(408, "the request's body did not come in time"),
    };
    match failed {
        Failed::Client => {}
        Failed::Say(status, reason) if !progress.answered.get() => {
            answer::say(core, &told, &mut respond, shape, status, reason);
        }
        Failed::Say(408 | 504, _) => respond.send_reset(Reason::CANCEL),
        Failed::Say(..) | Failed::Again => respond.send_reset(Reason::INTERNAL_ERROR),
        Failed::Reset(reason) => respond.send_reset(reason),
    }
}

/// Sends the request and passes the answer on; once more if the first attempt has left no trace.
async fn forward(
    session: &Rc<Session>,
    stream: &Stream,
    told: &Ongoing<'_>,
    progress: &Progress,
    body: RecvStream,
    respond: &mut SendResponse<Bytes>,
) -> Result<(), Failed> {
    let Session { core, place, conn, .. } = &**session;
    let times = &core.config().times;
    let mut body = Some(body);
    let mut tried = Vec::new();
    let mut again = 0;
    loop {
        // A connection is there in time or not at all; the rest is for a wait until one has room.
        stream.allow(conn, times.connect * 2);
        let waiting = body.as_mut().map(|body| session.backlog.wait(body));
        let server = stream.server();
        let (lease, mut send) = match poll_gone(respond, Lease::take(core, place, conn, &server)).await? {
            Ok(leased) => leased,
            Err(down) => {
                tried.push(server.address);
                // What we lack, we lack for every server.
                let other = (down != Down::NoDescriptor)
                    .then(|| permit::request_elsewhere(core, conn, Some(told), &stream.asked, &server, &tried));
                match other.flatten() {
                    Some(other) => stream.goes_to(other),
                    None => return Err(down.into()),
                }
                continue;
            }
        };
        drop(waiting);
        let Some(request_body) = body.take() else {
            return Err(Failed::Say(502, "the server did not take the request"));
        };
        let bodiless = request_body.is_end_stream();
        let Ok((response, upload)) = send.send_request(stream.asked.request(), bodiless) else {
            return Err(Failed::Say(502, "the server closed the connection"));
        };
        drop(send);
        progress.sent.set(true);
        progress.uploaded.set(bodiless);
        let mut exchange = Exchange {
            session,
            stream,
            told,
            progress,
            lease: &lease,
            respond,
            up: Way::new(request_body, upload),
            down: Receiving::Head(response),
            interim: 0,
            stalled: false,
            given: 0,
            tries: again,
            held: Held::new(conn.account.clone()),
        };
        exchange.wait();
        let result = poll_fn(|cx| exchange.poll(cx)).await;
        exchange.tell();
        match result {
            Err(Failed::Again) => {
                core.counters.upstream_retries.one();
                told.retries.set(told.retries.get().saturating_add(1));
                again += 1;
                let Exchange { up, .. } = exchange;
                body = Some(up.give_back());
            }
            result => return result,
        }
    }
}

impl From<Down> for Failed {
    fn from(down: Down) -> Failed {
        match down {
            Down::Late => Failed::Say(504, "the endpoint did not answer"),
            Down::NoDescriptor => Failed::Say(503, "the node's agent is out of file descriptors"),
            Down::Refused | Down::Closed => Failed::Say(503, "the endpoint refused the connection"),
        }
    }
}

/// Waits for `work`, but no longer than the client does.
async fn poll_gone<T>(respond: &mut SendResponse<Bytes>, work: impl Future<Output = T>) -> Result<T, Failed> {
    let mut work = std::pin::pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => respond.poll_reset(cx).map(|_| Err(Failed::Client)),
    })
    .await
}

/// A request on one connection to the server.
pub(super) struct Exchange<'a> {
    pub session: &'a Session,
    pub stream: &'a Stream,
    pub told: &'a Ongoing<'a>,
    pub progress: &'a Progress,
    pub lease: &'a Lease,
    pub respond: &'a mut SendResponse<Bytes>,
    pub up: Way,
    pub down: Receiving,
    pub interim: u32,
    /// The client's connection takes nothing more just now.
    pub stalled: bool,
    given: u64,
    tries: u32,
    held: Held,
}

impl Exchange<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        let stalled = std::mem::take(&mut self.stalled);
        let failed = self.poll_ways(cx);
        let given = self.down.given();
        self.session.backlog.add(given.wrapping_sub(self.given));
        self.given = given;
        if self.stalled && !stalled {
            self.wait();
        }
        if std::mem::take(&mut self.up.moved) | self.down.take_moved() {
            self.wait();
        }
        // What a receiver holds up may fill a window of the library, of which nobody tells us.
        let window = self.session.core.config().limits.http2.stream_window as usize;
        let held = usize::from(self.up.is_held()) + usize::from(self.down.is_held() || self.stalled);
        self.held.set(held * window);
        failed
    }

    fn poll_ways(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        self.poll_client(cx)?;
        if !self.progress.uploaded.get() {
            // A server that wants no more of the request resets its stream; its answer counts nevertheless.
            if self.up.receiver().poll_reset(cx).is_ready() {
                self.progress.uploaded.set(true);
            }
        }
        if !self.progress.uploaded.get() {
            match self.up.poll(cx) {
                Poll::Ready(Ok(())) | Poll::Ready(Err(Cut::Receiver)) => self.progress.uploaded.set(true),
                // The library has reset it if it was the client's fault.
                Poll::Ready(Err(Cut::Sender(_))) => return Poll::Ready(Err(Failed::Client)),
                Poll::Ready(Err(Cut::Malformed)) => return Poll::Ready(Err(Failed::Reset(Reason::PROTOCOL_ERROR))),
                Poll::Pending => {}
            }
        }
        match self.poll_answer(cx) {
            // The server may be through before its client is, and still want the rest.
            Poll::Ready(Ok(())) if self.progress.uploaded.get() => Poll::Ready(Ok(())),
            Poll::Ready(Ok(())) => Poll::Pending,
            other => other,
        }
    }

    /// Whether the client has reset its stream, also while nothing is read from it.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failed> {
        let gone = match &mut self.down {
            Receiving::Head(_) => self.respond.poll_reset(cx).is_ready(),
            Receiving::Body(way) => way.receiver().poll_reset(cx).is_ready(),
            Receiving::Done(_) => false,
        };
        if gone { Err(Failed::Client) } else { Ok(()) }
    }

    /// Sets the deadline for the next move.
    pub(super) fn wait(&self) {
        let times = &self.session.core.config().times;
        let held = self.up.is_held() || self.down.is_held() || self.stalled;
        let patient = match self.down {
            Receiving::Head(_) => self.stream.asked.shape.grpc,
            _ => true,
        };
        let time = if patient && !held { times.stream } else { times.response };
        self.stream.allow(&self.session.conn, time);
    }

    /// Tells what has passed.
    fn tell(&self) {
        let down = self.down.bytes();
        self.told.count(self.up.bytes, down);
        let conn = &self.session.conn.down;
        conn.set(conn.get().wrapping_add(down));
    }

    /// What a failure of the server means for the client, before its answer has begun.
    pub(super) fn unanswered(&self, error: &h2::Error) -> Failed {
        let first = self.tries == 0 && !self.up.touched;
        match retry::class(error) {
            retry::Class::Untouched if first => Failed::Again,
            retry::Class::Reset(reason) => Failed::Reset(reason),
            retry::Class::Untouched => Failed::Say(503, "the server takes no requests"),
            retry::Class::Lost | retry::Class::Broken if !self.lease.upstream.is_http2() => {
                Failed::Say(502, retry::NOT_HTTP2)
            }
            // It may have been seen, which does no harm.
            retry::Class::Lost if first && self.stream.asked.is_idempotent() => Failed::Again,
            retry::Class::Lost => Failed::Say(502, "the server closed the connection without an answer"),
            retry::Class::Broken => Failed::Say(502, "the server broke the protocol"),
        }
    }

    /// Passes the head on.
    pub(super) fn answered(&mut self, head: Head) {
        self.progress.answered.set(true);
        self.told.answered(head.status);
        if head.grpc.is_some() {
            self.told.grpc.set(head.grpc.map(u32::from));
        }
    }
}
