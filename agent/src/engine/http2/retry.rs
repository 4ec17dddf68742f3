//! What an error of a server's connection says about a request.

use h2::{Error, Reason};

/// The likely cause where nothing that came was HTTP/2.
pub(super) const NOT_HTTP2: &str = "the server does not speak http/2";

/// What is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The server has not looked at it (RFC 9113 section 8.7): REFUSED_STREAM, or behind the last stream of a GOAWAY.
    Untouched,
    /// The server has reset the stream for a reason of its own.
    Reset(Reason),
    /// The connection has gone; the server may have seen it.
    Lost,
    /// What the server has sent is no HTTP/2, or no answer.
    Broken,
}

/// Sorts an error that a stream to a server has ended with.
pub(super) fn class(error: &Error) -> Class {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) if error.is_reset() => Class::Untouched,
        // The library ends only streams with it that are behind the last one; others hear of a broken pipe.
        Some(_) if error.is_go_away() && error.is_remote() => Class::Untouched,
        Some(Reason::NO_ERROR | Reason::HTTP_1_1_REQUIRED) => Class::Broken,
        Some(reason) if error.is_reset() && error.is_remote() => Class::Reset(reason),
        Some(_) => Class::Broken,
        None if error.is_io() => Class::Lost,
        None => Class::Broken,
    }
}
