//! cgroup_skb ingress at the pods' cgroup: the server's side of everything but TCP, the second line behind sk_lookup for
//! TCP, and the note that the engine finds a captured connection by.
//!
//! - **SYN**: checked again, because an sk_lookup refusal loses to any other sk_lookup program of the namespace that
//!   selects a socket, and because a namespace can be without its link for a moment.
//! - **SYN-ACK** from the engine's listener: the client's socket carries what the application asked for; it is noted under
//!   the client's port before the connection is established, hence before the engine can accept it. This takes the
//!   place of a sock_ops program, which the kernel would call nine times for every connection of every pod.
//!
//! - **UDP and other protocols**: see `datagram`.
//!
//! Bias: it runs for each TCP segment, so the first test lets everything without SYN go, by direct packet access.
//! A packet of an enrolled pod that can't be read is dropped.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_get_netns_cookie,
        generated::{bpf_sk_fullsock, bpf_sk_storage_get},
    },
    programs::SkBuffContext,
};
use weir_abi::{
    Counter, EVENT_SYN, Event, IDENTITY_UNKNOWN, IPPROTO_TCP, ORIGIN_V6, PEER_ENFORCED, ROLE_CAPTURED, ROLE_LISTENER,
    ROLE_SERVING, SocketMark,
};

use crate::{
    datagram::{self, Pod},
    emit,
    leave::{is_connected, is_icmp},
    maps::{ORIGINS, OriginWords, PEERS, PODS, count, sockets},
    packet::{self, ACK, LOOPBACK, Packet, Parsed, SYN},
    verdict::{self, Denied, Verdict},
};

pub const PASS: i32 = 1;
pub const DROP: i32 = 0;

/// 1 where the kernel has the cookie of a packet's network namespace (6.16 and later), set by the loader. Elsewhere the
/// pod is only known by the packet's destination.
#[unsafe(no_mangle)]
static HAS_PACKET_COOKIE: u32 = 0;

/// See [`HAS_PACKET_COOKIE`].
#[inline(always)]
pub fn has_packet_cookie() -> bool {
    // SAFETY: set by the loader and never changed.
    unsafe { read_volatile(&HAS_PACKET_COOKIE) != 0 }
}

/// cgroup_skb ingress.
#[inline(always)]
pub fn arrive(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if packet::without_syn(skb) {
        return PASS;
    }
    // SAFETY: the context is valid for the program's run.
    let device = unsafe { read_volatile(&(*skb).ifindex) };
    let mut segment = Packet::default();
    let parsed = packet::parse(skb, &mut segment);
    if parsed == Parsed::NotIp {
        return PASS;
    }
    let (mut cookie, mut server, mut flags) = (0u64, 0u64, 0u32);
    if has_packet_cookie() {
        // SAFETY: the context is a valid argument of the helper.
        let namespace = unsafe { bpf_get_netns_cookie(skb.cast()) };
        // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
        if let Some(pod) = unsafe { PODS.get(namespace) } {
            (cookie, server, flags) = (namespace, pod.identity, pod.flags);
        }
    }
    if cookie == 0 {
        // By its address: where there is no cookie, and for a namespace that has a pod's address and that the agent has
        // not seen yet, as when a pod's namespace was made anew.
        // SAFETY: as above.
        let Some(pod) = (unsafe { PEERS.get(segment.dst) }) else {
            return PASS;
        };
        if pod.cookie == 0 || pod.flags & PEER_ENFORCED == 0 {
            return PASS;
        }
        (cookie, server, flags) = (pod.cookie, pod.identity, pod.flags);
    }
    if parsed == Parsed::Unreadable {
        return DROP;
    }
    if segment.proto != IPPROTO_TCP {
        let pod = Pod {
            cookie,
            identity: server,
            flags,
        };
        return datagram(skb, device, &pod, &segment);
    }
    if segment.flags & SYN == 0 {
        return PASS;
    }
    let mark = socket_mark(skb);
    if segment.flags & ACK != 0 {
        if !mark.is_null() {
            // SAFETY: not null, so it is the storage of the receiving socket.
            let mark = unsafe { *mark };
            if mark.role == ROLE_CAPTURED {
                note(cookie, &segment, mark);
            }
        }
        return PASS;
    }
    // What a pod opens to itself comes over lo; so do the engine's connections.
    if device == LOOPBACK {
        count(Counter::SynPass);
        return PASS;
    }
    judge(cookie, (server, flags), &segment, mark)
}

