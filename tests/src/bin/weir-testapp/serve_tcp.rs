//! Plain TCP servers. Each says on standard output how a connection ended.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use serde_json::json;
use socket2::SockRef;
use weir_tests::http;
use weir_tests::protocol::{Seen, Stream};

use crate::conns;
use crate::dial::errno;
use crate::serve::Server;

/// Says who the peer is, then echoes; when the peer has sent everything, ends its own direction too.
pub fn whoami(_: &Server, mut stream: TcpStream, seen: Seen) {
    let ended = io_stream(|| {
        stream.set_nodelay(true)?;
        writeln!(stream, "{}", serde_json::to_string(&seen)?)?;
        let mut buffer = [0; 16 * 1024];
        let mut len = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                size => {
                    len += size as u64;
                    stream.write_all(&buffer[..size])?;
                }
            }
        }
        stream.shutdown(Shutdown::Write)?;
        Ok(Stream {
            len,
            fin: true,
            ..Stream::default()
        })
    });
    report("whoami", &seen, &ended);
}

/// Reads everything, answers with length and checksum, closes.
pub fn sink(_: &Server, mut stream: TcpStream, seen: Seen) {
    let received = conns::read(&mut stream, None);
    if received.fin {
        let _ = serde_json::to_string(&received).map(|text| writeln!(stream, "{text}"));
    }
    report("sink", &seen, &received);
}

/// Reads a line with a number, sends that many bytes of the pattern, closes.
pub fn source(_: &Server, stream: TcpStream, seen: Seen) {
    let ended = io_stream(|| {
        let mut reader = BufReader::new(stream);
        let len = http::read_line(&mut reader)?.trim().parse().map_err(io::Error::other)?;
        http::write_pattern(reader.get_mut(), len, false)?;
        Ok(Stream {
            len,
            ..Stream::default()
        })
    });
    report("source", &seen, &ended);
}

/// Reads a line, then resets the connection.
pub fn reset(_: &Server, stream: TcpStream, seen: Seen) {
    let ended = io_stream(|| {
        let mut reader = BufReader::new(stream);
        let line = http::read_line(&mut reader)?;
        SockRef::from(reader.get_ref()).set_linger(Some(Duration::ZERO))?;
        Ok(Stream {
            len: line.len() as u64,
            ..Stream::default()
        })
    });
    report("reset", &seen, &ended);
}

/// Accepts and never reads: what a peer sends piles up.
pub fn silent(_: &Server, stream: TcpStream, _: Seen) {
    thread::sleep(Duration::from_secs(3600));
    drop(stream);
}

fn io_stream(work: impl FnOnce() -> io::Result<Stream>) -> Stream {
    work().unwrap_or_else(|error| Stream {
        errno: errno(&error),
        ..Stream::default()
    })
}

fn report(mode: &str, seen: &Seen, stream: &Stream) {
    println!(
        "{}",
        json!({ "mode": mode, "connection": seen.connection, "peer": seen.peer, "stream": stream })
    );
}
