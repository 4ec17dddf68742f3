//! What a matcher sees of a request.

use crate::http1::{Field, RequestHead};

/// A request as the matcher sees it: a parsed head in the engine, a [`Probe`] on the command line.
pub trait RequestView {
    /// The method, as sent.
    fn method(&self) -> &[u8];
    /// The canonical path, without the query.
    fn path(&self) -> &[u8];
    /// `host[:port]`; `None` if the request names none.
    fn authority(&self) -> Option<&[u8]>;
    /// The header fields that the back-end will see, in order; `host` not among them.
    fn fields(&self) -> impl Iterator<Item = Field<'_>>;
}

impl RequestView for RequestHead<'_> {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn authority(&self) -> Option<&[u8]> {
        self.authority
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let upgrade = self.upgrade.iter().flat_map(|upgrade| upgrade.fields());
        self.fields.iter().chain(upgrade)
    }
}

/// A request that nobody sent: what `weir explain` asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The method, case-sensitive.
    pub method: String,
    /// The path; the caller has it canonicalised ([`crate::path::canonicalise`]).
    pub path: Vec<u8>,
    /// `host[:port]`.
    pub authority: Option<String>,
    /// Names and values, in order.
    pub headers: Vec<(String, String)>,
}

impl RequestView for Probe {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
    }

    fn path(&self) -> &[u8] {
        &self.path
    }

    fn authority(&self) -> Option<&[u8]> {
        self.authority.as_deref().map(str::as_bytes)
    }

    fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
    }
}

/// The values of all lines of the header `name` (in lower case).
pub(super) fn values<'r>(request: &'r impl RequestView, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    request
        .fields()
        .filter(move |(have, _)| have.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value)
}

/// What joins the lines of one header (RFC 9110 section 5.3, RFC 9113 section 8.2.3).
pub(super) fn separator(name: &str) -> &'static [u8] {
    if name == "cookie" { b"; " } else { b", " }
}
