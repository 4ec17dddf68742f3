//! A packet with a source address of choice, written by hand to a raw socket.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use weir_tests::protocol::Answer;

const IPPROTO_RAW: i32 = 255;
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOP_LIMIT: u8 = 64;

/// Sends one packet of protocol `proto`; where that is UDP, `text` is what the datagram carries, and
/// where it is TCP, `SYN` is such a segment.
pub fn send(from: SocketAddr, to: SocketAddr, proto: u8, text: &[u8]) -> Result<Answer> {
    let payload = if proto == UDP {
        datagram(from, to, text)?
    } else if proto == TCP && text == b"SYN" {
        segment(from, to)?
    } else {
        text.to_vec()
    };
    let packet = packet(from, to, proto, &payload)?;
    // IPPROTO_RAW: the header is part of what is sent (man 7 raw), for both families.
    let domain = Domain::for_address(to);
    let socket =
        Socket::new(domain, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).context("raw socket (CAP_NET_RAW)")?;
    let mut target = to;
    target.set_port(0);
    let start = Instant::now();
    let result = socket.send_to(&packet, &SockAddr::from(target));
    Ok(Answer::Sent {
        errno: result.err().as_ref().map_or(0, crate::dial::errno),
        ms: start.elapsed().as_secs_f64() * 1000.0,
    })
}

fn packet(from: SocketAddr, to: SocketAddr, proto: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = Vec::new();
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            // RFC 791, 3.1; the kernel fills in length and checksum.
            packet.extend([0x45, 0, 0, 0, 0, 0, 0, 0, HOP_LIMIT, proto, 0, 0]);
            packet.extend(from.ip().octets());
            packet.extend(to.ip().octets());
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            // RFC 8200, 3.
            packet.extend([0x60, 0, 0, 0]);
            packet.extend(u16::try_from(payload.len())?.to_be_bytes());
            packet.extend([proto, HOP_LIMIT]);
            packet.extend(from.ip().octets());
            packet.extend(to.ip().octets());
        }
        _ => bail!("{from} and {to} are of different families"),
    }
    packet.extend(payload);
    Ok(packet)
}

/// RFC 768, with the checksum that IPv6 wants.
fn datagram(from: SocketAddr, to: SocketAddr, text: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(text.len() + 8)?;
    let mut datagram = Vec::new();
    for number in [from.port(), to.port(), length, 0] {
        datagram.extend(number.to_be_bytes());
    }
    datagram.extend(text);
    // 0 would say that there is none.
    let sum = match checksum(from, to, UDP, &datagram)? {
        0 => 0xffff,
        sum => sum,
    };
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    Ok(datagram)
}

/// RFC 9293, 3.1: a SYN without options.
fn segment(from: SocketAddr, to: SocketAddr) -> Result<Vec<u8>> {
    let mut segment = Vec::new();
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    let sum = checksum(from, to, TCP, &segment)?;
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    Ok(segment)
}

/// Over the pseudo header and what follows (RFC 768, RFC 8200, 8.1).
fn checksum(from: SocketAddr, to: SocketAddr, proto: u8, payload: &[u8]) -> Result<u16> {
    let mut sum: u32 = u32::from(proto) + u32::try_from(payload.len())?;
    let mut add = |bytes: &[u8]| {
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        }
    };
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            add(&from.ip().octets());
            add(&to.ip().octets());
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            add(&from.ip().octets());
            add(&to.ip().octets());
        }
        _ => bail!("{from} and {to} are of different families"),
    }
    add(payload);
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    Ok(!(sum as u16))
}
