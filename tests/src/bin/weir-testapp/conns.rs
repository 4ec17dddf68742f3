//! Connections of a session: requests and raw bytes on one buffered stream.

use std::io::{self, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{SockRef, Socket};
use weir_tests::http::{self, Framing};
use weir_tests::pattern::{self, Sum};
use weir_tests::protocol::{Request, Response, Stream};

use crate::dial::errno;

/// Longest body that is passed on as text.
const KEEP: usize = 64 * 1024;

/// A connection, or a socket that is to become one.
pub struct Conn {
    pub reader: BufReader<TcpStream>,
}

impl Conn {
    pub fn new(socket: Socket) -> Conn {
        Conn {
            reader: BufReader::with_capacity(64 * 1024, socket.into()),
        }
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// One request and its response. What goes wrong is told in the response.
    pub fn http(&mut self, request: &Request) -> Response {
        let start = Instant::now();
        let mut response = Response::default();
        if let Err(error) = self.exchange(request, &mut response) {
            response.errno = errno(&error);
            response.error = Some(error.to_string());
        }
        response.ms = start.elapsed().as_secs_f64() * 1000.0;
        response
    }

    fn exchange(&mut self, request: &Request, response: &mut Response) -> io::Result<()> {
        self.stream().write_all(head(request).as_bytes())?;
        // A server may refuse before it has read the body, and close: the answer is read even where the body
        // could not be sent, or was no longer asked for.
        let mut first = if request.expect { Some(self.head()?) } else { None };
        let go_on = first.as_ref().is_none_or(|head| head.start[1] == "100");
        let body = request.body > 0 || request.chunked;
        let sent = if go_on && body { self.send_body(request) } else { Ok(()) };
        if go_on && let Some(head) = first.take() {
            response.interim.push(head.start[1].parse().unwrap_or(0));
        }
        let head = loop {
            let head = match first.take().map_or_else(|| self.head(), Ok) {
                Ok(head) => head,
                Err(error) => return Err(sent.err().unwrap_or(error)),
            };
            match head.start[1].parse().unwrap_or(0) {
                status @ 100..=199 => response.interim.push(status),
                status => {
                    response.status = status;
                    break head;
                }
            }
        };
        let framing = match response.status {
            204 | 304 => Framing::Empty,
            _ if request.method == "HEAD" => Framing::Empty,
            _ => http::framing(&head, Framing::Close)?,
        };
        response.headers = head.headers;
        let body = http::read_body(&mut self.reader, framing, KEEP)?;
        (response.len, response.sum, response.trailers) = (body.sum.len, body.sum.sum, body.trailers);
        if body.sum.len <= KEEP as u64 {
            response.body = String::from_utf8(body.bytes).unwrap_or_default();
        }
        Ok(())
    }

    fn send_body(&self, request: &Request) -> io::Result<()> {
        http::write_pattern(&mut self.stream(), request.body, request.chunked)
    }

    fn head(&mut self) -> io::Result<http::Head> {
        let closed = || io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a response");
        http::read_head(&mut self.reader)?.ok_or_else(closed)
    }

    /// Sends the pattern; how much went out, and the error that stopped it.
    pub fn send_pattern(&self, len: u64) -> Stream {
        let (mut sum, mut buffer, mut errno_seen) = (Sum::default(), vec![0; 64 * 1024], 0);
        while sum.len < len {
            let size = usize::try_from(len - sum.len).map_or(buffer.len(), |left| left.min(64 * 1024));
            pattern::fill(&mut buffer[..size], sum.len);
            match self.stream().write(&buffer[..size]) {
                Ok(written) => sum.add(&buffer[..written]),
                Err(error) => {
                    errno_seen = errno(&error);
                    break;
                }
            }
        }
        Stream {
            len: sum.len,
            sum: sum.sum,
            fin: false,
            errno: errno_seen,
        }
    }

    /// Reads to the end, or `len` bytes.
    pub fn read(&mut self, len: Option<u64>) -> Stream {
        read(&mut self.reader, len)
    }

    /// Ends both directions at once with a reset (`SO_LINGER` 0).
    pub fn reset(self) -> Result<()> {
        SockRef::from(self.stream())
            .set_linger(Some(Duration::ZERO))
            .context("SO_LINGER")
    }
}

/// Reads to the end, or `len` bytes; checksum, and how it ended.
pub fn read(reader: &mut impl Read, len: Option<u64>) -> Stream {
    let (mut sum, mut buffer) = (Sum::default(), vec![0; 64 * 1024]);
    let mut stream = Stream::default();
    while len.is_none_or(|len| sum.len < len) {
        let left = len.map_or(u64::MAX, |len| len - sum.len);
        let size = usize::try_from(left).map_or(buffer.len(), |left| left.min(64 * 1024));
        match reader.read(&mut buffer[..size]) {
            Ok(0) => {
                stream.fin = true;
                break;
            }
            Ok(size) => sum.add(&buffer[..size]),
            Err(error) => {
                stream.errno = errno(&error);
                break;
            }
        }
    }
    Stream {
        len: sum.len,
        sum: sum.sum,
        ..stream
    }
}

fn head(request: &Request) -> String {
    let mut head = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        request.method, request.path, request.host
    );
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if request.chunked {
        head += "transfer-encoding: chunked\r\ntrailer: x-sum\r\n";
    } else if request.body > 0 {
        head += &format!("content-length: {}\r\n", request.body);
    }
    if request.expect {
        head += "expect: 100-continue\r\n";
    }
    head + "\r\n"
}
