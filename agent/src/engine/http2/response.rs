//! The answer on its way to the client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use http::{Response, StatusCode};
use weir_core::grpc;
use weir_core::http2;

use super::super::core::Core;
use super::exchange::{Exchange, Failed};
use super::request::travel;
use super::retry::{self, Class};
use super::way::{Cut, Way, grpc_status};

/// Interim responses to one request. More are a fault of the server.
const INTERIM: u32 = 32;

/// Where the answer is.
pub(super) enum Receiving {
    /// Its final head has not come.
    Head(ResponseFuture),
    /// Its head has gone on to the client.
    Body(Way),
    /// So has its end.
    Done(u64),
}

/// What is noted of a final head.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub status: u16,
    /// `grpc-status`, where the head is all there is.
    pub grpc: Option<u8>,
}

impl Receiving {
    /// Something has moved since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        match self {
            Receiving::Body(way) => std::mem::take(&mut way.moved),
            _ => false,
        }
    }

    /// The client holds it up.
    pub fn is_held(&self) -> bool {
        matches!(self, Receiving::Body(way) if way.is_held())
    }

    /// Bytes that the client's connection has been given.
    pub fn given(&self) -> u64 {
        match self {
            Receiving::Body(way) => way.given(),
            other => other.bytes(),
        }
    }

    /// Bytes that have come.
    pub fn bytes(&self) -> u64 {
        match self {
            Receiving::Head(_) => 0,
            Receiving::Body(way) => way.bytes,
            Receiving::Done(bytes) => *bytes,
        }
    }
}

/// Why there is no final head.
enum Unanswered {
    Server(h2::Error),
    Bad(&'static str),
}

/// Passes interim responses on, up to the final one.
fn poll_head(
    cx: &mut Context<'_>,
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
    interim: &mut u32,
    core: &Core,
) -> Poll<Result<Response<h2::RecvStream>, Unanswered>> {
    while let Some(informational) = ready!(response.poll_informational(cx)) {
        let mut informational = match informational {
            Ok(informational) => informational,
            Err(error) => return Poll::Ready(Err(Unanswered::Server(error))),
        };
        let switches = informational.status() == StatusCode::SWITCHING_PROTOCOLS;
        let length = travel(informational.headers_mut(), http2::response_field);
        *interim += 1;
        if switches || length != Ok(None) || *interim > INTERIM {
            return Poll::Ready(Err(Unanswered::Bad(
                "an interim response is malformed, or one too many",
            )));
        }
        core.counters.responses_1xx.one();
        // The client may have gone, which is found out elsewhere.
        let _ = respond.send_informational(informational);
    }
    Pin::new(response).poll(cx).map_err(Unanswered::Server)
}

/// What a failure of the server means for a client that has the head of its answer.
fn cut(error: &h2::Error) -> Failed {
    Failed::Reset(match retry::class(error) {
        Class::Reset(reason) => reason,
        _ => Reason::INTERNAL_ERROR,
    })
}

impl Exchange<'_> {
    /// Passes on what has come of the answer; ready at its end.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if let Receiving::Head(response) = &mut self.down {
            let response = match ready!(poll_head(
                cx,
                response,
                self.respond,
                &mut self.interim,
                &self.session.core
            )) {
                Ok(response) => response,
                Err(Unanswered::Server(error)) => return Poll::Ready(Err(self.unanswered(&error))),
                Err(Unanswered::Bad(reason)) => return Poll::Ready(Err(Failed::Say(502, reason))),
            };
            if let Err(reason) = self.pass_head(response) {
                return Poll::Ready(Err(reason));
            }
            self.wait();
        }
        if let Receiving::Body(way) = &mut self.down {
            if self.session.backlog.is_full(cx) {
                self.stalled = true;
                return Poll::Pending;
            }
            let end = ready!(way.poll(cx));
            if let Some(status) = way.grpc {
                self.told.grpc.set(Some(u32::from(status)));
            }
            match end {
                Ok(()) => self.down = Receiving::Done(way.bytes),
                Err(Cut::Receiver) => return Poll::Ready(Err(Failed::Client)),
                Err(Cut::Malformed) => return Poll::Ready(Err(Failed::Say(502, "the response's body is malformed"))),
                Err(Cut::Sender(error)) => return Poll::Ready(Err(cut(&error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn pass_head(&mut self, response: Response<h2::RecvStream>) -> Result<(), Failed> {
        let (mut parts, body) = response.into_parts();
        const BAD: Failed = Failed::Say(502, "the response's head is malformed");
        let length = travel(&mut parts.headers, http2::response_field).map_err(|_| BAD)?;
        let bodiless = matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if parts.headers.len() > self.session.core.config().limits.http.headers
            || parts.status == StatusCode::NO_CONTENT && length.is_some_and(|length| length > 0)
        {
            return Err(BAD);
        }
        let end = body.is_end_stream();
        let kind = parts.headers.get(http::header::CONTENT_TYPE);
        let head = Head {
            status: parts.status.as_u16(),
            grpc: grpc_status(&parts.headers)
                .filter(|_| end && kind.is_some_and(|kind| grpc::is_grpc(kind.as_bytes()))),
        };
        self.count(parts.status);
        let sent = self.respond.send_response(Response::from_parts(parts, ()), end);
        self.answered(head);
        let to = sent.map_err(|_| Failed::Client)?;
        self.down = match end {
            true => Receiving::Done(0),
            false => {
                let mut way = Way::new(body, to);
                way.empty = bodiless || self.stream.asked.shape.head;
                Receiving::Body(way)
            }
        };
        Ok(())
    }

    fn count(&self, status: StatusCode) {
        let counters = &self.session.core.counters;
        match status.as_u16() {
            200..300 => counters.responses_2xx.one(),
            300..400 => counters.responses_3xx.one(),
            400..500 => counters.responses_4xx.one(),
            _ => counters.responses_5xx.one(),
        }
    }
}
