//! A TCP segment with SYN, written by hand to a raw socket: a client that no connect() hook sees.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// Sends one SYN and says what came back: `syn-ack`, `rst`, or `nothing` within `wait_ms`.
pub fn send(from: SocketAddr, to: SocketAddr, wait_ms: u64) -> Result<&'static str> {
    let domain = Domain::for_address(to);
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::TCP)).context("raw socket (CAP_NET_RAW)")?;
    socket
        .set_read_timeout(Some(Duration::from_millis(50)))
        .context("SO_RCVTIMEO")?;
    let mut segment = segment(from.port(), to.port());
    let sum = checksum(from, to, &segment)?;
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut target = to;
    // A raw IPv6 socket refuses any port but 0 or its protocol.
    target.set_port(0);
    socket
        .send_to(&segment, &SockAddr::from(target))
        .with_context(|| format!("sending a SYN to {to}"))?;

    let end = Instant::now() + Duration::from_millis(wait_ms);
    let mut buffer = [MaybeUninit::<u8>::uninit(); 2048];
    while Instant::now() < end {
        let (size, sender) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error).context("waiting for the answer"),
        };
        // SAFETY: recv_from has written the first `size` bytes.
        let packet: Vec<u8> = buffer[..size]
            .iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect();
        // IPv4 raw sockets see the IP header, IPv6 ones do not (RFC 3542, section 3).
        let skip = if to.is_ipv4() {
            packet.first().map_or(0, |byte| usize::from(byte & 0x0f) * 4)
        } else {
            0
        };
        let Some(tcp) = packet.get(skip..).filter(|tcp| tcp.len() >= 20) else {
            continue;
        };
        let ports = (
            u16::from_be_bytes([tcp[0], tcp[1]]),
            u16::from_be_bytes([tcp[2], tcp[3]]),
        );
        let same = sender.as_socket().is_some_and(|sender| sender.ip() == to.ip());
        if !same || ports != (to.port(), from.port()) {
            continue;
        }
        match tcp[13] {
            flags if flags & RST != 0 => return Ok("rst"),
            flags if flags & (SYN | ACK) == SYN | ACK => return Ok("syn-ack"),
            _ => {}
        }
    }
    Ok("nothing")
}

fn segment(source: u16, destination: u16) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[0..2].copy_from_slice(&source.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.to_be_bytes());
    segment[4..8].copy_from_slice(&0x1234_5678_u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = SYN;
    segment[14..16].copy_from_slice(&64240_u16.to_be_bytes());
    segment
}

/// The Internet checksum over pseudo header and segment (RFC 9293, section 3.1).
fn checksum(from: SocketAddr, to: SocketAddr, segment: &[u8]) -> Result<u16> {
    let mut bytes = Vec::new();
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            bytes.extend(from.ip().octets());
            bytes.extend(to.ip().octets());
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            bytes.extend(from.ip().octets());
            bytes.extend(to.ip().octets());
        }
        _ => bail!("{from} and {to} are of different families"),
    }
    bytes.extend([0, 6, 0, segment.len() as u8]);
    bytes.extend(segment);
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    Ok(!(sum as u16))
}
