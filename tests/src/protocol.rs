//! What harness and test application say to each other: one JSON document a line, a command in, an answer out.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How to make and connect a socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dial {
    /// Where to.
    pub to: SocketAddr,
    /// An IPv6 socket for an IPv4 address, `::ffff:a.b.c.d`.
    #[serde(default)]
    pub mapped: bool,
    /// A non-blocking `connect()`, then poll and `SO_ERROR`.
    #[serde(default)]
    pub nonblocking: bool,
    /// `bind()` to this first.
    #[serde(default)]
    pub bind: Option<SocketAddr>,
    /// `SO_BINDTODEVICE`.
    #[serde(default)]
    pub device: Option<String>,
    /// `IPPROTO_MPTCP`.
    #[serde(default)]
    pub mptcp: bool,
    /// No `connect()`: the first bytes go out with `sendto(MSG_FASTOPEN)`.
    #[serde(default)]
    pub fastopen: bool,
    /// Limit for connecting, sending and receiving, milliseconds.
    pub timeout_ms: u64,
}

/// What became of a connection.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Opened {
    /// Number for later commands.
    pub conn: Option<usize>,
    /// 0, or the error of `connect()`. `EAGAIN`, `EINPROGRESS` and `ETIMEDOUT`: no answer in time.
    pub errno: i32,
    /// Time that `connect()` took, milliseconds.
    pub ms: f64,
    /// `getpeername()`.
    pub peer: Option<SocketAddr>,
    /// `getsockname()`.
    pub local: Option<SocketAddr>,
}

/// An HTTP request. The body is the first `body` bytes of the pattern.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// `Host`.
    pub host: String,
    /// More headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    #[serde(default)]
    pub body: u64,
    /// The body in chunks instead of `Content-Length`.
    #[serde(default)]
    pub chunked: bool,
    /// `Expect: 100-continue`, and the body only after it.
    #[serde(default)]
    pub expect: bool,
}

/// An HTTP response, or why there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Response {
    /// Status; 0 without a response.
    pub status: u16,
    /// Statuses of 1xx responses before it.
    pub interim: Vec<u16>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Trailers, names in lower case.
    pub trailers: Vec<(String, String)>,
    /// The body where it is text of at most 64 KiB.
    pub body: String,
    /// Its length.
    pub len: u64,
    /// Its checksum.
    pub sum: u64,
    /// Why there is no whole response.
    pub error: Option<String>,
    /// The errno of that, or 0.
    pub errno: i32,
    /// From the first byte sent to the last one received, milliseconds.
    pub ms: f64,
}

/// How to make a socket for datagrams.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Udp {
    /// An IPv6 socket, also for IPv4 addresses, which it knows as mapped.
    pub v6: bool,
    /// `bind()` to this first.
    pub bind: Option<SocketAddr>,
    /// `connect()` to this.
    pub connect: Option<SocketAddr>,
    /// Another protocol than UDP: of a datagram socket, or of a raw one.
    pub proto: Option<i32>,
    /// A raw socket. What it sends and gets begins behind the IP header.
    pub raw: bool,
}

/// A datagram that came, or did not.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Datagram {
    /// Who sent it, as the application sees it.
    pub from: Option<SocketAddr>,
    /// What is in it.
    pub text: String,
    /// 0, or the error of `recvfrom()`. `EAGAIN`: nothing came in time.
    pub errno: i32,
}

/// What the UDP server answers: a datagram of JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Echo {
    /// Name of the server.
    pub name: String,
    /// Whom it answers.
    pub peer: SocketAddr,
    /// What it got.
    pub text: String,
}

/// What came of many datagrams, each from a socket of its own.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Burst {
    /// Answers by the name of the server.
    pub answers: std::collections::BTreeMap<String, u32>,
    /// Sends or connects that failed.
    pub refused: u32,
    /// Datagrams without an answer.
    pub lost: u32,
    /// Answers that came from another address than was asked.
    pub strange: u32,
}

