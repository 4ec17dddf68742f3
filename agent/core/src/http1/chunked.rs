//! The states of a body and the one step from each (RFC 9112 section 7.1, and stricter).
//!
//! A chunk size is `1*HEXDIG` and CRLF, with nothing in between but extensions behind a `;`. Extensions are cut out:
//! nobody needs them, and servers disagree on where one ends.

use super::body::{BodyError, BodyMode};
use super::{Limits, trailers};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// So many bytes of a body of known length; not 0.
    Length(u64),
    UntilClose,
    /// At a chunk's size.
    Size,
    /// Behind the size's digits, at so many bytes of extensions.
    Extension {
        bytes: usize,
        size: u64,
    },
    /// At the CRLF behind the size.
    SizeEnd(u64),
    /// So many bytes of a chunk's data; not 0.
    Data(u64),
    /// At the CRLF behind the data.
    DataEnd,
    /// Behind the line of the last chunk.
    Trailers,
    Done,
}

/// A stretch of the input, and the state behind it.
pub(super) struct Part {
    pub(super) len: usize,
    pub(super) forward: bool,
    pub(super) next: State,
}

/// The next stretch of `rest`; `None` if more bytes are needed.
pub(super) fn next(state: State, rest: &[u8], mode: BodyMode, limits: &Limits) -> Result<Option<Part>, BodyError> {
    let wire = mode == BodyMode::Wire;
    let part = |len, forward, next| Ok(Some(Part { len, forward, next }));
    match state {
        State::Done => Ok(None),
        _ if rest.is_empty() => Ok(None),
        State::UntilClose => part(rest.len(), true, state),
        State::Length(left) => match take(left, rest) {
            (len, 0) => part(len, true, State::Done),
            (len, left) => part(len, true, State::Length(left)),
        },
        State::Size => match size_line(rest, limits.chunk_line_bytes)? {
            Some((digits, 0, size)) => part(digits, wire, State::SizeEnd(size)),
            Some((digits, bytes, size)) => part(digits, wire, State::Extension { bytes, size }),
            None => Ok(None),
        },
        State::Extension { bytes, size } => match rest.len() {
            len if len < bytes => part(
                len,
                false,
                State::Extension {
                    bytes: bytes - len,
                    size,
                },
            ),
            _ => part(bytes, false, State::SizeEnd(size)),
        },
        State::SizeEnd(size) => match rest {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] if size == 0 => part(2, wire, State::Trailers),
            [b'\r', b'\n', ..] => part(2, wire, State::Data(size)),
            _ => Err(BodyError::ChunkSize),
        },
        State::Data(left) => match take(left, rest) {
            (len, 0) => part(len, true, State::DataEnd),
            (len, left) => part(len, true, State::Data(left)),
        },
        State::DataEnd => match rest {
            [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => part(2, wire, State::Size),
            _ => Err(BodyError::ChunkEnd),
        },
        State::Trailers => match trailers::length(rest, limits)? {
            Some(len) => part(len, wire, State::Done),
            None => Ok(None),
        },
    }
}

/// How much of `left` bytes is there, and what is left then.
fn take(left: u64, rest: &[u8]) -> (usize, u64) {
    let len = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
    (len, left.saturating_sub(len as u64))
}

/// Judges a whole line: bytes of digits, bytes of extensions, and the size.
///
/// From left to right and not beyond the limit, so that a prefix never gets another error than the whole.
fn size_line(rest: &[u8], limit: usize) -> Result<Option<(usize, usize, u64)>, BodyError> {
    let seen = rest.get(..limit).unwrap_or(rest);
    let mut size = 0_u64;
    let mut digits = 0_usize;
    for &byte in seen {
        let Some(digit) = char::from(byte).to_digit(16) else {
            break;
        };
        size = size
            .checked_mul(16)
            .map(|size| size | u64::from(digit))
            .ok_or(BodyError::ChunkSize)?;
        digits += 1;
    }
    if size >= 1 << 63 {
        return Err(BodyError::ChunkSize);
    }
    let behind = seen.get(digits..).unwrap_or_default();
    let extensions = match behind.first() {
        Some(b';') if digits > 0 => behind
            .iter()
            .take_while(|&&byte| byte == b'\t' || byte >= b' ' && byte != 0x7F)
            .count(),
        Some(b'\r') | None if digits > 0 => 0,
        _ => return Err(BodyError::ChunkSize),
    };
    match behind.get(extensions..).unwrap_or_default() {
        [] | [b'\r'] if rest.len() >= limit => Err(BodyError::ChunkLine),
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Ok(Some((digits, extensions, size))),
        _ => Err(BodyError::ChunkSize),
    }
}
