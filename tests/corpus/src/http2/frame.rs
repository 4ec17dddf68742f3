//! Frames and fields written and read by hand (RFC 9113 section 4, RFC 7541 section 6).

use std::io::{self, Read};

/// Types of frames.
pub const DATA: u8 = 0;
/// A header section begins.
pub const HEADERS: u8 = 1;
/// Deprecated.
pub const PRIORITY: u8 = 2;
/// A stream ends with a code.
pub const RST_STREAM: u8 = 3;
/// Settings of a connection.
pub const SETTINGS: u8 = 4;
/// A server's request.
pub const PUSH_PROMISE: u8 = 5;
/// To be answered.
pub const PING: u8 = 6;
/// A connection ends with a code.
pub const GOAWAY: u8 = 7;
/// Room for data.
pub const WINDOW_UPDATE: u8 = 8;
/// A header section goes on.
pub const CONTINUATION: u8 = 9;

/// Flag of DATA and HEADERS: nothing more comes on this stream.
pub const END_STREAM: u8 = 1;
/// Flag of SETTINGS and PING.
pub const ACK: u8 = 1;
/// Flag of HEADERS and CONTINUATION: the section is whole.
pub const END_HEADERS: u8 = 4;

/// What a client's connection begins with.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of the types above.
    pub kind: u8,
    /// Flags of that type.
    pub flags: u8,
    /// 0: of the connection.
    pub stream: u32,
    /// All behind the nine bytes of the frame's head.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The next frame of `from`.
    ///
    /// # Errors
    /// As `from`; `UnexpectedEof` at its end.
    pub fn read(from: &mut impl Read) -> io::Result<Frame> {
        let mut head = [0; 9];
        from.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        from.read_exact(&mut payload)?;
        Ok(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload,
        })
    }

    /// The number at this place of the payload; 0 where that is too short.
    pub fn number(&self, at: usize) -> u32 {
        let bytes = self.payload.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u32::from_be_bytes)
    }
}

/// The bytes of a frame. Its length is written as it is, however long.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field in HPACK, literal and never indexed, whatever its bytes are.
pub fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut field = vec![0x10];
    for part in [name, value] {
        length(part.len(), &mut field);
        field.extend(part);
    }
    field
}

/// A string's length in HPACK, seven bits at first (RFC 7541 section 5.1).
fn length(length: usize, into: &mut Vec<u8>) {
    if length < 127 {
        return into.push(length as u8);
    }
    into.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        into.push((rest % 128 + 128) as u8);
        rest /= 128;
    }
    into.push(rest as u8);
}

/// The status that a header block begins with, if nothing was taken from a dynamic table: one of the static table, or
/// three digits, plain or in Huffman's code.
pub fn status(block: &[u8]) -> Option<u16> {
    const FIRST: u8 = 8;
    const STATIC: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // The size of the dynamic table may come first (section 6.3): 0, in one byte.
    let block = block.strip_prefix(&[0x20]).unwrap_or(block);
    let (&first, rest) = block.split_first()?;
    if let Some(index) = first.checked_sub(0x80 + FIRST) {
        return STATIC.get(usize::from(index)).copied();
    }
    // With indexing, without, never: each with a name of the static table, where 8 to 14 are `:status`.
    let index = if first & 0xc0 == 0x40 {
        first & 0x3f
    } else {
        first & 0x0f
    };
    if !(8..=14).contains(&index) || first & 0xe0 == 0x20 {
        return None;
    }
    let (&length, rest) = rest.split_first()?;
    let value = rest.get(..usize::from(length & 0x7f))?;
    let digits = match length & 0x80 {
        0 => value.to_vec(),
        _ => huffman(value),
    };
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

/// Three digits (RFC 7541 appendix B): `0` to `2` have five bits, the others six.
fn huffman(value: &[u8]) -> Vec<u8> {
    let bits: Vec<u8> = value
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1))
        .collect();
    let mut bits = &bits[..];
    let mut digits = Vec::new();
    let number = |bits: &[u8]| bits.iter().fold(0, |number, bit| number * 2 + bit);
    while digits.len() < 3 {
        let (digit, taken) = match (bits.get(..5).map(number), bits.get(..6).map(number)) {
            (Some(short @ 0..=2), _) => (short, 5),
            (_, Some(long @ 0x19..=0x1f)) => (long - 0x19 + 3, 6),
            _ => break,
        };
        digits.push(b'0' + digit);
        bits = &bits[taken..];
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_read_in_all_forms() {
        assert_eq!(status(&[0x88, 0x00]), Some(200));
        assert_eq!(status(&[0x20, 0x8c]), Some(400));
        assert_eq!(status(b"\x48\x03403"), Some(403));
        assert_eq!(status(b"\x08\x03101"), Some(101));
        // RFC 7541 appendix C.6.1: 302.
        assert_eq!(status(&[0x48, 0x82, 0x64, 0x02]), Some(302));
        assert_eq!(status(&[0xbe]), None);
        assert_eq!(status(b"\x48\x03"), None);
    }

    #[test]
    fn a_field_is_written_as_it_is_however_long() {
        assert_eq!(field(b"X\0", b"\r"), b"\x10\x02X\0\x01\r");
        let long = field(b"x", &[b'y'; 300]);
        assert_eq!(&long[..6], b"\x10\x01x\x7f\xad\x01");
        assert_eq!(long.len(), 306);
    }
}
