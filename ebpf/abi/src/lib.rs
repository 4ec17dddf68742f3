//! The one place where kernel and user space agree.
//!
//! Every map key and value is a `#[repr(C)]` struct of plain integers without padding; meaning is added by
//! newtypes in user space. This module also holds the only byte-order conversions: addresses are kept as
//! the kernel keeps them (network order words), ports are always host order `u32`.
//!
//! Nobody owns state here. A change to any layout, map name or meaning raises [`ABI_VERSION`]: pinned maps of
//! another version are never used again.
#![no_std]

mod addr;
mod counters;
mod datagram;

pub use addr::Addr;
pub use counters::{COUNTER_NAMES, COUNTERS, Counter};
pub use datagram::{FLOW_SERVED, FlowKey, FlowState, PICKED_SLOTS, Picked, PickedSlot};

/// Version of every layout in this crate. Checked before pinned maps are used again.
pub const ABI_VERSION: u32 = 2;

/// TCP, as in the IP header and in `bpf_sock_addr.protocol`.
pub const IPPROTO_TCP: u32 = 6;
/// UDP, likewise.
pub const IPPROTO_UDP: u32 = 17;
/// Multipath TCP, as `bpf_sock_addr.protocol` shows it for a socket made with `IPPROTO_MPTCP`.
pub const IPPROTO_MPTCP: u32 = 262;

/// Map `PODS`: network-namespace cookie → an enrolled pod of this node. What is not in it is not touched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodEntry {
    /// The pod's identity (see [`PolicyKey`]).
    pub identity: u64,
    /// The pod's IPv4 address, mapped, or [`Addr::NONE`]. The engine listens on it.
    pub ip4: Addr,
    /// The pod's IPv6 address or [`Addr::NONE`].
    pub ip6: Addr,
    /// Port of the engine's listener for the pod's own connections, host order.
    pub outbound_port: u32,
    /// Port of the engine's listener for connections to the pod, host order.
    pub inbound_port: u32,
    /// `errno` of a refused `connect()`, positive.
    pub errno: u32,
    /// [`PEER_ENFORCED`] and the mode, as in the entries of the pod's addresses in `PEERS`.
    pub flags: u32,
}

/// Map `PEERS`: address → who has it. All pods that are known, of this node and of others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerEntry {
    /// Identity of the pod that has the address; [`IDENTITY_UNKNOWN`] while the address changes hands, and where two
    /// pods claim it.
    pub identity: u64,
    /// Its network-namespace cookie when it is an enrolled pod of this node, else 0.
    pub cookie: u64,
    /// [`PEER_ENFORCED`], with [`PEER_AUDIT`] or [`PEER_PERMISSIVE`] where refusals don't refuse.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// The peer's namespace takes part: who connects to it is judged. Alone it enforces. Without it the namespace takes no
/// part, and no other flag means anything.
pub const PEER_ENFORCED: u32 = 1;
/// Mode `audit`: what is not granted passes all the same, and is reported.
pub const PEER_AUDIT: u32 = 2;
/// Mode `permissive`: what is not granted passes, and nobody is told.
pub const PEER_PERMISSIVE: u32 = 4;

/// Whether a refusal at a peer with these flags lets pass instead.
#[inline(always)]
pub const fn is_lenient(flags: u32) -> bool {
    flags & (PEER_AUDIT | PEER_PERMISSIVE) != 0
}

/// Map `POLICY`: what the kernel decides alone. No entry is a refusal.
///
/// The exact port is looked up first, then [`ANY_PORT`]. An exact entry is never stricter than the one for
/// any port (the compiler sees to it), so the first hit is the answer.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// Identity of the client; [`IDENTITY_UNKNOWN`] never has an entry. [`IDENTITY_ANY`]: see there.
    pub src: u64,
    /// Identity of the server.
    pub dst: u64,
    /// Port of the server's pod, host order, or [`ANY_PORT`].
    pub port: u32,
    /// [`IPPROTO_TCP`] or [`IPPROTO_UDP`].
    pub proto: u32,
}

/// The port of an entry that holds for every port without one of its own.
pub const ANY_PORT: u32 = 0;
/// Nobody we know.
pub const IDENTITY_UNKNOWN: u64 = 0;
/// No client's identity. `POLICY` entries under it say what becomes of those who have no grant at a lenient server:
/// [`VERDICT_ALLOW`] where Services declare the port as bytes, which then go straight to the server. Without an entry
/// the engine sees them first. Never asked for a server that enforces.
pub const IDENTITY_ANY: u64 = u64::MAX;

