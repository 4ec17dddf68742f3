//! What is remembered of datagrams: who was sent to, so that answers return, and which endpoint stands for a ClusterIP.

use crate::Addr;

/// Key of the maps inside `FLOWS` (outer key: network-namespace cookie), one map for each pod: what the pod has sent, or
/// whom it serves. Written by the programs at the pods' cgroup.
///
/// An entry allows nothing by itself: an answer is let in only while the direction that it answers is allowed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowKey {
    /// The other end.
    pub peer: Addr,
    /// Its port in the upper half, the pod's in the lower one, both host order; 0 where a protocol has none.
    pub ports: u32,
    /// Protocol of the IP header, with [`FLOW_SERVED`] where the peer came first.
    pub proto: u32,
}

/// In [`FlowKey::proto`]: the peer was allowed to send to this port of the pod. What the pod sends back from there is an
/// answer, and lets nothing in. Such an entry has no port of the peer, so that one peer can't push out another's.
pub const FLOW_SERVED: u32 = 1 << 8;

/// Value of the maps inside `FLOWS`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowState {
    /// When a packet went either way last: nanoseconds of the monotonic clock, coarse.
    pub seen: u64,
    /// Identity of the peer at that time. Another pod that gets the address later has no part in it.
    pub identity: u64,
    /// Network-namespace cookie of the peer, for pods of this node.
    pub cookie: u64,
}

/// Flows of one socket that are remembered, each with another ClusterIP.
pub const PICKED_SLOTS: usize = 8;

/// Socket storage `PICKED`: the endpoints that one UDP socket sends to in place of ClusterIPs. It dies with the socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Picked {
    /// The newest one overwrites the oldest.
    pub slots: [PickedSlot; PICKED_SLOTS],
    /// Versions given out so far; the next slot is this, modulo [`PICKED_SLOTS`].
    pub versions: u64,
}

/// One flow of a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PickedSlot {
    /// The ClusterIP that the application asked for.
    pub asked: Addr,
    /// The endpoint.
    pub to: Addr,
    /// Block of the Service (see [`crate::ServiceEntry::block`]) in which the endpoint was found last.
    pub block: u64,
    /// When a datagram went either way last: nanoseconds of the monotonic clock, coarse.
    pub used: u64,
    /// Port of `asked`, host order.
    pub asked_port: u32,
    /// Port of `to`, host order.
    pub to_port: u32,
    /// 0 while the slot is empty or being written, else a number that no other content of this socket's slots has: who
    /// reads it before and after has read one content.
    pub version: u64,
}
