//! The trailer section of a chunked body (RFC 9112 section 7.1.2): judged whole, like header fields.

use httparse::{EMPTY_HEADER, Status};

use super::body::BodyError;
use super::fields::{claims_identity, reads_as};
use super::{Limits, MAX_HEADERS, head};

/// Fields that frame, route, authenticate or describe: a receiver that merged them would change the message
/// (RFC 9110 section 6.5.1).
const FORBIDDEN: [&[u8]; 21] = [
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"forwarded",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// The length of the section at the start of `rest`, its empty line included; `None` if more bytes are needed.
pub(super) fn length(rest: &[u8], limits: &Limits) -> Result<Option<usize>, BodyError> {
    // The usual case, without the array below.
    if rest.starts_with(b"\r\n") {
        return Ok(Some(2));
    }
    if matches!(rest.first(), Some(b' ' | b'\t')) {
        return Err(BodyError::Trailer);
    }
    let seen = rest.get(..limits.trailer_bytes).unwrap_or(rest);
    match head::end_of_lines(seen).map_err(|_| BodyError::Trailer)? {
        Some(end) => judge(seen.get(..end).unwrap_or_default(), limits).map(|()| Some(end)),
        None if rest.len() < limits.trailer_bytes => Ok(None),
        None => Err(BodyError::TrailerSize),
    }
}

fn judge(section: &[u8], limits: &Limits) -> Result<(), BodyError> {
    let mut space = [EMPTY_HEADER; MAX_HEADERS];
    let space = space.get_mut(..limits.headers.min(MAX_HEADERS)).unwrap_or_default();
    let fields = match httparse::parse_headers(section, space) {
        Ok(Status::Complete((length, fields))) if length == section.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(BodyError::TrailerSize),
        _ => return Err(BodyError::Trailer),
    };
    match fields.iter().any(|field| forbidden_in_trailers(field.name.as_bytes())) {
        true => Err(BodyError::TrailerField),
        false => Ok(()),
    }
}

/// A trailer field of this name would change the message, or who sends it.
pub(crate) fn forbidden_in_trailers(name: &[u8]) -> bool {
    FORBIDDEN.iter().any(|field| reads_as(name, field)) || claims_identity(name)
}
