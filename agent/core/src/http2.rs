//! HTTP/2 without I/O: what a head, a field and a trailer section must look like to pass (RFC 9113 section 8).
//!
//! Bias: the same answers as in HTTP/1.1. Paths go through the same canonicaliser, authorities and trailers through the
//! same rules, and identity headers are dropped by the same list; `docs/http2.md` has the table. The h2 library is the
//! tokenizer; what it lets through is judged here. No state.

use std::borrow::Cow;

use crate::http1::{HeadError, claims_identity, forbidden_in_trailers, is_authority, reads_as, target};

/// Why a message does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Malformed in the sense of RFC 9113 section 8.1.1: the stream is reset with PROTOCOL_ERROR.
    Malformed(&'static str),
    /// Well-formed, and refused: the status and the reason are the answer.
    Refused(HeadError),
}

impl From<HeadError> for Fault {
    fn from(error: HeadError) -> Fault {
        Fault::Refused(error)
    }
}

/// `:path`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// The canonical path (see [`crate::path`]), or `*` for `OPTIONS *`.
    pub path: Cow<'b, [u8]>,
    /// What stands behind the first `?`, untouched.
    pub query: Option<&'b [u8]>,
}

/// The target of a request, in canonical form.
///
/// # Errors
/// What HTTP/1.1 answers with 400 is refused with 400 here. `CONNECT` and methods of more than 24 bytes: 501.
pub fn request_target<'b>(method: &str, path: &'b [u8]) -> Result<Target<'b>, HeadError> {
    if method.len() > crate::detect::METHOD_MAX || method == "CONNECT" {
        return Err(HeadError::with(501, "method is not supported"));
    }
    if !matches!(path.first(), Some(b'/' | b'*')) {
        return Err(HeadError::bad("path does not start with a slash"));
    }
    let target = target::parse(method, path)?;
    Ok(Target {
        path: target.path,
        query: target.query,
    })
}

/// The one authority of a request: `:authority`, or `host` where there is none (RFC 9113 section 8.3.1).
///
/// # Errors
/// The two differ: malformed. Neither is there, or it is no `host[:port]`: 400.
pub fn authority<'b>(authority: Option<&'b [u8]>, host: Option<&'b [u8]>) -> Result<&'b [u8], Fault> {
    let one = match (authority, host) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            return Err(Fault::Malformed("host differs from :authority"));
        }
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => return Err(HeadError::bad("no :authority").into()),
    };
    if is_authority(one) {
        Ok(one)
    } else {
        Err(HeadError::bad("malformed :authority").into())
    }
}

/// What becomes of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// It goes on, and rules see it.
    Forward,
    /// It stays behind, and rules do not see it.
    Drop,
}

/// Judges a field of a request's head. `host` is the caller's affair.
///
/// # Errors
/// See [`response_field`]; another expectation than `100-continue`: 417.
pub fn request_field(name: &[u8], value: &[u8]) -> Result<Passage, Fault> {
    if claims_identity(name) {
        return Ok(Passage::Drop);
    }
    if name == b"expect" && !value.eq_ignore_ascii_case(b"100-continue") {
        return Err(HeadError::with(417, "unknown expectation").into());
    }
    response_field(name, value)
}

/// Judges a field of a response's head.
///
/// # Errors
/// Fields of an HTTP/1.1 connection, white space around a value (RFC 9113 section 8.2.1, 8.2.2): malformed. Framing
/// fields spelt with an underscore, which CGI-like servers read as the real ones: 400.
pub fn response_field(name: &[u8], value: &[u8]) -> Result<Passage, Fault> {
    // The library refuses these as well; a second look costs a comparison of lengths.
    let hop = match name.len() {
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        16 => name == b"proxy-connection",
        17 => name == b"transfer-encoding",
        _ => false,
    };
    if hop || name == b"te" && value != b"trailers" {
        return Err(Fault::Malformed("a field of one connection"));
    }
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if blank(value.first()) || blank(value.last()) {
        return Err(Fault::Malformed("white space around a value"));
    }
    match name.len() {
        14 if name == b"http2-settings" => Ok(Passage::Drop),
        14 | 17 if name.contains(&b'_') && is_framing(name) => {
            Err(HeadError::bad("a framing field spelt with an underscore").into())
        }
        _ => Ok(Passage::Forward),
    }
}

fn is_framing(name: &[u8]) -> bool {
    reads_as(name, b"content-length") || reads_as(name, b"transfer-encoding")
}

/// The value of the one `content-length` of a message: `1*DIGIT`, below 2^63.
///
/// # Errors
/// Anything else, or more than one: malformed.
pub fn content_length<'b>(mut values: impl Iterator<Item = &'b [u8]>) -> Result<Option<u64>, Fault> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Fault::Malformed("more than one content-length"));
    }
    let digits = std::str::from_utf8(value)
        .ok()
        .filter(|_| value.iter().all(u8::is_ascii_digit));
    match digits.and_then(|digits| digits.parse::<u64>().ok()) {
        Some(length) if length < 1 << 63 => Ok(Some(length)),
        _ => Err(Fault::Malformed("malformed content-length")),
    }
}

/// A trailer field may pass: it neither frames, routes, authenticates nor describes, nor claims an identity.
pub fn is_trailer(name: &[u8], value: &[u8]) -> bool {
    !forbidden_in_trailers(name) && response_field(name, value) == Ok(Passage::Forward)
}

#[cfg(test)]
mod tests;
