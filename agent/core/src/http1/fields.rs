//! The header fields of a head, walked over its raw bytes, and which of them travel to the next hop.

use super::HeadError;

/// One field: its name as it was sent, and its value without surrounding white space.
pub type Field<'b> = (&'b [u8], &'b [u8]);

/// Which fields stay behind besides those of one hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// `Host` and `Expect` are written by us; identity fields are dropped.
    Request,
    Response,
}

/// The end-to-end fields of a head, in order: what policy sees and what is forwarded.
///
/// Left out are the fields of one hop (RFC 9110 section 7.6.1: `Connection` and what it names, `Keep-Alive`,
/// `Proxy-Connection`, `TE`, `Transfer-Encoding`, `Upgrade`, and `HTTP2-Settings`), those that Weir writes itself
/// (`Content-Length`; in requests `Host` and `Expect`), and in requests those that claim an identity
/// (`X-Forwarded-Client-Cert`, `X-Weir-…`, also spelt with `_`).
#[derive(Clone, Copy, Debug)]
pub struct Fields<'b> {
    raw: &'b [u8],
    nominated: Nominated<'b>,
    direction: Direction,
}

impl<'b> Fields<'b> {
    /// `raw` holds whole lines, each with its CRLF, that httparse and the judge have passed.
    pub(super) fn new(raw: &'b [u8], nominated: Nominated<'b>, direction: Direction) -> Self {
        Fields {
            raw,
            nominated,
            direction,
        }
    }

    /// The fields, in the order they came.
    pub fn iter(&self) -> impl Iterator<Item = Field<'b>> + use<'b> {
        let Fields {
            nominated, direction, ..
        } = *self;
        lines(self.raw).filter(move |(name, _)| travels(name, direction) && !nominated.contains(name))
    }

    /// The first value of the field `name`, whatever its case.
    pub fn get(&self, name: &str) -> Option<&'b [u8]> {
        self.iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }
}

/// Splits checked lines into fields.
pub(super) fn lines<'b>(mut raw: &'b [u8]) -> impl Iterator<Item = Field<'b>> {
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', raw)?;
        let (line, rest) = raw.split_at_checked(end + 1)?;
        raw = rest;
        let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
        Some((name, value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

/// Names that `Connection` lists besides its own words, in place: no allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nominated<'b> {
    names: [&'b [u8]; Nominated::MAX],
    len: usize,
}

impl<'b> Nominated<'b> {
    /// More names than this are refused: nobody means them well, and each costs a comparison per field.
    const MAX: usize = 8;

    pub(super) fn add(&mut self, name: &'b [u8]) -> Result<(), HeadError> {
        // Taking these out would change what the message is, or who sends it, behind the policy's back.
        const END_TO_END: [&[u8]; 7] = [
            b"host",
            b"content-length",
            b"transfer-encoding",
            b"content-encoding",
            b"authorization",
            b"cookie",
            b"expect",
        ];
        if END_TO_END.iter().any(|field| name.eq_ignore_ascii_case(field)) {
            return Err(HeadError::bad("Connection names an end-to-end field"));
        }
        let slot = self
            .names
            .get_mut(self.len)
            .ok_or(HeadError::bad("Connection names too many fields"))?;
        *slot = name;
        self.len += 1;
        Ok(())
    }

    fn contains(&self, name: &[u8]) -> bool {
        self.names
            .iter()
            .take(self.len)
            .any(|nominated| nominated.eq_ignore_ascii_case(name))
    }
}

fn travels(name: &[u8], direction: Direction) -> bool {
    let is = |field: &[u8]| name.eq_ignore_ascii_case(field);
    let hop = match name.len() {
        2 => is(b"te"),
        4 => direction == Direction::Request && is(b"host"),
        6 => direction == Direction::Request && is(b"expect"),
        7 => is(b"upgrade"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 => is(b"content-length") || is(b"http2-settings"),
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        _ => false,
    };
    let claim = direction == Direction::Request && claims_identity(name);
    !hop && !claim
}

/// Fields by which a workload would claim to be somebody. `_` counts as `-`: CGI-like servers read both alike.
pub(crate) fn claims_identity(name: &[u8]) -> bool {
    reads_as(name, b"x-forwarded-client-cert") || name.get(..7).is_some_and(|start| reads_as(start, b"x-weir-"))
}

/// `name` is `field` (in lower case) for a server that does not tell `_` from `-`, or upper from lower case.
pub(crate) fn reads_as(name: &[u8], field: &[u8]) -> bool {
    name.len() == field.len()
        && name.iter().zip(field).all(|(&have, &want)| {
            let have = if have == b'_' { b'-' } else { have.to_ascii_lowercase() };
            have == want
        })
}
