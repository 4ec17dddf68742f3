//! The raw bytes of a head: where it ends, and the line ends that httparse would let pass.

use super::HeadError;

/// The length of the head at the start of `buf`, its empty line included; `None` if more bytes are needed.
///
/// Judges line ends only, from left to right, so that a prefix never gets another error than the whole.
pub(super) fn end_of_head(buf: &[u8], limit: usize) -> Result<Option<usize>, HeadError> {
    let seen = buf.get(..limit).unwrap_or(buf);
    if seen.starts_with(b"\r\n") {
        return Err(HeadError::bad("empty line before the start line"));
    }
    match end_of_lines(seen)? {
        Some(end) => Ok(Some(end)),
        None if buf.len() < limit => Ok(None),
        None if memchr::memchr(b'\n', seen).is_none() => Err(HeadError::with(414, "start line is too long")),
        None => Err(HeadError::with(431, "head is too large")),
    }
}

/// The length of the lines up to and with the first empty one; `None` if it has not come yet.
pub(super) fn end_of_lines(seen: &[u8]) -> Result<Option<usize>, HeadError> {
    let mut start = 0;
    loop {
        let Some(rest) = seen.get(start..) else { return Ok(None) };
        if start > 0 && matches!(rest.first(), Some(b' ' | b'\t')) {
            return Err(HeadError::bad("white space at the start of a line (obs-fold)"));
        }
        let Some(length) = memchr::memchr3(b'\r', b'\n', 0, rest) else {
            return Ok(None);
        };
        match rest.get(length..).unwrap_or_default() {
            [b'\r', b'\n', ..] if length == 0 => return Ok(Some(start + 2)),
            [b'\r', b'\n', ..] => start += length + 2,
            [b'\r'] => return Ok(None),
            [b'\r', ..] => return Err(HeadError::bad("bare CR")),
            [b'\n', ..] => return Err(HeadError::bad("bare LF")),
            _ => return Err(HeadError::bad("NUL byte")),
        }
    }
}