/// Value of `POLICY`: refuse. Same as no entry.
pub const VERDICT_DENY: u32 = 1;
/// Value of `POLICY`: let it pass, the engine never sees it.
pub const VERDICT_ALLOW: u32 = 2;
/// Value of `POLICY`: the engine decides.
pub const VERDICT_L7: u32 = 3;
/// Value of `POLICY`, kept free: HTTP judged in the kernel. Programs of this version treat it as L7.
pub const VERDICT_HTTP: u32 = 4;

/// Map `SERVICES`: a Service's address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// ClusterIP.
    pub addr: Addr,
    /// Service port, host order.
    pub port: u32,
    /// [`IPPROTO_TCP`] or [`IPPROTO_UDP`].
    pub proto: u32,
}

/// Value of `SERVICES`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceEntry {
    /// The block of [`SlotKey`]s that holds the endpoints; a digest of its content, so that a changed Service
    /// points to a new block and a lookup never mixes two states.
    pub block: u64,
    /// How many slots the block has. 0: nobody to connect to, which refuses unless [`SERVICE_L7`] is set.
    pub slots: u32,
    /// [`SERVICE_L7`].
    pub flags: u32,
}

/// The engine picks the endpoint (an HTTP split, or a protocol that is only known from the bytes).
pub const SERVICE_L7: u32 = 1;
/// Beside [`SERVICE_L7`], for a Service of a lenient namespace: where no engine listens, the kernel picks one.
pub const SERVICE_LENIENT: u32 = 2;

/// Map `SLOTS`: one column of a Service's alias table (Walker's method: constant time, exact weights).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotKey {
    /// [`ServiceEntry::block`].
    pub block: u64,
    /// 0 to [`ServiceEntry::slots`] - 1.
    pub slot: u32,
    /// 0.
    pub reserved: u32,
}

/// Value of `SLOTS`: a random number below `threshold` (of 2^32) takes the first endpoint, else the second.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The column's own endpoint.
    pub addr: Addr,
    /// The endpoint that fills the rest of the column.
    pub alias_addr: Addr,
    /// Port of `addr`, host order.
    pub port: u32,
    /// Port of `alias_addr`, host order.
    pub alias_port: u32,
    /// Share of the first endpoint in this column, of 2^32 - 1 (which means all of it).
    pub threshold: u32,
    /// 0.
    pub reserved: u32,
}

/// Socket storage `SOCKETS`, and the value of the maps inside `ORIGINS`: what Weir knows about one socket.
///
/// It dies with its socket, so no pod can push out another's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketMark {
    /// [`ROLE_TRANSLATED`], [`ROLE_CAPTURED`]: the address that the application asked for.
    /// [`ROLE_UPSTREAM`]: the real client's address, shown to the server; [`Addr::NONE`] shows nothing.
    pub addr: Addr,
    /// The port that goes with it, host order.
    pub port: u32,
    /// One of the `ROLE_…` values.
    pub role: u32,
}

/// An application's socket, connected straight to an endpoint in place of a ClusterIP. Written by connect4/6.
pub const ROLE_TRANSLATED: u32 = 1;
/// An application's UDP socket, bound to a port that its peer was allowed to reach when it connected to it: a server's,
/// which the peer's datagrams reach as long as that is so. Written by connect4/6.
pub const ROLE_SERVING: u32 = 5;
/// An application's socket, connected to the engine. Written by connect4/6.
pub const ROLE_CAPTURED: u32 = 2;
/// The engine's socket towards a server. Written by the agent before it connects.
pub const ROLE_UPSTREAM: u32 = 3;
/// The engine's listener in a pod. Written by the agent before it listens; accepted sockets don't inherit it.
pub const ROLE_LISTENER: u32 = 4;

/// Key of the maps inside `ORIGINS` (outer key: network-namespace cookie): the client's port, host order, with
/// [`ORIGIN_V6`] set for IPv6. An entry that was left behind is overwritten when its port is used again.
pub const ORIGIN_V6: u32 = 1 << 16;

/// Key of `LISTENERS`, the socket hash that `sk_lookup` steers to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// Network-namespace cookie of the pod.
    pub cookie: u64,
    /// 4 or 6.
    pub family: u32,
    /// 0.
    pub reserved: u32,
}

/// Map `BUDGETS`: how many refusals a pod may still report in this window. Programs only ever change entries, the
/// agent makes and removes them, so that one pod's flood can't hide another's refusals.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Start of the window, nanoseconds of the monotonic clock.
    pub window: u64,
    /// Events sent in this window.
    pub used: u32,
    /// Events not sent since the last one that was.
    pub suppressed: u32,
}

