//! Bounds of the engine, each with an answer for when it is reached.

use std::time::Duration;

use super::access::AccessLog;
use super::kernel::Direction;

/// How the engine runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads, each with its own listeners. At least one is started.
    pub cores: usize,
    /// Port of the listeners for connections that pods make.
    pub outbound_port: u16,
    /// Port of the listeners for connections that pods get.
    pub inbound_port: u16,
    /// Where requests and connections are noted one by one; `None`: nowhere.
    pub access_log: Option<AccessLog>,
    /// How much.
    pub limits: Limits,
    /// How long.
    pub times: Times,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            outbound_port: 15001,
            inbound_port: 15006,
            access_log: None,
            limits: Limits::default(),
            times: Times::default(),
        }
    }
}

impl Config {
    /// The port that listeners of this direction are bound to.
    pub fn port(&self, direction: Direction) -> u16 {
        match direction {
            Direction::Outbound => self.outbound_port,
            Direction::Inbound => self.inbound_port,
        }
    }
}

/// How much of everything there may be. *A client* is a pod of this node, or an address that connects to one from
/// elsewhere. Of each thing one client gets its own cap, and no more than [`Limits::pod_share`] lets it have.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections from clients in all. One more is reset.
    pub connections: usize,
    /// The same of one client.
    pub connections_per_pod: usize,
    /// Connections that the kernel keeps for a listener until it accepts them; each core has a listener in each pod.
    /// More are dropped by the kernel, so that `connect()` tries again.
    pub backlog: u32,
    /// Requests in flight in all; a stream of HTTP/2 is one. One more is answered with 503.
    pub requests: usize,
    /// The same of one client.
    pub requests_per_pod: usize,
    /// Bytes in buffers in all. Reads get smaller as this fills up; then new requests get 503 and new connections are
    /// reset.
    pub buffered_bytes: usize,
    /// The same for one client.
    pub buffered_bytes_per_pod: usize,
    /// The same for one connection, both directions together: what is read at once.
    pub buffered_bytes_per_connection: usize,
    /// Idle upstream connections in all. Then the oldest one of the client is closed for the new one.
    pub idle_upstreams: usize,
    /// The same of one client.
    pub idle_upstreams_per_pod: usize,
    /// The same between a client and a server's address and port, at each core.
    pub idle_upstreams_per_pair: usize,
    /// Refusals that wait to be logged. More are counted as lost.
    pub reports: usize,
    /// How much of any of these one client may have as long as nobody else wants it, in percent, 1 to 100. Two get
    /// less each, so that there is always some left for the next.
    pub pod_share: u8,
    /// Pairs of workloads that have numbers of their own in the metrics, and as many backends of splits. What comes then is
    /// counted together.
    pub workload_pairs: usize,
    /// Sizes of HTTP heads and the like; 431 and the like.
    pub http: weir_core::http1::Limits,
    /// Of each HTTP/2 connection.
    pub http2: Http2,
}

/// How much of everything one HTTP/2 connection may have. The same towards clients and servers.
#[derive(Clone, Copy, Debug)]
pub struct Http2 {
    /// Streams at the same time. A client's further ones are refused (REFUSED_STREAM); for servers, another connection
    /// is opened. A connection's window is this many times a stream's, so that no stream stops its neighbours.
    pub streams: u32,
    /// Bytes that a peer may send on a stream ahead of its reader (RFC 9113 section 6.9); at most 2^31-1.
    pub stream_window: u32,
    /// Longest frame that a peer may send, 16384 to 16777215.
    pub frame_size: u32,
    /// Bytes of a stream that wait for the socket.
    pub send_buffer: usize,
    /// Connections per core between a client pod and a server pod and port. Then streams wait, then 503.
    pub upstreams_per_pair: usize,
    /// Frames that move nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, CONTINUATION, empty DATA, unknown ones) in
    /// one burst. One more: ENHANCE_YOUR_CALM. Each frame of data or headers that the peer gets pays for two.
    pub idle_frames: u32,
    /// How many such frames a second are earned besides.
    pub idle_frames_per_second: u32,
    /// Streams that a peer may reset in one burst. One more: ENHANCE_YOUR_CALM.
    pub resets: u32,
    /// How many resets a second are earned besides.
    pub resets_per_second: u32,
}

impl Http2 {
    /// Bytes that a peer may send on all streams of a connection together.
    pub(super) fn connection_window(&self) -> u32 {
        const MOST: u32 = (1 << 31) - 1;
        self.streams.saturating_mul(self.stream_window).clamp(65_535, MOST)
    }
}

impl Default for Http2 {
    fn default() -> Http2 {
        Http2 {
            streams: 250,
            stream_window: 64 * 1024,
            frame_size: 16 * 1024,
            send_buffer: 64 * 1024,
            upstreams_per_pair: 16,
            idle_frames: 2000,
            idle_frames_per_second: 500,
            resets: 500,
            resets_per_second: 100,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 100_000,
            connections_per_pod: 20_000,
            backlog: 4096,
            requests: 100_000,
            requests_per_pod: 20_000,
            buffered_bytes: 256 << 20,
            buffered_bytes_per_pod: 64 << 20,
            buffered_bytes_per_connection: 512 << 10,
            idle_upstreams: 16_384,
            idle_upstreams_per_pod: 4096,
            idle_upstreams_per_pair: 32,
            reports: 1024,
            pod_share: 50,
            workload_pairs: 2000,
            http: weir_core::http1::Limits::default(),
            http2: Http2::default(),
        }
    }
}

/// How long anything may take, give or take 50 ms.
#[derive(Clone, Debug)]
pub struct Times {
    /// For the first bytes of a connection where only HTTP is granted. Then it is refused.
    pub detect: Duration,
    /// For the first bytes where any bytes are granted. Then the server may be the one to speak first.
    pub server_first: Duration,
    /// For a request's head, from its first byte. Then 408.
    pub head: Duration,
    /// Between two requests. Then the connection is closed.
    pub idle: Duration,
    /// For the server's answer to begin, and for either side to move on in a body. Then 504, 408 or a reset.
    pub response: Duration,
    /// For something to move on an HTTP/2 stream that neither side has ended and nobody holds up; gRPC calls may also
    /// wait so long for their answer to begin. Then it is reset.
    pub stream: Duration,
    /// For an upstream connection. Then 504, or a reset.
    pub connect: Duration,
    /// For an upstream connection between two requests. Then it is closed.
    pub idle_upstream: Duration,
    /// For the numbers of workloads that are gone. Then they are forgotten.
    pub forget: Duration,
    /// For what a client still sends behind its answer. Then its connection is closed.
    pub drain: Duration,
}

impl Default for Times {
    fn default() -> Times {
        Times {
            detect: Duration::from_secs(5),
            server_first: Duration::from_millis(100),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(600),
            response: Duration::from_secs(300),
            stream: Duration::from_secs(3600),
            connect: Duration::from_secs(5),
            idle_upstream: Duration::from_secs(60),
            forget: Duration::from_secs(180),
            drain: Duration::from_secs(2),
        }
    }
}
