//! Fixed answers: what Weir says by itself instead of forwarding.

use super::write::{status_digits, write_decimal};

/// Appends a complete HTTP/1.1 response of `status` (400 to 599) with `reason` and a line end as its text/plain body.
///
/// `close` says so in the head; the caller then closes. It must be set behind a [`super::HeadError`], for a request
/// whose body was not read to its end, and for HTTP/1.0 clients. `head_request` leaves the body out and keeps its
/// length. No `Date`: there is no clock here, and RFC 9110 section 6.6.1 allows that without one.
pub fn refusal(status: u16, reason: &str, close: bool, head_request: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&status_digits(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ");
    write_decimal(reason.len() as u64 + 1, out);
    out.extend_from_slice(if close {
        b"\r\nConnection: close\r\n\r\n"
    } else {
        b"\r\n\r\n"
    });
    if !head_request {
        out.extend_from_slice(reason.as_bytes());
        out.push(b'\n');
    }
}

/// The usual phrase of a status that Weir answers with; `Refused` for any other.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        403 => "Forbidden",
        408 => "Request Timeout",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    }
}
