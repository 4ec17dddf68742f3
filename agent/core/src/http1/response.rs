//! The head of a response.

use std::mem::MaybeUninit;

use super::fields::{Direction, Fields};
use super::{Framing, HeadError, Limits, MAX_HEADERS, Upgrade, Version, head, judge};

/// A response head that was parsed and is in no doubt. Borrows from the caller's buffer; no allocation.
#[derive(Clone, Debug)]
pub struct ResponseHead<'b> {
    /// The version the back-end speaks.
    pub version: Version,
    /// 100 to 599; 101 only where `upgrade` is.
    pub status: u16,
    /// A 101 that answers what was asked: the protocols that both connections speak behind it.
    pub upgrade: Option<Upgrade<'b>>,
    /// The reason phrase, often empty.
    pub reason: &'b str,
    /// The end-to-end header fields.
    pub fields: Fields<'b>,
    /// How the body comes: [`Framing::Empty`] for 1xx, 204, 304 and the answer to HEAD, whatever the fields say.
    pub framing: Framing,
    /// What the fields say: in the answer to HEAD and in a 304, the framing a GET would have had (and
    /// [`Framing::Empty`] if they say nothing). Otherwise the same as `framing`.
    pub declared: Framing,
    /// The back-end keeps its connection. False with [`Framing::UntilClose`].
    pub keep_alive: bool,
    /// Length of the head in the buffer, in bytes, its empty line included.
    pub head_len: usize,
}

impl ResponseHead<'_> {
    /// A 1xx but 101: the final response is still to come. Not for HTTP/1.0 clients (RFC 9110 section 15.2).
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.upgrade.is_none()
    }
}

/// Parses the response head at the start of `buf`. `head_request`: the request that it answers was a HEAD, and asked for
/// no upgrade. `None`: the head is not complete, read more and ask again.
///
/// # Errors
/// [`HeadError`], always with 502; the back-end's connection is not to be used again.
pub fn parse_response<'b>(
    buf: &'b [u8],
    head_request: bool,
    limits: &Limits,
) -> Result<Option<ResponseHead<'b>>, HeadError> {
    parse_response_to(buf, head_request, None, limits)
}

/// The same for a request that asked for an upgrade: a 101 is an answer if it names protocols of `asked` and no other.
///
/// # Errors
/// [`HeadError`], always with 502; the back-end's connection is not to be used again.
pub fn parse_response_to<'b>(
    buf: &'b [u8],
    head_request: bool,
    asked: Option<&Upgrade<'_>>,
    limits: &Limits,
) -> Result<Option<ResponseHead<'b>>, HeadError> {
    parse(buf, head_request, asked, limits).map_err(HeadError::of_response)
}

fn parse<'b>(
    buf: &'b [u8],
    head_request: bool,
    asked: Option<&Upgrade<'_>>,
    limits: &Limits,
) -> Result<Option<ResponseHead<'b>>, HeadError> {
    let Some(head_len) = head::end_of_head(buf, limits.head_bytes)? else {
        return Ok(None);
    };
    let raw = buf.get(..head_len).unwrap_or_default();
    let mut space = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let space = space.get_mut(..limits.headers.min(MAX_HEADERS)).unwrap_or_default();
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    match config.parse_response_with_uninit_headers(&mut parsed, raw, space)? {
        httparse::Status::Complete(length) if length == head_len => {}
        _ => return Err(HeadError::bad("malformed head")),
    }
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(HeadError::bad("malformed status line"));
    };
    if !(100..600).contains(&status) {
        return Err(HeadError::bad("status is out of range"));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let facts = judge::judge(parsed.headers, version)?;
    let upgrade = match (status, facts.upgrade.sure(), asked) {
        (101, Some(upgrade), Some(asked)) if version == Version::Http11 && upgrade.answers(asked) => Some(upgrade),
        (101, _, None) => return Err(HeadError::bad("101 without an upgrade")),
        (101, ..) => return Err(HeadError::bad("101 to something that was not asked for")),
        _ => None,
    };
    let bodiless = status < 200 || status == 204;
    if bodiless && (facts.chunked || facts.length.is_some_and(|length| length > 0)) {
        return Err(HeadError::bad("a body declared by a status that has none"));
    }
    let declared = match facts.length {
        _ if bodiless => Framing::Empty,
        Some(length) => Framing::Length(length),
        None if facts.chunked => Framing::Chunked,
        None if head_request || status == 304 => Framing::Empty,
        None => Framing::UntilClose,
    };
    let framing = if head_request || status == 304 {
        Framing::Empty
    } else {
        declared
    };
    let lines_at = memchr::memchr(b'\n', raw).map_or(head_len, |end| end + 1);
    Ok(Some(ResponseHead {
        version,
        status,
        upgrade,
        reason: parsed.reason.unwrap_or_default(),
        fields: Fields::new(
            raw.get(lines_at..).unwrap_or_default(),
            facts.nominated,
            Direction::Response,
        ),
        framing,
        declared,
        keep_alive: facts.keeps_alive(version) && framing != Framing::UntilClose,
        head_len,
    }))
}
