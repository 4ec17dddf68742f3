//! What the engine asks of the kernel: where a captured connection wanted to go, and whose a socket is.
//!
//! Bias: called for each connection, so raw system calls on shared descriptors, one read lock around the table of pods.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::RwLock;

use weir_abi::{Addr, ListenerKey, ORIGIN_V6, ROLE_CAPTURED, ROLE_LISTENER, ROLE_UPSTREAM, SocketMark};

use super::load::{LoadError, Programs};
use super::sys;

/// The maps that the engine uses while connections come and go.
#[derive(Debug)]
pub struct Origins {
    sockets: OwnedFd,
    listeners: OwnedFd,
    pods: RwLock<BTreeMap<u64, OwnedFd>>,
}

impl Origins {
    /// On the maps of the loaded programs.
    pub fn new(programs: &Programs) -> Result<Origins, LoadError> {
        Ok(Origins {
            sockets: clone_fd(programs, "SOCKETS")?,
            listeners: clone_fd(programs, "LISTENERS")?,
            pods: RwLock::new(BTreeMap::new()),
        })
    }

    /// The inner map of a pod, made by the tables.
    pub(super) fn add_pod(&self, cookie: u64, map: OwnedFd) {
        if let Ok(mut pods) = self.pods.write() {
            pods.insert(cookie, map);
        }
    }

    pub(super) fn remove_pod(&self, cookie: u64) {
        if let Ok(mut pods) = self.pods.write() {
            pods.remove(&cookie);
        }
    }

    /// What the pod's application asked for on the connection from its port `port`; each connection is told once.
    pub fn take(&self, cookie: u64, v6: bool, port: u16) -> Option<SocketAddr> {
        let key = u32::from(port) | if v6 { ORIGIN_V6 } else { 0 };
        let pods = self.pods.read().ok()?;
        let mark: SocketMark = sys::map_take(pods.get(&cookie)?.as_fd(), &key).ok()??;
        (mark.role == ROLE_CAPTURED).then(|| SocketAddr::new(mark.addr.to_ip(), mark.port as u16))
    }

    /// Marks the engine's socket towards a server, before it connects: it passes the hooks, and the server sees `shown`.
    pub fn mark_upstream(&self, socket: BorrowedFd<'_>, shown: Option<SocketAddr>) -> io::Result<()> {
        let (addr, port) = match shown {
            Some(address) => (Addr::from_ip(address.ip()), u32::from(address.port())),
            None => (Addr::NONE, 0),
        };
        self.mark(
            socket,
            SocketMark {
                addr,
                port,
                role: ROLE_UPSTREAM,
            },
        )
    }

    /// Marks a listener of the engine, so that the SYN check lets through what was steered to it.
    pub fn mark_listener(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.mark(
            socket,
            SocketMark {
                addr: Addr::NONE,
                port: 0,
                role: ROLE_LISTENER,
            },
        )
    }

    fn mark(&self, socket: BorrowedFd<'_>, mark: SocketMark) -> io::Result<()> {
        sys::map_set(self.sockets.as_fd(), &socket.as_raw_fd(), &mark)
    }

    /// Makes a listening socket the one that sk_lookup steers a pod's connections to. With SO_REUSEPORT the kernel
    /// spreads them over the socket's group. The entry goes when the socket is closed.
    pub fn steer_to(&self, cookie: u64, v6: bool, socket: BorrowedFd<'_>) -> io::Result<()> {
        let key = ListenerKey {
            cookie,
            family: if v6 { 6 } else { 4 },
            reserved: 0,
        };
        sys::map_set(self.listeners.as_fd(), &key, &socket.as_raw_fd())
    }
}

/// A descriptor of its own for a map of the programs.
pub(super) fn clone_fd(programs: &Programs, name: &'static str) -> Result<OwnedFd, LoadError> {
    use aya::maps::Map;
    let map = programs.ebpf.map(name).ok_or(LoadError::Missing(name))?;
    let fd = match map {
        Map::SkStorage(data) | Map::HashMap(data) | Map::RingBuf(data) | Map::PerCpuArray(data) => data.fd().as_fd(),
        Map::SockHash(data) => data.fd().as_fd(),
        Map::HashOfMaps(data) => data.fd().as_fd(),
        _ => return Err(LoadError::Missing(name)),
    };
    fd.try_clone_to_owned().map_err(|error| LoadError::Map {
        name,
        error: aya::maps::MapError::IoError(error),
    })
}
