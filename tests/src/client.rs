//! Short ways to say what a client does.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};

use crate::http;
use crate::protocol::{Dial, Opened, Request, Response, Seen};

impl Dial {
    /// A plain blocking TCP connection with a limit of five seconds.
    pub fn to(ip: impl Into<IpAddr>, port: u16) -> Dial {
        Dial {
            to: SocketAddr::new(ip.into(), port),
            mapped: false,
            nonblocking: false,
            bind: None,
            device: None,
            mptcp: false,
            fastopen: false,
            timeout_ms: 5000,
        }
    }

    /// From an IPv6 socket to the IPv4 address.
    pub fn mapped(self) -> Dial {
        Dial { mapped: true, ..self }
    }

    /// Non-blocking.
    pub fn nonblocking(self) -> Dial {
        Dial {
            nonblocking: true,
            ..self
        }
    }

    /// Bound to an address first.
    pub fn bind(self, ip: impl Into<IpAddr>, port: u16) -> Dial {
        Dial {
            bind: Some(SocketAddr::new(ip.into(), port)),
            ..self
        }
    }

    /// Bound to a device first.
    pub fn device(self, device: &str) -> Dial {
        Dial {
            device: Some(device.to_string()),
            ..self
        }
    }

    /// Multipath TCP.
    pub fn mptcp(self) -> Dial {
        Dial { mptcp: true, ..self }
    }

    /// TCP Fast Open.
    pub fn fastopen(self) -> Dial {
        Dial { fastopen: true, ..self }
    }

    /// Another limit.
    pub fn timeout_ms(self, timeout_ms: u64) -> Dial {
        Dial { timeout_ms, ..self }
    }
}

impl Request {
    /// A request without a body.
    pub fn new(method: &str, path: &str) -> Request {
        Request {
            method: method.to_string(),
            path: path.to_string(),
            host: "store".to_string(),
            headers: Vec::new(),
            body: 0,
            chunked: false,
            expect: false,
        }
    }

    /// `GET path`.
    pub fn get(path: &str) -> Request {
        Request::new("GET", path)
    }

    /// With a header.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }

    /// With a body: the first `len` bytes of the pattern.
    pub fn body(self, len: u64) -> Request {
        Request { body: len, ..self }
    }

    /// Chunked.
    pub fn chunked(self) -> Request {
        Request { chunked: true, ..self }
    }
}

impl Response {
    /// What the server saw: the body of a plain answer.
    pub fn seen(&self) -> Result<Seen> {
        serde_json::from_str(&self.body).with_context(|| format!("not an answer of the test server: {self:?}"))
    }

    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        http::find(&self.headers, name)
    }

    /// Name of the server that answered, from `server`.
    pub fn server(&self) -> &str {
        self.header("server").unwrap_or_default()
    }
}

impl Opened {
    /// An error unless the connection was refused with this errno, and at once: half a second is far below the first
    /// retransmission of a SYN and far above what a busy machine needs.
    pub fn refused_with(&self, errno: i32) -> Result<()> {
        if self.errno != errno || self.ms > 500.0 {
            bail!("wanted errno {errno} at once, got {self:?}");
        }
        Ok(())
    }

    /// [`Opened::refused_with`] `ECONNREFUSED`.
    pub fn refused(&self) -> Result<()> {
        self.refused_with(REFUSED)
    }
}

/// `ECONNREFUSED`.
pub const REFUSED: i32 = libc::ECONNREFUSED;
/// `EPERM`.
pub const EPERM: i32 = libc::EPERM;
