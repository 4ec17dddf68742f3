//! HTTP/1.1 without I/O: heads in and out, bodies, fixed answers (RFC 9112, RFC 9110).
//!
//! Bias: strict over compatible. httparse is the tokenizer; what a message means is judged here, over the raw bytes,
//! and what is framed doubtfully is refused with a status and the connection closed. What is forwarded is written
//! anew, in canonical form, so that policy and back-end see the same request. `docs/http1.md` has the table of forms.
//!
//! Nothing here owns a buffer: heads borrow from the caller's, and a [`Body`] is a few words of state, owned by the
//! caller. A caller reads into a buffer of its own, and:
//!
//! 1. [`parse_request`]: `None` asks for more bytes; a [`HeadError`] is answered with [`refusal()`] and a close.
//! 2. Policy sees the head ([`RequestHead`] is a [`crate::matcher::RequestView`]).
//! 3. [`write_request`] into the upstream's output; then [`RequestHead::head_len`] bytes of the input are done with.
//! 4. [`Body::new`] of the head's framing, and [`Body::advance`] over the bytes that follow until it says `done`. The
//!    bytes behind belong to the next message.
//! 5. [`parse_response`] on the upstream's bytes, as often as it gives an interim (1xx) head and once more;
//!    [`write_response`], which says how the body is to be forwarded and whether the client's connection stays.
//!
//! `Expect: 100-continue` travels end to end: it is written to the back-end, the back-end's 100 is an interim response
//! like any other and goes back to the client, and the body is relayed whenever it comes. Nobody here sends a 100 by
//! itself. It is dropped (as RFC 9110 section 10.1.1 has it) from HTTP/1.0 requests and from requests without a body;
//! another expectation is a 417.
//!
//! `Upgrade` is forwarded from requests that ask for one without doubt ([`RequestHead::upgrade`]). A 101 is an answer to
//! those only ([`parse_response_to`]); what follows it on both connections is no HTTP.
//!
//! Deliberately absent: `Via` (the mesh is transparent), upgrades to other forms of HTTP, CONNECT, HTTP/0.9, and any
//! transfer coding but `chunked`.

mod authority;
mod body;
mod chunked;
mod error;
mod fields;
mod head;
mod judge;
mod refusal;
mod request;
mod response;
pub(crate) mod target;
mod trailers;
mod upgrade;
mod write;

pub(crate) use authority::is_authority;
pub use authority::without_port;
pub use body::{Body, BodyError, BodyMode, Step};
pub use error::HeadError;
pub use fields::{Field, Fields};
pub(crate) use fields::{claims_identity, reads_as};
pub use refusal::{reason_phrase, refusal};
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response, parse_response_to};
pub(crate) use trailers::forbidden_in_trailers;
pub use upgrade::Upgrade;
pub use write::{Downstream, Sent, Upstream, write_request, write_response};

/// Most header fields that [`Limits::headers`] can ask for.
pub const MAX_HEADERS: usize = 128;

/// Interim responses (1xx) that one request may get; more are a fault of the server, and a 502.
pub const MAX_INTERIM: usize = 32;

/// What a message may take up. All sizes in bytes, line ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The whole head, from its first byte to its empty line. A caller's buffer must hold as much. Default 32 KiB:
    /// room for large cookies, and twice what Node.js takes.
    pub head_bytes: usize,
    /// Header fields of one head, and trailer fields of one body; no more than [`MAX_HEADERS`] count. Default 100.
    pub headers: usize,
    /// The line of one chunk's size with its extensions. Default 256.
    pub chunk_line_bytes: usize,
    /// The trailer section. A caller's buffer must hold as much. Default 8 KiB.
    pub trailer_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes: 32 * 1024,
            headers: 100,
            chunk_line_bytes: 256,
            trailer_bytes: 8 * 1024,
        }
    }
}

/// The version of a message. A minor version above 1 is refused with 505, like every other major one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// There is no body.
    Empty,
    /// So many bytes; below 2^63.
    Length(u64),
    /// Chunks up to the last one, and a trailer section.
    Chunked,
    /// All bytes until the peer closes. Responses only.
    UntilClose,
}

#[cfg(test)]
mod tests;
