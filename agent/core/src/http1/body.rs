//! The body of a message, over any cut of its bytes.
//!
//! ```text
//!   Length(n) ──n bytes──▶ Done          UntilClose ──close──▶ Done
//!
//!   Size ──line of n>0──▶ [Extension] ─▶ SizeEnd ─▶ Data(n) ──n bytes──▶ DataEnd ──CRLF──▶ Size
//!     └──line of 0──▶ [Extension] ─▶ SizeEnd ─▶ Trailers ──fields and empty line──▶ Done
//! ```

use super::chunked::{self, State};
use super::{Framing, Limits};

/// Why a body is not taken further. Nothing behind the fault is forwarded, and both connections are closed: the
/// receiver must not take what it has for the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BodyError {
    /// Not `1*HEXDIG`, 2^63 or more, white space or a control character in the line, or a line end that is not CRLF.
    #[error("malformed chunk size")]
    ChunkSize,
    /// The line of a chunk size with its extensions exceeds [`Limits::chunk_line_bytes`].
    #[error("chunk size line is too long")]
    ChunkLine,
    /// No CRLF behind a chunk's data.
    #[error("chunk is longer than its size")]
    ChunkEnd,
    /// A trailer section that is no list of fields.
    #[error("malformed trailer")]
    Trailer,
    /// The trailer section exceeds [`Limits::trailer_bytes`], or [`Limits::headers`] fields.
    #[error("trailer section is too large")]
    TrailerSize,
    /// A field that may not come as a trailer (RFC 9110 section 6.5.1), or that claims an identity.
    #[error("field not allowed as a trailer")]
    TrailerField,
    /// The peer closed before the end.
    #[error("body was cut short by the peer")]
    Truncated,
}

/// What is forwarded of a chunked body. Without a difference for the other framings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyMode {
    /// The wire bytes without chunk extensions: what is left is canonical.
    Wire,
    /// The data alone, without chunk sizes and trailers: for clients that speak HTTP/1.0.
    Data,
}

/// What to do with the input: pass over `skip` bytes, forward the `forward` bytes behind them as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Bytes at the start of the input that are not forwarded.
    pub skip: usize,
    /// Bytes behind those that are.
    pub forward: usize,
    /// The message ends behind these bytes. What follows belongs to the next one.
    pub done: bool,
}

impl Step {
    /// Bytes of the input that this step deals with. The rest is to be given again.
    pub fn consumed(&self) -> usize {
        self.skip + self.forward
    }
}

/// The state of one body. A few words; nothing of the body is kept here.
#[derive(Clone, Debug)]
pub struct Body {
    state: State,
    mode: BodyMode,
    limits: Limits,
}

impl Body {
    /// A body at its start.
    pub fn new(framing: Framing, mode: BodyMode, limits: &Limits) -> Self {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        Body {
            state,
            mode,
            limits: *limits,
        }
    }

    /// The message has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes of a known length that are still to come; `None` for other framings.
    pub fn remaining(&self) -> Option<u64> {
        match self.state {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            _ => None,
        }
    }

    /// Takes as much of `input` as one run of forwarded bytes covers.
    ///
    /// Call again with the rest of the input until `done`, or until nothing is consumed: then more bytes are needed
    /// behind the ones that are there (a chunk size and a trailer section are judged whole; at most
    /// [`Limits::chunk_line_bytes`] and [`Limits::trailer_bytes`] are asked for).
    ///
    /// # Errors
    /// [`BodyError`]; nothing of this input is to be forwarded then.
    pub fn advance(&mut self, input: &[u8]) -> Result<Step, BodyError> {
        let mut step = Step::default();
        while self.state != State::Done {
            let rest = input.get(step.consumed()..).unwrap_or_default();
            let Some(part) = chunked::next(self.state, rest, self.mode, &self.limits)? else {
                break;
            };
            if part.forward {
                step.forward += part.len;
            } else if step.forward == 0 {
                step.skip += part.len;
            } else {
                break;
            }
            self.state = part.next;
        }
        step.done = self.is_done();
        Ok(step)
    }

    /// The peer has closed its side.
    ///
    /// # Errors
    /// [`BodyError::Truncated`] if that is not how this body ends.
    pub fn close(&mut self) -> Result<(), BodyError> {
        match self.state {
            State::Done | State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            _ => Err(BodyError::Truncated),
        }
    }
}
