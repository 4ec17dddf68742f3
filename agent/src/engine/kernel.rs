//! What the engine needs from the kernel's programs.
//!
//! Bias: the engine never asks a peer who it is. Where a connection wanted to go, and what the far end is shown, goes
//! through this trait, which has two implementations: BPF maps, and a plain table for loopback, by which the engine's
//! tests run without privileges. Implementations are called on the cores' threads and must not block.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

/// Which side of a connection the enrolled pod is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// The pod called `connect()`.
    Outbound,
    /// Somebody who is not a pod of this node connected to the pod.
    Inbound,
}

/// Names one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// Network-namespace cookie of the pod it listens in.
    pub cookie: u64,
    /// Its family.
    pub v6: bool,
    /// What it is for.
    pub direction: Direction,
    /// The core that accepts from it; every core has one.
    pub core: usize,
}

/// The engine's side of the BPF programs.
pub trait Kernel: Send + Sync + 'static {
    /// What the pod with this cookie asked for when it called `connect()` from `client_port`, in the family of the
    /// connection that arrived. An entry is given out once.
    fn take_origin(&self, cookie: u64, v6: bool, client_port: u16) -> Option<SocketAddr>;

    /// Where a connection that an inbound listener accepted wanted to go: its local address, as `sk_lookup` leaves it.
    fn inbound_destination(&self, local: SocketAddr, _peer: SocketAddr) -> SocketAddr {
        local
    }

    /// Marks a socket that is about to connect as the engine's own, so that no program captures it. The server's
    /// `accept()` and `getpeername()` give `shown` as its peer; `None` leaves the peer as it is.
    ///
    /// # Errors
    /// The mark can't be set; the socket must not connect then.
    fn mark_upstream(&self, socket: BorrowedFd<'_>, shown: Option<SocketAddr>) -> io::Result<()>;

    /// Marks a socket that is about to listen as the engine's own: from its first moment it may get what only the engine
    /// may have.
    ///
    /// # Errors
    /// The mark can't be set; the socket must not listen then.
    fn mark_listener(&self, socket: BorrowedFd<'_>) -> io::Result<()>;

    /// Makes a listener known to the programs. The entry goes when the listener is closed.
    ///
    /// # Errors
    /// The listener can't be registered; the pod must not be captured then.
    fn add_listener(&self, key: ListenerKey, listener: BorrowedFd<'_>) -> io::Result<()>;
}