/// Events that one pod may send in a window of [`BUDGET_WINDOW_NS`].
pub const BUDGET_EVENTS: u32 = 64;
/// Length of a budget window.
pub const BUDGET_WINDOW_NS: u64 = 1_000_000_000;

/// Ring buffer `EVENTS`: one refusal.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Identity of the client, [`IDENTITY_UNKNOWN`] for nobody we know.
    pub src_identity: u64,
    /// Identity of the server, [`IDENTITY_UNKNOWN`] where there is none (a Service without endpoints).
    pub dst_identity: u64,
    /// The client's address; for [`EVENT_CONNECT`] the pod's first address.
    pub src: Addr,
    /// The server's address.
    pub dst: Addr,
    /// The server's port, host order.
    pub port: u32,
    /// [`IPPROTO_TCP`] or [`IPPROTO_UDP`].
    pub proto: u32,
    /// `EVENT_…`, with [`EVENT_AUDIT`] where it passed.
    pub kind: u32,
    /// Refusals of the same pod since its last event that were counted and not sent.
    pub suppressed: u32,
}

/// Map `PROBES`, keys only: a TCP port that the kubelet's probes of a pod of this node use, as the pod declares them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProbeKey {
    /// Network-namespace cookie of the pod.
    pub cookie: u64,
    /// The port, host order.
    pub port: u32,
    /// 0.
    pub reserved: u32,
}

/// Value of the maps that are sets (`PROBES`, `NODE`).
pub const PRESENT: u32 = 1;

/// Set in [`Event::kind`]: it would have been refused, and passed because the server's namespace is in mode `audit`.
pub const EVENT_AUDIT: u32 = 1 << 31;

/// Refused at `connect()`, in the client's pod.
pub const EVENT_CONNECT: u32 = 1;
/// Refused on arrival, by `sk_lookup` in the server's pod.
pub const EVENT_LOOKUP: u32 = 2;
/// Refused on arrival, by the check of the SYN in front of the server's socket.
pub const EVENT_SYN: u32 = 3;
/// `connect()` or `sendmsg()` to a Service that has nobody to connect to.
pub const EVENT_NO_ENDPOINT: u32 = 4;
/// A datagram refused in the client's pod, when it was sent or its socket connected.
pub const EVENT_SEND: u32 = 5;
/// A datagram, or a packet of another protocol, refused on arrival in front of a socket of the server's pod.
pub const EVENT_ARRIVE: u32 = 6;
/// A packet refused when it left its pod.
pub const EVENT_LEAVE: u32 = 7;
/// A packet whose source address is not its pod's own, refused when it left: `src` is the address that it claims.
pub const EVENT_SOURCE: u32 = 8;

/// Map `META`, one entry: what the pinned maps were made for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// [`ABI_VERSION`] of the agent that made the maps.
    pub abi_version: u32,
    /// 0.
    pub reserved: u32,
    /// Digest of the map sizes, so that changed settings make new maps.
    pub sizes: u64,
}

const _: () = {
    assert!(size_of::<Addr>() == 16);
    assert!(size_of::<PodEntry>() == 56);
    assert!(size_of::<PeerEntry>() == 24);
    assert!(size_of::<PolicyKey>() == 24);
    assert!(size_of::<ServiceKey>() == 24);
    assert!(size_of::<ServiceEntry>() == 16);
    assert!(size_of::<SlotKey>() == 16);
    assert!(size_of::<Slot>() == 48);
    assert!(size_of::<SocketMark>() == 24);
    assert!(size_of::<ListenerKey>() == 16);
    assert!(size_of::<Budget>() == 16);
    assert!(size_of::<Event>() == 64);
    assert!(size_of::<Meta>() == 16);
    assert!(size_of::<ProbeKey>() == 16);
    assert!(size_of::<FlowKey>() == 24);
    assert!(size_of::<FlowState>() == 24);
    assert!(size_of::<PickedSlot>() == 64);
    assert!(size_of::<Picked>() == 64 * PICKED_SLOTS + 8);
};

/// Map keys and values for aya.
#[cfg(feature = "user")]
mod user {
    macro_rules! pod {
        ($($name:ident),*) => {$(
            // SAFETY: `#[repr(C)]`, integers only, and the size assertions above leave no room for padding.
            unsafe impl aya::Pod for crate::$name {}
        )*};
    }
    pod!(
        Addr,
        PodEntry,
        PeerEntry,
        PolicyKey,
        ServiceKey,
        ServiceEntry,
        SlotKey,
        Slot,
        SocketMark,
        ListenerKey,
        Budget,
        Event,
        Meta,
        ProbeKey,
        FlowKey,
        FlowState
    );
}