/// Commands of `weir-testapp session`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "a variant's line tells its fields")]
pub enum Command {
    /// Makes a socket and does not connect it. Answer: `Opened`.
    Socket(Dial),
    /// Connects a socket of `Socket`. Answer: `Opened`.
    Connect(usize),
    /// `Socket` and `Connect`. Answer: `Opened`.
    Open(Dial),
    /// `count` requests, over one connection or each over its own (`fresh`). Answer: `Called`.
    Call {
        dial: Dial,
        request: Request,
        count: u32,
        fresh: bool,
    },
    /// One request on an open connection. Answer: `Responses`.
    Http { conn: usize, request: Request },
    /// Bytes as they are. Answer: `Stream` (sent).
    Send { conn: usize, text: String },
    /// The first `len` bytes of the pattern. Answer: `Stream` (sent).
    SendPattern { conn: usize, len: u64 },
    /// Reads a line. Answer: `Text`.
    ReadLine(usize),
    /// Reads `len` bytes, or to the end. Answer: `Stream` (received).
    Read { conn: usize, len: Option<u64> },
    /// Shuts down for writing. Answer: `Done`.
    ShutdownWrite(usize),
    /// Closes. Answer: `Done`.
    Close(usize),
    /// Closes with a reset. Answer: `Done`.
    Reset(usize),
    /// Sends eight bytes and reads them back, over and over, in the background. Answer: `Done`.
    Pump(usize),
    /// What the pump has done so far. Answer: `Pumped`.
    PumpState(usize),
    /// Opens and closes connections, with one HTTP request each where there is one. Answer: `Churned`.
    Churn {
        dial: Dial,
        count: u32,
        request: Option<Request>,
    },
    /// One TCP segment with SYN from a raw socket; waits for the answer. Answer: `Text`: `syn-ack`, `rst`, `nothing`.
    Syn {
        from: SocketAddr,
        to: SocketAddr,
        wait_ms: u64,
    },
    /// Makes a socket for datagrams. Answer: `Opened`.
    UdpOpen(Udp),
    /// Connects a socket of `UdpOpen` anew. Answer: `Sent`.
    UdpConnect { socket: usize, to: SocketAddr },
    /// Sends a datagram, by `send()` without an address. Answer: `Sent`.
    UdpSend {
        socket: usize,
        to: Option<SocketAddr>,
        text: String,
    },
    /// Waits for a datagram. Answer: `Datagram`.
    UdpReceive { socket: usize, wait_ms: u64 },
    /// `count` datagrams with their answers, each from a socket of its own, connected or not. Answer: `Burst`.
    UdpBurst { to: SocketAddr, count: u32, connect: bool },
    /// A datagram to each of `count` addresses from `first` on. Answer: `Sent` with the last error.
    UdpFlood {
        socket: usize,
        first: SocketAddr,
        count: u32,
    },
    /// One IPv4 or IPv6 packet with a source address of choice, from a raw socket; with ports it is UDP, or TCP where the
    /// text is `SYN`. Answer: `Sent`.
    Forge {
        from: SocketAddr,
        to: SocketAddr,
        proto: u8,
        text: String,
    },
    /// Moves this process into another control group. Answer: `Done`.
    MoveTo(PathBuf),
}

/// Answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "a variant's line tells its fields")]
pub enum Answer {
    /// Nothing more to say.
    Done,
    /// A connection.
    Opened(Opened),
    /// A connection and its responses.
    Called { opened: Opened, responses: Vec<Response> },
    /// Responses.
    Responses(Vec<Response>),
    /// Text.
    Text(String),
    /// Bytes that went one way.
    Stream(Stream),
    /// A pump.
    Pumped(Pumped),
    /// A churn: how many connections opened, how many requests had status 200, and the first error.
    Churned {
        opened: u32,
        served: u32,
        error: Option<String>,
    },
    /// A datagram was sent: 0, or the error, and the time that it took, milliseconds.
    Sent { errno: i32, ms: f64 },
    /// A datagram came, or not.
    Datagram(Datagram),
    /// Many datagrams.
    Burst(Burst),
    /// The command failed.
    Error(String),
}

/// Bytes that went one way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stream {
    /// How many.
    pub len: u64,
    /// Their checksum.
    pub sum: u64,
    /// True where the other side ended the stream in order (FIN).
    pub fin: bool,
    /// 0, or the error that ended it. `EAGAIN`: the time was over.
    pub errno: i32,
}

/// A pump, see [`Command::Pump`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pumped {
    /// Rounds so far.
    pub rounds: u64,
    /// The longest round, milliseconds.
    pub longest_ms: f64,
    /// Milliseconds since the last whole round.
    pub idle_ms: f64,
    /// Why it ended: 0 while it runs, -1 for an orderly end, or an errno.
    pub ended: i32,
}

/// What the test server says about a connection or request, as JSON in the response's body or on the first line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Name of the server.
    pub name: String,
    /// The peer that `accept()` returned.
    pub accepted: SocketAddr,
    /// The peer that `getpeername()` returned.
    pub peer: SocketAddr,
    /// `getsockname()`.
    pub local: SocketAddr,
    /// Number of the connection at this server.
    pub connection: u64,
    /// Number of the request on this connection; 0 for plain TCP.
    pub request: u64,
    /// Request line and headers; empty for plain TCP.
    #[serde(default)]
    pub method: String,
    /// Path and query.
    #[serde(default)]
    pub path: String,
    /// Headers, names in lower case.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Length of the body.
    #[serde(default)]
    pub len: u64,
    /// Its checksum.
    #[serde(default)]
    pub sum: u64,
}

/// Commands of `weir-testapp record`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Recorder {
    /// Begin anew. Answer: null.
    Script(weir_corpus::tape::Script),
    /// Play back. Answer: `weir_corpus::tape::Got`.
    Got,
}

/// A command of `weir-testapp talk`. Answer: `weir_corpus::tape::Heard`, or null where nothing could be connected.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Talk {
    /// Where to.
    pub to: SocketAddr,
    /// What to send.
    pub wire: Vec<u8>,
    /// In how many pieces.
    pub pieces: usize,
    /// How long to listen, milliseconds.
    pub limit_ms: u64,
}