/// What is not TCP.
#[inline(always)]
fn datagram(skb: *mut __sk_buff, device: u32, pod: &Pod, packet: &Packet) -> i32 {
    // What comes over lo was sent by the pod itself.
    if device == LOOPBACK || is_icmp(packet.proto) {
        return PASS;
    }
    let mark = socket_mark(skb);
    // SAFETY: where not null, it is the storage of the receiving socket.
    let serving = !mark.is_null() && unsafe { (*mark).role } == ROLE_SERVING;
    if datagram::arrive(pod, packet, is_connected(skb), serving) {
        PASS
    } else {
        DROP
    }
}

#[inline(always)]
fn judge(cookie: u64, (server, flags): (u64, u32), segment: &Packet, mark: *const SocketMark) -> i32 {
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let (client, forged) = match unsafe { PEERS.get(segment.src) } {
        // It did not come over lo, so it only claims to be the pod's own: IPv6 lets such packets in from a wire.
        Some(peer) if peer.cookie == cookie => (IDENTITY_UNKNOWN, true),
        Some(peer) => (peer.identity, false),
        None => (IDENTITY_UNKNOWN, false),
    };
    // SAFETY: where not null, it is the storage of the receiving socket.
    if !forged && !mark.is_null() && unsafe { (*mark).role } == ROLE_LISTENER {
        count(Counter::SynPass);
        return PASS;
    }
    // What needs the engine must not reach the application's own socket: only `Allow` passes here.
    if verdict::tcp(client, server, segment.dst_port) == Verdict::Allow {
        count(Counter::SynPass);
        return PASS;
    }
    if !forged && client == IDENTITY_UNKNOWN && verdict::is_probe(cookie, segment.dst_port, segment.src) {
        count(Counter::SynProbe);
        return PASS;
    }
    // What it lacks was reported by sk_lookup.
    if !forged && verdict::denied(flags) != Denied::Refuse {
        count(Counter::SynLenient);
        return PASS;
    }
    count(Counter::SynDeny);
    emit::refusal(
        cookie,
        Event {
            src_identity: client,
            dst_identity: server,
            src: segment.src,
            dst: segment.dst,
            port: segment.dst_port,
            proto: IPPROTO_TCP,
            kind: EVENT_SYN,
            suppressed: 0,
        },
    );
    DROP
}

/// Notes a captured connection for the engine, by the client's port.
#[inline(always)]
fn note(cookie: u64, segment: &Packet, mark: SocketMark) {
    let key = segment.dst_port | if segment.dst.is_v4() { 0 } else { ORIGIN_V6 };
    // SAFETY: the inner map is only used through helpers.
    let noted = match unsafe { ORIGINS.get(&cookie) } {
        Some(origins) => origins.insert(key, words(mark), 0).is_ok(),
        None => false,
    };
    count(if noted {
        Counter::SynOrigin
    } else {
        Counter::SynNoOrigin
    });
}

/// The mark as the inner maps hold it.
#[inline(always)]
fn words(mark: SocketMark) -> OriginWords {
    // SAFETY: both are of the same size, and all of it is `u32` without padding.
    unsafe { core::mem::transmute::<SocketMark, OriginWords>(mark) }
}

/// The mark of the packet's socket, null where it has none.
#[inline(always)]
pub fn socket_mark(skb: *mut __sk_buff) -> *const SocketMark {
    // SAFETY: the context's socket is checked and made a full one before it is used; no value is created.
    unsafe {
        let sk = read_volatile(&(*skb).__bindgen_anon_2.sk);
        if sk.is_null() {
            return core::ptr::null();
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return core::ptr::null();
        }
        bpf_sk_storage_get(sockets(), sk.cast(), core::ptr::null_mut(), 0).cast()
    }
}
