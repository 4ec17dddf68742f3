//! Sockets in all the ways that applications make them.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use weir_tests::protocol::{Dial, Opened};

/// A socket as asked for, not connected.
pub fn socket(dial: &Dial) -> io::Result<Socket> {
    let v6 = dial.to.is_ipv6() || dial.mapped;
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let protocol = if dial.mptcp { Protocol::MPTCP } else { Protocol::TCP };
    let socket = Socket::new(domain, Type::STREAM, Some(protocol))?;
    let limit = Some(Duration::from_millis(dial.timeout_ms));
    // A blocking connect() gives up after the send timeout, with EINPROGRESS (man 7 socket).
    socket.set_write_timeout(limit)?;
    socket.set_read_timeout(limit)?;
    if let Some(device) = &dial.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(address) = dial.bind {
        socket.bind(&SockAddr::from(address))?;
    }
    Ok(socket)
}

/// Connects; the errno is part of the answer, not a failure of the command.
pub fn connect(socket: &Socket, dial: &Dial) -> Opened {
    let start = Instant::now();
    let result = try_connect(socket, dial);
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    match result {
        Ok(()) => Opened {
            conn: None,
            errno: 0,
            ms,
            peer: peer(socket),
            local: local(socket),
        },
        Err(error) => Opened {
            errno: errno(&error),
            ms,
            ..Opened::default()
        },
    }
}

fn try_connect(socket: &Socket, dial: &Dial) -> io::Result<()> {
    let to = SockAddr::from(target(dial));
    if dial.fastopen {
        // The connection is made by the first bytes sent; a request line is what every server here understands.
        return match SockRef::from(socket).send_to_with_flags(b"GET /fastopen HTTP/1.1\r\n", &to, libc::MSG_FASTOPEN) {
            Ok(_) => wait_connected(socket, dial.timeout_ms),
            Err(error) => Err(error),
        };
    }
    if !dial.nonblocking {
        return socket.connect(&to);
    }
    socket.set_nonblocking(true)?;
    let result = match socket.connect(&to) {
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => wait_connected(socket, dial.timeout_ms),
        other => other,
    };
    socket.set_nonblocking(false)?;
    result
}

/// Waits until the handshake is over, one way or the other.
fn wait_connected(socket: &Socket, timeout_ms: u64) -> io::Result<()> {
    let mut poll = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    // SAFETY: one pollfd, alive for the call.
    let ready = unsafe { libc::poll(&mut poll, 1, i32::try_from(timeout_ms).unwrap_or(i32::MAX)) };
    if ready == 0 {
        return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
    }
    socket.take_error()?.map_or(Ok(()), Err)
}

fn target(dial: &Dial) -> SocketAddr {
    match dial.to.ip() {
        IpAddr::V4(v4) if dial.mapped => SocketAddr::new(v4.to_ipv6_mapped().into(), dial.to.port()),
        _ => dial.to,
    }
}

/// `getpeername()`, without the flow label and scope.
pub fn peer(socket: &Socket) -> Option<SocketAddr> {
    socket.peer_addr().ok()?.as_socket()
}

/// `getsockname()`.
pub fn local(socket: &Socket) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

/// The errno of an error, `EPROTO` where it has none.
pub fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EPROTO)
}
