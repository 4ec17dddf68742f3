//! The request target (RFC 9112 section 3.2): origin form, absolute form, and `*`.

use std::borrow::Cow;

use super::HeadError;
use super::authority::is_authority;
use crate::path;

/// The parts of a request target.
pub(crate) struct Target<'b> {
    /// Of the absolute form.
    pub(crate) authority: Option<&'b [u8]>,
    /// Canonical; or `*`.
    pub(crate) path: Cow<'b, [u8]>,
    /// What stands behind the first `?`.
    pub(crate) query: Option<&'b [u8]>,
}

pub(crate) fn parse<'b>(method: &str, target: &'b [u8]) -> Result<Target<'b>, HeadError> {
    if target == b"*" {
        if method != "OPTIONS" {
            return Err(HeadError::bad("target * of another method than OPTIONS"));
        }
        return Ok(Target {
            authority: None,
            path: Cow::Borrowed(b"*"),
            query: None,
        });
    }
    if target.starts_with(b"/") {
        return hierarchical(None, target);
    }
    let scheme = target.get(..7).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"http://") {
        return Err(HeadError::bad("target is neither a path nor an http URI"));
    }
    let rest = target.get(7..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|&byte| matches!(byte, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(end).unwrap_or((rest, &[]));
    if !is_authority(authority) {
        return Err(HeadError::bad("malformed authority in the target"));
    }
    if rest.is_empty() && method == "OPTIONS" {
        return Ok(Target {
            authority: Some(authority),
            path: Cow::Borrowed(b"*"),
            query: None,
        });
    }
    hierarchical(Some(authority), rest)
}

/// A path, empty only behind an authority, and a query.
fn hierarchical<'b>(authority: Option<&'b [u8]>, rest: &'b [u8]) -> Result<Target<'b>, HeadError> {
    let (path, query) = match memchr::memchr(b'?', rest).and_then(|mark| rest.split_at_checked(mark)) {
        Some((path, query)) => (path, query.get(1..)),
        None => (rest, None),
    };
    if !query.unwrap_or_default().iter().all(|&byte| is_query_byte(byte)) {
        return Err(HeadError::bad("byte not allowed in a query"));
    }
    let path = if path.is_empty() {
        Cow::Borrowed(&b"/"[..])
    } else {
        path::canonicalise(path)?
    };
    Ok(Target { authority, path, query })
}

/// Visible ASCII less what no client sends bare (the query set of the URL standard). Wider than RFC 3986, which has
/// no `[ ] { } | \ ^` and back tick either: browsers send them, and nothing is decided by them.
fn is_query_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'#' | b'<' | b'>')
}
