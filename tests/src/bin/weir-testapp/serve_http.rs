//! The HTTP/1.1 server. Any path is answered with what the server saw; a few do something special:
//! `/bytes/N` and `/chunked/N` send the pattern, `/slow/MS` waits first, `/status/CODE` answers without a body,
//! a request for the protocol `echo` gets a 101 and then its bytes back,
//! `/early` answers before the body of the request is read and closes, `/close` closes behind the answer.

use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use weir_tests::http::{self, Framing, Head};
use weir_tests::protocol::Seen;

use crate::serve::Server;

pub fn connection(_: &Server, stream: TcpStream, mut seen: Seen) {
    // The client sees the closed connection; nobody here wants to know more.
    let _ = serve(stream, &mut seen);
}

fn serve(stream: TcpStream, seen: &mut Seen) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(64 * 1024, stream);
    while let Some(head) = http::read_head(&mut reader)? {
        let [method, target, version] = head.start.clone();
        let path = target.split('?').next().unwrap_or_default().to_string();
        seen.request += 1;
        (seen.method, seen.path, seen.headers) = (method, target, head.headers.clone());
        if path == "/early" {
            writer.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nearly")?;
            return Ok(());
        }
        if head.has("expect", "100-continue") {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        if head.get("upgrade") == Some("echo") {
            let name = &seen.name;
            write!(
                writer,
                "HTTP/1.1 101 Now\r\nserver: {name}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
            )?;
            return io::copy(&mut reader, &mut writer).map(drop);
        }
        let body = http::read_body(&mut reader, http::framing(&head, Framing::Empty)?, 0)?;
        (seen.len, seen.sum) = (body.sum.len, body.sum.sum);
        let close = head.has("connection", "close") || path == "/close" || version != "HTTP/1.1";
        answer(&mut writer, &head, &path, seen, close)?;
        if close {
            return Ok(());
        }
    }
    Ok(())
}

fn answer(writer: &mut TcpStream, head: &Head, path: &str, seen: &Seen, close: bool) -> io::Result<()> {
    let (kind, argument) = path[1.min(path.len())..].split_once('/').unwrap_or_default();
    let number: u64 = argument.parse().unwrap_or(0);
    let close = if close { "connection: close\r\n" } else { "" };
    // A client that numbers its requests sees which one was answered.
    let id = head.get("x-id").map_or(String::new(), |id| format!("x-id: {id}\r\n"));
    let common = format!("server: {}\r\n{id}{close}", seen.name);
    let no_body = head.start[0] == "HEAD";
    match kind {
        "bytes" => {
            write!(writer, "HTTP/1.1 200 OK\r\n{common}content-length: {number}\r\n\r\n")?;
            if no_body {
                Ok(())
            } else {
                http::write_pattern(writer, number, false)
            }
        }
        "chunked" => {
            write!(
                writer,
                "HTTP/1.1 200 OK\r\n{common}transfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n"
            )?;
            if no_body {
                Ok(())
            } else {
                http::write_pattern(writer, number, true)
            }
        }
        "status" => write!(
            writer,
            "HTTP/1.1 {number} As-Asked\r\n{common}{}\r\n",
            match number {
                204 | 304 => "",
                _ => "content-length: 0\r\n",
            }
        ),
        _ => {
            if kind == "slow" {
                thread::sleep(Duration::from_millis(number));
            }
            let body = serde_json::to_string(seen)? + "\n";
            let len = body.len();
            let body = if no_body { "" } else { &body };
            let text = format!(
                "HTTP/1.1 200 OK\r\n{common}content-type: application/json\r\ncontent-length: {len}\r\n\r\n{body}"
            );
            writer.write_all(text.as_bytes())
        }
    }
}
