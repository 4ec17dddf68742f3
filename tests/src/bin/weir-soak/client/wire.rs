//! Sockets, and what their errors mean.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;
use crate::event::Outcome;

/// Connects.
pub fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What an error in front of any answer means: an end of the connection is a refusal, anything else a failure.
pub fn before_an_answer(error: &io::Error) -> Outcome {
    match error.kind() {
        ErrorKind::ConnectionRefused => Outcome::Refused("ECONNREFUSED".into()),
        // NotConnected: what shutdown() says of a connection that was reset.
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted | ErrorKind::NotConnected => {
            Outcome::Refused("reset".into())
        }
        ErrorKind::UnexpectedEof => Outcome::Refused("closed".into()),
        _ => Outcome::Failed(text(error)),
    }
}

/// An error as a line.
pub fn text(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => "time-out".into(),
        ErrorKind::InvalidInput => "its source address is gone".into(),
        _ => error.to_string(),
    }
}

/// The connection was closed by the peer while nobody looked. Bytes that nobody asked for count as closed, too.
pub fn is_stale(stream: &TcpStream) -> bool {
    let mut byte = [0];
    if stream.set_nonblocking(true).is_err() {
        return true;
    }
    let waits = matches!(stream.peek(&mut byte), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).is_err() || !waits
}
