//! Sockets for datagrams, in the ways that applications make them.

use std::io;
use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use weir_tests::protocol::{Answer, Burst, Datagram, Echo, Opened, Udp};

use crate::dial::{errno, local, peer};

/// How long a burst waits for one answer.
const ANSWER: Duration = Duration::from_millis(1000);

/// Open sockets, by number.
#[derive(Default)]
pub struct Sockets(Vec<(Socket, bool)>);

impl Sockets {
    /// Makes a socket. An error of `connect()` is part of the answer.
    pub fn open(&mut self, udp: &Udp) -> Result<Opened> {
        let domain = if udp.v6 { Domain::IPV6 } else { Domain::IPV4 };
        let kind = if udp.raw { Type::RAW } else { Type::DGRAM };
        let protocol = udp.proto.map_or(Protocol::UDP, Protocol::from);
        let socket = Socket::new(domain, kind, Some(protocol)).context("socket")?;
        if let Some(address) = udp.bind {
            socket.bind(&place(address, udp.v6)).context("bind")?;
        }
        let start = Instant::now();
        let result = match udp.connect {
            Some(to) => socket.connect(&place(to, udp.v6)),
            None => Ok(()),
        };
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        if let Err(error) = result {
            return Ok(Opened {
                errno: errno(&error),
                ms,
                ..Opened::default()
            });
        }
        let opened = Opened {
            conn: Some(self.0.len()),
            errno: 0,
            ms,
            peer: peer(&socket),
            local: local(&socket),
        };
        self.0.push((socket, udp.v6));
        Ok(opened)
    }

    /// Sends one datagram.
    pub fn send(&self, number: usize, to: Option<SocketAddr>, text: &str) -> Result<Answer> {
        let (socket, v6) = self.0.get(number).context("no such socket")?;
        let start = Instant::now();
        let result = match to {
            Some(to) => socket.send_to(text.as_bytes(), &place(to, *v6)),
            None => socket.send(text.as_bytes()),
        };
        Ok(Answer::Sent {
            errno: result.err().as_ref().map_or(0, errno),
            ms: start.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// `connect()` of a socket that may be connected already.
    pub fn connect(&self, number: usize, to: SocketAddr) -> Result<Answer> {
        let (socket, v6) = self.0.get(number).context("no such socket")?;
        let start = Instant::now();
        let result = socket.connect(&place(to, *v6));
        Ok(Answer::Sent {
            errno: result.err().as_ref().map_or(0, errno),
            ms: start.elapsed().as_secs_f64() * 1000.0,
        })
    }

    /// Waits for one datagram.
    pub fn receive(&self, number: usize, wait_ms: u64) -> Result<Answer> {
        let (socket, _) = self.0.get(number).context("no such socket")?;
        socket
            .set_read_timeout(Some(Duration::from_millis(wait_ms.max(1))))
            .context("SO_RCVTIMEO")?;
        let mut buffer = [MaybeUninit::<u8>::uninit(); 64 * 1024];
        Ok(Answer::Datagram(match socket.recv_from(&mut buffer) {
            Ok((length, from)) => {
                // SAFETY: recv_from has written the first `length` bytes.
                let bytes: Vec<u8> = buffer[..length]
                    .iter()
                    .map(|byte| unsafe { byte.assume_init() })
                    .collect();
                Datagram {
                    from: from.as_socket(),
                    text: String::from_utf8_lossy(&bytes).into_owned(),
                    errno: 0,
                }
            }
            Err(error) => Datagram {
                errno: errno(&error),
                ..Datagram::default()
            },
        }))
    }

    /// One byte to each of so many addresses.
    pub fn flood(&self, number: usize, first: SocketAddr, count: u32) -> Result<Answer> {
        let (socket, v6) = self.0.get(number).context("no such socket")?;
        let (start, mut last) = (Instant::now(), 0);
        for at in 0..count {
            let ip = match first.ip() {
                IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits().wrapping_add(at))),
                IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits().wrapping_add(at.into()))),
            };
            if let Err(error) = socket.send_to(b"x", &place(SocketAddr::new(ip, first.port()), *v6)) {
                last = errno(&error);
            }
        }
        Ok(Answer::Sent {
            errno: last,
            ms: start.elapsed().as_secs_f64() * 1000.0,
        })
    }
}

/// As the socket's family writes it.
fn place(address: SocketAddr, v6: bool) -> SockAddr {
    match address.ip() {
        IpAddr::V4(ip) if v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()).into(),
        _ => address.into(),
    }
}

/// Sends so many datagrams, each with text of its own and from a socket of its own, and collects the answers.
pub fn burst(to: SocketAddr, count: u32, connect: bool) -> Result<Burst> {
    let any: SocketAddr = if to.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let mut burst = Burst::default();
    for number in 0..count {
        let socket = UdpSocket::bind(any).context("bind")?;
        socket.set_read_timeout(Some(ANSWER)).context("SO_RCVTIMEO")?;
        let text = format!("{}-{number}", std::process::id());
        let sent = match connect {
            true => socket.connect(to).and_then(|()| socket.send(text.as_bytes())),
            false => socket.send_to(text.as_bytes(), to),
        };
        if sent.is_err() {
            burst.refused += 1;
            continue;
        }
        match answer(&socket, &text) {
            Ok((echo, from)) => {
                burst.strange += u32::from(from != to);
                *burst.answers.entry(echo.name).or_default() += 1;
            }
            Err(_) => burst.lost += 1,
        }
    }
    Ok(burst)
}

fn answer(socket: &UdpSocket, text: &str) -> io::Result<(Echo, SocketAddr)> {
    let mut buffer = [0; 2048];
    let (length, from) = socket.recv_from(&mut buffer)?;
    let echo: Echo = serde_json::from_slice(&buffer[..length]).map_err(io::Error::other)?;
    if echo.text != text {
        return Err(io::Error::other("an answer to somebody else"));
    }
    Ok((echo, from))
}
