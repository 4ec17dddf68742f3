//! The head of a request.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use super::fields::{Direction, Fields};
use super::{Framing, HeadError, Limits, MAX_HEADERS, Upgrade, Version, authority, head, judge, target};
use crate::detect::METHOD_MAX;

/// A request head that was parsed and is in no doubt. Borrows from the caller's buffer; allocates only if its path
/// had to be rewritten.
#[derive(Clone, Debug)]
pub struct RequestHead<'b> {
    /// A token of up to 24 bytes, as sent: methods are case-sensitive. Never `CONNECT`.
    pub method: &'b str,
    /// The canonical path (see [`crate::path`]), or `*` for `OPTIONS *`.
    pub path: Cow<'b, [u8]>,
    /// What stands behind the first `?`, untouched. `Some` of nothing for a bare `?`.
    pub query: Option<&'b [u8]>,
    /// The version the client speaks.
    pub version: Version,
    /// `host[:port]` of `Host` or of an absolute target, as sent. `None` only in HTTP/1.0.
    pub authority: Option<&'b [u8]>,
    /// The end-to-end header fields.
    pub fields: Fields<'b>,
    /// Never [`Framing::UntilClose`].
    pub framing: Framing,
    /// The client keeps its connection for another request.
    pub keep_alive: bool,
    /// The client may wait for a 100 before it sends the body. False without a body and in HTTP/1.0.
    pub expect_continue: bool,
    /// The other protocols that the request asks for, and that it is forwarded with. Bytes behind the head wait for the
    /// answer then, and are no request whatever it is. `None` where the request does not ask, or is forwarded without
    /// that ([`Upgrade`]).
    pub upgrade: Option<Upgrade<'b>>,
    /// Length of the head in the buffer, in bytes, its empty line included.
    pub head_len: usize,
}

impl RequestHead<'_> {
    /// The method is `HEAD`: the response has no body, whatever its fields say.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }
}

/// Parses the request head at the start of `buf`. `None`: the head is not complete, read more and ask again.
///
/// # Errors
/// [`HeadError`] with the status to answer; the connection is then to be closed. A buffer that is cut short either
/// asks for more or gives the error that the whole would give.
pub fn parse_request<'b>(buf: &'b [u8], limits: &Limits) -> Result<Option<RequestHead<'b>>, HeadError> {
    let Some(head_len) = head::end_of_head(buf, limits.head_bytes)? else {
        return Ok(None);
    };
    let raw = buf.get(..head_len).unwrap_or_default();
    let mut space = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let space = space.get_mut(..limits.headers.min(MAX_HEADERS)).unwrap_or_default();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(raw, space) {
        Ok(httparse::Status::Complete(length)) if length == head_len => {}
        Ok(_) => return Err(HeadError::bad("malformed head")),
        Err(httparse::Error::Version) => return Err(version_error(raw)),
        Err(error) => return Err(error.into()),
    }
    let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(HeadError::bad("malformed request line"));
    };
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    // One space between the three parts and nothing around them.
    let line_len = method.len() + path.len() + b"  HTTP/1.1\r\n".len();
    let Some((_, lines)) = raw
        .split_at_checked(line_len)
        .filter(|(line, _)| line.ends_with(b"\r\n"))
    else {
        return Err(HeadError::bad("malformed request line"));
    };
    if method.len() > METHOD_MAX || method == "CONNECT" {
        return Err(HeadError::with(501, "method is not supported"));
    }
    let target = target::parse(method, path.as_bytes())?;
    let facts = judge::judge(parsed.headers, version)?;
    let framing = match facts.length {
        Some(length) => Framing::Length(length),
        None if facts.chunked => Framing::Chunked,
        None => Framing::Empty,
    };
    let has_body = !matches!(framing, Framing::Empty | Framing::Length(0));
    Ok(Some(RequestHead {
        method,
        path: target.path,
        query: target.query,
        version,
        authority: one_authority(target.authority, facts.host, version)?,
        fields: Fields::new(lines, facts.nominated, Direction::Request),
        framing,
        keep_alive: facts.keeps_alive(version),
        expect_continue: facts.expect_continue && has_body && version == Version::Http11,
        upgrade: facts.upgrade.asked(version, !has_body && !facts.closes()),
        head_len,
    }))
}

/// `Host` and the authority of the target agree (RFC 9112 section 3.2, and stricter: a difference is refused).
fn one_authority<'b>(
    target: Option<&'b [u8]>,
    host: Option<&'b [u8]>,
    version: Version,
) -> Result<Option<&'b [u8]>, HeadError> {
    match (target, host) {
        (_, None) if version == Version::Http11 => Err(HeadError::bad("no Host")),
        (_, Some(host)) if !authority::is_authority(host) => Err(HeadError::bad("malformed Host")),
        (Some(target), Some(host)) if !target.eq_ignore_ascii_case(host) => {
            Err(HeadError::bad("Host differs from the target"))
        }
        (target, host) => Ok(host.or(target)),
    }
}

/// Another version of HTTP is a 505, anything else in its place a 400.
fn version_error(raw: &[u8]) -> HeadError {
    let line = raw.split(|&byte| byte == b'\r').next().unwrap_or_default();
    let mut parts = line.split(|&byte| byte == b' ').skip(2);
    match (parts.next(), parts.next()) {
        (Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']), None) => {
            HeadError::with(505, "protocol version is not supported")
        }
        _ => HeadError::bad("malformed protocol version"),
    }
}
