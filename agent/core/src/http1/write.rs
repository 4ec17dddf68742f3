//! Heads for the next hop, in canonical form.
//!
//! One space, one CRLF, one framing field written here, `Host` first, no field of the hop behind us.

use bytes::BufMut;

use super::{BodyMode, Framing, RequestHead, ResponseHead, Upgrade, Version};

/// What a request needs to know of the connection that it is written to.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// `Host` for a request without one (HTTP/1.0 only): the address that the client asked for, `host[:port]`.
    pub authority: &'a [u8],
    /// Ask the back-end to close behind its response.
    pub close: bool,
}

/// What a response needs to know of the connection that it is written to.
#[derive(Clone, Copy, Debug)]
pub struct Downstream {
    /// The version of the request that is answered.
    pub version: Version,
    /// The client wants to keep its connection, and so do we.
    pub keep_alive: bool,
}

/// What became of a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// How the body is to be forwarded: an HTTP/1.0 client gets a chunked body as data alone, up to a close.
    pub body: BodyMode,
    /// The client's connection stays open behind this response.
    pub keep_alive: bool,
}

/// Appends `head` as an HTTP/1.1 request in origin form. `out` must grow by itself (`Vec<u8>`, `BytesMut`).
pub fn write_request(head: &RequestHead<'_>, upstream: Upstream<'_>, out: &mut impl BufMut) {
    out.put_slice(head.method.as_bytes());
    out.put_u8(b' ');
    out.put_slice(&head.path);
    if let Some(query) = head.query {
        out.put_u8(b'?');
        out.put_slice(query);
    }
    out.put_slice(b" HTTP/1.1\r\nHost: ");
    out.put_slice(head.authority.unwrap_or(upstream.authority));
    out.put_slice(b"\r\n");
    let chunked = head.framing == Framing::Chunked;
    write_fields(head.fields.iter(), chunked, out);
    if head.expect_continue {
        out.put_slice(b"Expect: 100-continue\r\n");
    }
    write_framing(head.framing, out);
    if let Some(upgrade) = &head.upgrade {
        write_upgrade(upgrade, out);
    } else if upstream.close {
        out.put_slice(b"Connection: close\r\n");
    }
    out.put_slice(b"\r\n");
}

/// Appends `head` as an HTTP/1.1 response. `out` must grow by itself (`Vec<u8>`, `BytesMut`).
///
/// An interim head is written without `Connection`; the caller leaves it out for HTTP/1.0 clients.
pub fn write_response(head: &ResponseHead<'_>, downstream: Downstream, out: &mut impl BufMut) -> Sent {
    let old = downstream.version == Version::Http10;
    let unframed = head.framing == Framing::UntilClose || old && head.framing == Framing::Chunked;
    let keep_alive = downstream.keep_alive && !unframed;
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(&status_digits(head.status));
    out.put_u8(b' ');
    out.put_slice(head.reason.as_bytes());
    out.put_slice(b"\r\n");
    let chunked = head.declared == Framing::Chunked && !old;
    write_fields(head.fields.iter(), chunked, out);
    if head.declared != Framing::Chunked || chunked {
        write_framing(head.declared, out);
    }
    if let Some(upgrade) = &head.upgrade {
        write_upgrade(upgrade, out);
    } else if !head.is_interim() {
        match keep_alive {
            false => out.put_slice(b"Connection: close\r\n"),
            true if old => out.put_slice(b"Connection: keep-alive\r\n"),
            true => {}
        }
    }
    out.put_slice(b"\r\n");
    Sent {
        body: if old { BodyMode::Data } else { BodyMode::Wire },
        keep_alive,
    }
}

/// `Trailer` is kept only where trailers can follow.
fn write_fields<'b>(fields: impl Iterator<Item = super::Field<'b>>, chunked: bool, out: &mut impl BufMut) {
    for (name, value) in fields {
        if !chunked && name.eq_ignore_ascii_case(b"trailer") {
            continue;
        }
        out.put_slice(name);
        out.put_slice(b": ");
        out.put_slice(value);
        out.put_slice(b"\r\n");
    }
}

/// `Upgrade` and the one form of `Connection` that goes with it.
fn write_upgrade(upgrade: &Upgrade<'_>, out: &mut impl BufMut) {
    out.put_slice(b"Upgrade: ");
    for (index, protocol) in upgrade.protocols().enumerate() {
        if index > 0 {
            out.put_slice(b", ");
        }
        out.put_slice(protocol);
    }
    out.put_slice(b"\r\nConnection: upgrade\r\n");
}

fn write_framing(framing: Framing, out: &mut impl BufMut) {
    match framing {
        Framing::Empty | Framing::UntilClose => {}
        Framing::Chunked => out.put_slice(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.put_slice(b"Content-Length: ");
            write_decimal(length, out);
            out.put_slice(b"\r\n");
        }
    }
}

/// Appends `value` in decimal, without an allocation.
pub(super) fn write_decimal(mut value: u64, out: &mut impl BufMut) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        start -= 1;
        if value == 0 {
            break;
        }
    }
    out.put_slice(digits.get(start..).unwrap_or_default());
}

/// A status of three digits.
pub(super) fn status_digits(status: u16) -> [u8; 3] {
    [100, 10, 1].map(|unit| b'0' + (status / unit % 10) as u8)
}
