//! Doubtful HTTP/2 as data: the head, data and trailers of one stream, what is answered, and what the server saw.
//!
//! Bias: fields, not requests. A head is a list of names and values that no library has looked at, written in HPACK
//! without compression, so that what the files say is what goes over the wire. A case has a connection of its own. Behind
//! it [`probe`] is sent: on the same connection where the stream alone had to end, on another one where the connection had.
//!
//! A client may send anything but paths that begin with `/s`: these are a 403.

mod check;
pub mod frame;

use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use check::{Came, Ends, Seen, check, probe, talk};
use frame::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, frame};

use crate::Bytes;
use crate::read::{self, File, Known};

/// A field's name and value.
pub type Pair = (Bytes, Bytes);

/// One case: what goes in on stream 1, and what has to come out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Case {
    /// Unique among all files: words of lower case, joined by `-`.
    pub name: String,
    /// Where it is written, if not what the file says: `RFC 9113 section 8.3.1`.
    #[serde(default)]
    pub rfc: String,
    /// `:method`; `GET` where it is left out.
    #[serde(default = "get")]
    method: Bytes,
    /// `:scheme`; `http` where it is left out.
    #[serde(default = "http")]
    scheme: Bytes,
    /// `:authority`; `store` where it is left out.
    #[serde(default = "store")]
    authority: Bytes,
    /// `:path`; `/a` where it is left out.
    #[serde(default = "a")]
    path: Bytes,
    /// All fields in this order, instead of the four above.
    #[serde(default)]
    head: Option<Vec<Pair>>,
    /// Fields behind these.
    #[serde(default)]
    fields: Vec<Pair>,
    /// DATA, frame by frame.
    #[serde(default)]
    data: Vec<Bytes>,
    /// A second header section.
    #[serde(default)]
    trailers: Option<Vec<Pair>>,
    /// The last of these has no END_STREAM.
    #[serde(default)]
    open: bool,
    /// Frames on the same stream behind all that, each with END_STREAM.
    #[serde(default)]
    behind: Vec<Behind>,
    /// The stream is answered with this final status.
    #[serde(default)]
    status: Option<u16>,
    /// The stream is reset with this code, and nothing else ends.
    #[serde(default)]
    reset: Option<Code>,
    /// The connection is ended with this code.
    #[serde(default)]
    goaway: Option<Code>,
    /// What the server sees. Left out: `{}` behind a 200, nothing behind anything else.
    #[serde(default)]
    gets: Option<Gets>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Behind {
    Data(Bytes),
    Headers(Vec<Pair>),
}

/// Error codes (RFC 9113 section 7) that cases name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Code {
    ProtocolError = 1,
    StreamClosed = 5,
}

/// What a server sees of a case.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Gets {
    /// Exactly this request.
    Whole(Request),
    /// `cut`: nothing, or a request whose body breaks off with a reset.
    Cut(Cut),
}

/// See [`Gets::Cut`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// The only value.
    Cut,
}

/// A request that a server has got, whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Request {
    /// `:method`.
    #[serde(default = "get")]
    pub method: Bytes,
    /// `:scheme`.
    #[serde(default = "http")]
    pub scheme: Bytes,
    /// `:authority`.
    #[serde(default = "store")]
    pub authority: Bytes,
    /// `:path`.
    #[serde(default = "a")]
    pub path: Bytes,
    /// All other fields, by name; those of one name in order.
    #[serde(default)]
    pub fields: Vec<Pair>,
    /// All DATA.
    #[serde(default = "nothing")]
    pub body: Bytes,
    /// By name.
    #[serde(default)]
    pub trailers: Vec<Pair>,
}

impl Default for Request {
    /// The request of a case that has only a name.
    fn default() -> Request {
        Request {
            method: get(),
            scheme: http(),
            authority: store(),
            path: a(),
            fields: Vec::new(),
            body: nothing(),
            trailers: Vec::new(),
        }
    }
}

impl Case {
    /// The frames of the case, without a preface.
    pub fn wire(&self) -> Vec<u8> {
        let pseudo = [
            (":method", &self.method),
            (":scheme", &self.scheme),
            (":authority", &self.authority),
            (":path", &self.path),
        ];
        let pseudo = || {
            let pairs = pseudo.map(|(name, value)| (Bytes::from(name.as_bytes()), value.clone()));
            pairs.to_vec()
        };
        let mut head = self.head.clone().unwrap_or_else(pseudo);
        head.extend(self.fields.clone());
        let end = |last: bool| if last && !self.open { END_STREAM } else { 0 };
        let mut wire = section(&head, end(self.data.is_empty() && self.trailers.is_none()));
        for (at, data) in self.data.iter().enumerate() {
            let last = at + 1 == self.data.len() && self.trailers.is_none();
            wire.extend(frame(DATA, end(last), 1, data));
        }
        if let Some(trailers) = &self.trailers {
            wire.extend(section(trailers, end(true)));
        }
        for behind in &self.behind {
            wire.extend(match behind {
                Behind::Data(data) => frame(DATA, END_STREAM, 1, data),
                Behind::Headers(fields) => section(fields, END_STREAM),
            });
        }
        wire
    }

    /// What has to come back.
    ///
    /// # Panics
    /// The case has none of `status`, `reset` and `goaway`, or more than one.
    pub fn comes_to(&self) -> Came {
        match (self.status, self.reset, self.goaway) {
            (Some(status), None, None) => Came::Status(status),
            (None, Some(code), None) => Came::Reset(code as u32),
            (None, None, Some(code)) => Came::Goaway(code as u32),
            _ => panic!("{}: one of status, reset and goaway", self.name),
        }
    }

    /// What the server has to see.
    pub fn gets(&self) -> Option<Gets> {
        let whole = || (self.status == Some(200)).then(|| Gets::Whole(Request::default()));
        self.gets.clone().or_else(whole)
    }
}

/// HEADERS, and CONTINUATION where it does not hold them all.
fn section(fields: &[Pair], flags: u8) -> Vec<u8> {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| frame::field(name, value))
        .collect();
    let mut pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    if pieces.is_empty() {
        pieces.push(&[]);
    }
    let mut wire = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let (kind, flags) = if at == 0 { (HEADERS, flags) } else { (CONTINUATION, 0) };
        let end = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
        wire.extend(frame(kind, flags | end, 1, piece));
    }
    wire
}

impl Known for Case {
    fn known(&mut self) -> (&str, &mut String) {
        (&self.name, &mut self.rfc)
    }
}

/// The folder of the files.
pub fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("http2")
}

/// All files with their names, in order.
///
/// # Panics
/// As [`crate::files`].
pub fn files() -> Vec<(String, File<Case>)> {
    read::read(&dir())
}

/// All cases.
///
/// # Panics
/// As [`crate::files`].
pub fn all() -> Vec<Case> {
    files().into_iter().flat_map(|(_, file)| file.cases).collect()
}

fn get() -> Bytes {
    Bytes::from(&b"GET"[..])
}

fn http() -> Bytes {
    Bytes::from(&b"http"[..])
}

fn store() -> Bytes {
    Bytes::from(&b"store"[..])
}

fn a() -> Bytes {
    Bytes::from(&b"/a"[..])
}

fn nothing() -> Bytes {
    Bytes::from(&b""[..])
}
