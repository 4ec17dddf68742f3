//! Frames written and read by hand (RFC 9113 section 4).

use crate::mesh::Mesh;
use crate::peer;

pub use weir_corpus::http2::frame::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PREFACE, PRIORITY, PUSH_PROMISE,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, frame,
};

pub const PROTOCOL_ERROR: u32 = 1;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A field in HPACK, literal and never indexed.
pub fn field(name: &str, value: &[u8]) -> Vec<u8> {
    weir_corpus::http2::frame::field(name.as_bytes(), value)
}

/// The header block of `METHOD path` for `store`, and these fields.
pub fn block(method: &str, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", method),
        (":scheme", "http"),
        (":authority", "store"),
        (":path", path),
    ];
    let all = pseudo.iter().chain(fields);
    all.flat_map(|(name, value)| field(name, value.as_bytes())).collect()
}

/// A GET.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block("GET", path, &[]))
}

/// One end of a connection.
pub struct Raw(pub peer::Client);

impl Raw {
    /// The buyer, connected to the store, with preface and empty SETTINGS sent.
    pub fn buyer(mesh: &Mesh) -> Raw {
        let mut raw = Raw(mesh.buyer());
        raw.0.send(PREFACE).send(frame(SETTINGS, 0, 0, &[]));
        raw.send(SETTINGS, ACK, 0, &[]);
        raw
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.send(frame(kind, flags, stream, payload));
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.0.send(bytes);
    }

    /// Sends as long as the other side takes it. False once it does not.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        use std::io::Write;
        self.0.stream.write_all(bytes).is_ok()
    }

    /// The next frame; `None` once the connection has ended.
    pub fn frame(&mut self) -> Option<Frame> {
        let head = self.0.some(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            payload: self.0.some(length)?,
        })
    }

    /// The next frame of this kind; others are passed over.
    pub fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self
                .frame()
                .unwrap_or_else(|| panic!("the connection ended before a frame {kind}"));
            if frame.kind == kind {
                return frame;
            }
            assert_ne!(frame.kind, GOAWAY, "{frame:?}");
        }
    }

    /// The code of the GOAWAY that ends the connection; `None` if it ended without one.
    pub fn goaway(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(frame) = self.frame() {
            if frame.kind == GOAWAY {
                code = Some(number(&frame.payload[4..]));
            }
        }
        code
    }
}

/// The number at the start of a payload.
pub fn number(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}
