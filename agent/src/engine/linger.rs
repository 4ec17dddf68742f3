//! How a connection ends: with a reset unless we say that it ended well.
//!
//! Bias: the safe side needs no code to run. Listeners carry `SO_LINGER` {1, 0}, which the sockets they accept inherit,
//! and upstream sockets get it before they connect. So whatever ends a connection early (a revoked grant, an error, a
//! panic, `kill -9`) is a reset for both peers and never looks like the clean end of a stream. Only a complete
//! exchange calls [`orderly`] before it lets go.

use std::io;

use tokio::net::{TcpSocket, TcpStream};

/// From now on closing the socket, or a socket it accepts, sends RST and drops what is queued.
///
/// # Errors
/// Those of `setsockopt`; the socket must not be used then.
pub(super) fn abortive(socket: &TcpSocket) -> io::Result<()> {
    socket.set_zero_linger()
}

/// From now on closing the socket sends what is queued, then FIN. If this fails the peer sees a reset: the safe side.
pub(super) fn orderly(stream: &TcpStream) {
    #[expect(
        deprecated,
        reason = "deprecated because of values that block on close; none does not"
    )]
    let _ = stream.set_linger(None);
}
