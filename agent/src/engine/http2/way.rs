//! One direction of a stream: data and trailers from one connection to the other.
//!
//! Bias: the receiver's window is the sender's window. Nothing is taken from a sender that the receiver has no room for,
//! and the sender's window is opened again by as much as the receiver has taken. So a slow reader holds back its own
//! stream, with at most a window of bytes waiting, and nobody else's.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use weir_core::http2;

/// Why a direction has ended early.
#[derive(Debug)]
pub(super) enum Cut {
    /// The sender has gone, or reset the stream.
    Sender(h2::Error),
    /// The sender has broken the protocol.
    Malformed,
    /// The receiver has gone, or reset the stream.
    Receiver,
}

/// A direction.
pub(super) struct Way {
    from: RecvStream,
    to: SendStream<Bytes>,
    held: Bytes,
    /// The message may have no data (RFC 9110 section 6.4.1), trailers alone.
    pub empty: bool,
    /// Something has been taken from the sender: it can't be had again.
    pub touched: bool,
    /// Bytes that have come from the sender.
    pub bytes: u64,
    /// `grpc-status` of the trailers.
    pub grpc: Option<u8>,
    /// Something has moved since this was last taken back.
    pub moved: bool,
}

impl Way {
    /// From the head on.
    pub fn new(from: RecvStream, to: SendStream<Bytes>) -> Way {
        Way {
            from,
            to,
            held: Bytes::new(),
            empty: false,
            touched: false,
            bytes: 0,
            grpc: None,
            moved: false,
        }
    }

    /// The receiver holds it up, not the sender.
    pub fn is_held(&self) -> bool {
        !self.held.is_empty()
    }

    /// Bytes that the receiver's connection has been given.
    pub fn given(&self) -> u64 {
        self.bytes.wrapping_sub(self.held.len() as u64)
    }

    /// The receiver's half, to reset it or to see that it was.
    pub fn receiver(&mut self) -> &mut SendStream<Bytes> {
        &mut self.to
    }

    /// The sender's half, for another receiver.
    pub fn give_back(self) -> RecvStream {
        self.from
    }

    /// Moves what can be moved; ready once the end has been passed on.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        loop {
            while !self.held.is_empty() {
                if ready!(self.pass(cx))? {
                    return Poll::Ready(Ok(()));
                }
            }
            let data = ready!(self.from.poll_data(cx));
            self.touched = true;
            match data {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(_)) if self.empty => return Poll::Ready(Err(Cut::Malformed)),
                Some(Ok(data)) => {
                    self.bytes = self.bytes.wrapping_add(data.len() as u64);
                    self.held = data;
                    self.moved = true;
                    self.to.reserve_capacity(self.held.len());
                }
                Some(Err(error)) => return Poll::Ready(Err(Cut::Sender(error))),
                None => return self.end(cx),
            }
        }
    }

    /// Gives the receiver what it has room for. True if that was the end.
    fn pass(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cut>> {
        let room = self.to.capacity().min(self.held.len());
        if room == 0 {
            return match ready!(self.to.poll_capacity(cx)) {
                Some(Ok(_)) => Poll::Ready(Ok(false)),
                Some(Err(_)) | None => Poll::Ready(Err(Cut::Receiver)),
            };
        }
        let data = self.held.split_to(room);
        let last = self.held.is_empty() && self.from.is_end_stream();
        self.to.send_data(data, last).map_err(|_| Cut::Receiver)?;
        self.moved = true;
        // Not more than came; if the stream has gone meanwhile there is no window left to open.
        let _ = self.from.flow_control().release_capacity(room);
        Poll::Ready(Ok(last))
    }

    fn end(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cut>> {
        let sent = match ready!(self.from.poll_trailers(cx)) {
            Ok(Some(trailers)) => {
                let good = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
                    http2::is_trailer(name.as_str().as_bytes(), value.as_bytes())
                };
                if !trailers.iter().all(good) {
                    return Poll::Ready(Err(Cut::Malformed));
                }
                self.grpc = grpc_status(&trailers);
                self.to.send_trailers(trailers)
            }
            Ok(None) => self.to.send_data(Bytes::new(), true),
            Err(error) => return Poll::Ready(Err(Cut::Sender(error))),
        };
        self.moved = true;
        Poll::Ready(sent.map_err(|_| Cut::Receiver))
    }
}

/// `grpc-status` among these fields.
pub(super) fn grpc_status(fields: &HeaderMap) -> Option<u8> {
    weir_core::grpc::parse_status(fields.get("grpc-status")?.as_bytes())
}
