//! Doubtful HTTP as data: what one side sends, and what becomes of it. The files of HTTP/1.1 are in `http1/`; those of
//! HTTP/2 are in `http2/` and have cases of their own ([`http2`]).
//!
//! Bias: bytes, not intentions. A case says what goes over the wire on either side of the mesh, so that the same files
//! run against the codec alone (`agent/core/tests/corpus.rs`), against the engine on loopback
//! (`agent/tests/engine/corpus.rs`) and through whole agents (`tests/tests/corpus.rs`). Nothing here knows the product.
//!
//! A file has a default `rfc` and a list of `cases`; [`Case`] has the keys. Byte strings are YAML strings in which each
//! character below U+0100 is one byte: `"\r\n"`, `"\0"`, `"\xe9"`. A line that ends in `\` goes on in the next one, whose
//! indent does not count.
//!
//! In every runner a client may send anything but paths that begin with `/secret`: these are a 403. Each runner sends
//! [`PROBE`] behind what the client sends, on the same connection: it is served if and only if the connection is kept.

mod bytes;
mod check;
pub mod http2;
mod read;
pub mod tape;
mod wire;

pub use bytes::Bytes;
pub use check::{Ends, check};
pub use read::{File, all, dir, files};
pub use wire::{answers, complete_requests};

use serde::Deserialize;

/// What a server answers where a case does not say so.
pub const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What the client sends where a case does not say so; also what a server gets then.
pub const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: store\r\n\r\n";

/// The request behind each case, in canonical form already.
pub const PROBE: &[u8] = b"GET /probe HTTP/1.1\r\nHost: store\r\n\r\n";

/// What the server answers to [`PROBE`].
pub const PROBED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nprobed";

/// One case: what goes in, and what has to come out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// Unique among all files: words of lower case, joined by `-`.
    pub name: String,
    /// Where it is written, if not what the file says: `RFC 9112 section 6.3`.
    #[serde(default)]
    pub rfc: String,
    /// What the client sends: one request, several, or none. [`GET`] where it is left out.
    #[serde(default = "get")]
    pub sends: Bytes,
    /// What the server answers to the first request. [`OK`] where it is left out, and to all others.
    #[serde(default = "ok")]
    pub answers: Bytes,
    /// What the server does behind its answer.
    #[serde(default)]
    pub server: Server,
    /// The final statuses that the client gets, in order; one may stand alone.
    #[serde(default)]
    status: Statuses,
    /// What then becomes of the client's connection. Left out: closed behind a status that refuses a message, kept behind
    /// any other.
    #[serde(default)]
    then: Option<Then>,
    /// What the server gets, byte for byte. Left out: nothing where `sends` is there, else [`GET`].
    #[serde(default)]
    gets: Option<Bytes>,
    /// What the client gets, byte for byte. Left out: not compared beyond the statuses.
    pub receives: Option<Bytes>,
    /// For a fault inside a body: how much has passed (to the server, or in an answer to the client) before it was seen,
    /// if the bytes came one by one. If they came at once, nothing has.
    pub in_pieces: Option<Bytes>,
    /// What becomes of the server's connection. Left out: reused where the client's is kept, else not compared.
    pub upstream: Option<Upstream>,
}

/// What a server does behind its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// Waits for the next request.
    #[default]
    Stays,
    /// Closes in order.
    Closes,
}

/// What becomes of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// The next request on it is served.
    Keep,
    /// It ends in order; nothing more of it is served.
    Close,
    /// It is reset: the client must not take what it has for the whole.
    Reset,
    /// More bytes are waited for. No probe is sent.
    Wait,
}

/// What becomes of a server's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upstream {
    /// The next request uses it.
    Reused,
    /// The next request uses another.
    Dropped,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(untagged)]
enum Statuses {
    #[default]
    None,
    One(u16),
    Many(Vec<u16>),
}

impl Case {
    /// The final statuses that the client gets, in order.
    pub fn statuses(&self) -> Vec<u16> {
        match &self.status {
            Statuses::None => Vec::new(),
            Statuses::One(status) => vec![*status],
            Statuses::Many(statuses) => statuses.clone(),
        }
    }

    /// What becomes of the client's connection.
    pub fn then(&self) -> Then {
        let refused = |status: &u16| matches!(status, 400 | 408 | 414 | 417 | 431 | 501 | 505);
        match (self.then, self.statuses().last()) {
            (Some(then), _) => then,
            (None, None) => Then::Wait,
            (None, Some(status)) if refused(status) => Then::Close,
            (None, Some(_)) => Then::Keep,
        }
    }

    /// What the server gets, byte for byte, without the probe.
    pub fn gets(&self) -> &[u8] {
        match &self.gets {
            Some(bytes) => bytes,
            None if self.sends.as_ref() == GET => GET,
            None => b"",
        }
    }

    /// Whether the next request must, or must not, use the same connection to the server; `None`: either.
    pub fn reuses(&self) -> Option<bool> {
        match self.upstream {
            Some(upstream) => Some(upstream == Upstream::Reused),
            None if self.then() == Then::Keep && !self.gets().is_empty() => Some(true),
            None => None,
        }
    }

    /// The fault is in the answer's body, not in the request's.
    pub fn breaks_in_the_answer(&self) -> bool {
        self.in_pieces.is_some() && self.answers.as_ref() != OK
    }
}

fn get() -> Bytes {
    Bytes::from(GET)
}

fn ok() -> Bytes {
    Bytes::from(OK)
}
