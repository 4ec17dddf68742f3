//! What a client was told to do, and what it tells of everything that it did: one JSON line each.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// What a client process has to do, its first line of standard input. Later lines are `pause` and `resume`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Name of its pod.
    pub client: String,
    /// Addresses of its pod: as whom servers have to see it.
    pub ips: [IpAddr; 2],
    /// Where its randomness begins.
    pub seed: u64,
    /// One thread each.
    pub work: Vec<Work>,
}

/// One thread's work, over and over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Work {
    /// How.
    pub kind: Kind,
    /// Where to.
    pub to: SocketAddr,
    /// Pause between two rounds, milliseconds.
    pub pause_ms: u64,
}

/// Ways to use a connection. A new protocol is a variant here and a worker in `client`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// HTTP/1.1, many requests over one connection.
    Kept,
    /// HTTP/1.1, a connection for each request.
    Fresh,
    /// HTTP/1.1, four requests at once.
    Pipelined,
    /// HTTP/1.1 that becomes another protocol.
    Upgraded,
    /// TCP that stays open and echoes.
    Echo,
    /// The same, beginning as TLS does.
    Tls,
    /// TCP, many bytes to the server.
    Up,
    /// TCP, many bytes from the server.
    Down,
    /// UDP, one datagram and its answer.
    Udp,
}

/// What was asked, as far as policy sees it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Any bytes over TCP.
    Bytes,
    /// A datagram.
    Datagram,
    /// A request.
    Http {
        /// `GET`.
        method: String,
        /// With its query.
        path: String,
        /// It has the header `x-tier: gold`.
        gold: bool,
    },
}

/// Something that a client did and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Name of the client's pod.
    pub client: String,
    /// How.
    pub kind: Kind,
    /// Where to.
    pub to: SocketAddr,
    /// What.
    pub ask: Ask,
    /// The server that the last round on this connection went to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<String>,
    /// When all was well with this connection last; `from` where it is new. Microseconds, see `clock`.
    pub since: u64,
    /// Before the first byte went out.
    pub from: u64,
    /// After the last one came, or the error.
    pub until: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A whole answer with what belongs to it, from the server of that name where it says so.
    Served(Option<String>),
    /// 403, ECONNREFUSED, or a reset before any answer.
    Refused(String),
    /// No whole answer, and the client can tell: a reset in its midst, a time-out, a 5xx.
    Failed(String),
    /// A part that looks like the whole: an orderly end in its midst. Right only where the server itself went.
    Cut(String),
    /// An answer that looks whole and is wrong. Never right.
    Torn(String),
}
