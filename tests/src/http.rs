//! A plain HTTP/1.1 reader and writer for server and client of the test application.
//!
//! Bias: it says what arrived, byte for byte, and repairs nothing. It is not the product's codec and shares no code.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use crate::pattern::{self, Sum};

/// Start line and headers.
#[derive(Clone, Debug, Default)]
pub struct Head {
    /// The three words of the first line; the last may hold spaces.
    pub start: [String; 3],
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// Value of the first header of that name.
    pub fn get(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// True where the header lists `token`.
    pub fn has(&self, name: &str, token: &str) -> bool {
        let values = self.headers.iter().filter(|(key, _)| key == name);
        values
            .flat_map(|(_, value)| value.split(','))
            .any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// Value of the first header of that name (lower case).
pub fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

/// Reads a head. `None`: the peer closed in front of it.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let first = read_line(reader)?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut words = first.trim_end().splitn(3, ' ').map(str::to_string);
    let start = [(); 3].map(|()| words.next().unwrap_or_default());
    Ok(Some(Head {
        start,
        headers: read_fields(reader)?,
    }))
}

/// How a body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// None.
    Empty,
    /// `Content-Length`.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// To the end of the connection.
    Close,
}

/// Framing that a head announces (RFC 9112, section 6.3); `otherwise` where it announces none.
pub fn framing(head: &Head, otherwise: Framing) -> io::Result<Framing> {
    if head.has("transfer-encoding", "chunked") {
        return Ok(Framing::Chunked);
    }
    match head.get("content-length") {
        Some(text) => Ok(Framing::Length(
            text.parse().map_err(|_| invalid("content-length is not a number"))?,
        )),
        None => Ok(otherwise),
    }
}

/// A body that was read: checksum, the first bytes of it (at most `keep`), trailers.
#[derive(Clone, Debug, Default)]
pub struct Body {
    /// Length and checksum.
    pub sum: Sum,
    /// The beginning.
    pub bytes: Vec<u8>,
    /// Trailers.
    pub trailers: Vec<(String, String)>,
}

/// Reads a body.
pub fn read_body(reader: &mut impl BufRead, framing: Framing, keep: usize) -> io::Result<Body> {
    let mut body = Body::default();
    match framing {
        Framing::Empty => {}
        Framing::Length(len) => take(reader, len, keep, &mut body)?,
        Framing::Close => loop {
            let piece = reader.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let len = piece.len();
            add(&mut body, piece, keep);
            reader.consume(len);
        },
        Framing::Chunked => loop {
            let line = read_line(reader)?;
            if line.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let digits = line.trim_end().split(';').next().unwrap_or_default();
            let len = u64::from_str_radix(digits, 16).map_err(|_| invalid("chunk size is not a number"))?;
            if len == 0 {
                body.trailers = read_fields(reader)?;
                break;
            }
            take(reader, len, keep, &mut body)?;
            if read_line(reader)?.trim_end() != "" {
                return Err(invalid("chunk without its end"));
            }
        },
    }
    Ok(body)
}

/// Writes the first `len` bytes of the pattern, framed; a chunked body ends with the trailer `x-sum`.
pub fn write_pattern(writer: &mut impl Write, len: u64, chunked: bool) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    let mut sum = Sum::default();
    while sum.len < len {
        let left = usize::try_from(len - sum.len).unwrap_or(buffer.len());
        let piece = &mut buffer[..left.min(16 * 1024)];
        pattern::fill(piece, sum.len);
        sum.add(piece);
        if chunked {
            write!(writer, "{:x}\r\n", piece.len())?;
        }
        writer.write_all(piece)?;
        if chunked {
            writer.write_all(b"\r\n")?;
        }
    }
    if chunked {
        write!(writer, "0\r\nx-sum: {:016x}\r\n\r\n", sum.sum)?;
    }
    writer.flush()
}

fn take(reader: &mut impl BufRead, mut len: u64, keep: usize, body: &mut Body) -> io::Result<()> {
    while len > 0 {
        let piece = reader.fill_buf()?;
        if piece.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "the body ends early"));
        }
        let size = usize::try_from(len).map_or(piece.len(), |len| len.min(piece.len()));
        add(body, &piece[..size], keep);
        reader.consume(size);
        len -= size as u64;
    }
    Ok(())
}

fn add(body: &mut Body, piece: &[u8], keep: usize) {
    body.sum.add(piece);
    let room = keep.saturating_sub(body.bytes.len()).min(piece.len());
    body.bytes.extend_from_slice(&piece[..room]);
}

fn read_fields(reader: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(reader)?;
        match line.trim_end() {
            "" if line.is_empty() => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the head ends early")),
            "" => return Ok(fields),
            line => {
                let (name, value) = line
                    .split_once(':')
                    .ok_or_else(|| invalid("a header without a colon"))?;
                fields.push((name.to_ascii_lowercase(), value.trim().to_string()));
            }
        }
    }
}

/// A line with its end, at most 64 KiB; empty at the end of the stream.
pub fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.by_ref().take(64 * 1024).read_until(b'\n', &mut line)?;
    String::from_utf8(line).map_err(|_| invalid("a line that is not UTF-8"))
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}
