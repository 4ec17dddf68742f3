//! Bounds of the engine, each with an answer for when it is reached.

use std::time::Duration;

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

/// How much of everything there may be.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open connections from clients in all. One more is reset.
    pub connections: usize,
    /// The same per enrolled pod, both directions together.
    pub connections_per_pod: usize,
    /// Idle upstream connections per core between a client pod and a server pod and port. One more is closed.
    pub idle_upstreams_per_client: usize,
    /// Sizes of HTTP heads and the like; 431 and the like.
    pub http: weir_core::http1::Limits,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 100_000,
            connections_per_pod: 20_000,
            idle_upstreams_per_client: 32,
            http: weir_core::http1::Limits::default(),
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
    /// For an upstream connection. Then 504, or a reset.
    pub connect: Duration,
    /// For an upstream connection between two requests. Then it is closed.
    pub idle_upstream: Duration,
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
            connect: Duration::from_secs(5),
            idle_upstream: Duration::from_secs(60),
            drain: Duration::from_secs(2),
        }
    }
}
