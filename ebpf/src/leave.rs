//! cgroup_skb egress at the pods' cgroup: what a pod sends, seen by no other hook on the client's side: datagrams of
//! connected and raw sockets, other protocols, and packets that claim somebody else's address.
//!
//! Bias: it runs for each TCP segment, so the first test lets those of ordinary TCP sockets go; they can't lie about where
//! they come from. A packet of an enrolled pod that can't be read is dropped. The sender sees EPERM.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{bpf_get_netns_cookie, generated::bpf_sk_fullsock},
    programs::SkBuffContext,
};
use weir_abi::{
    Addr, Counter, EVENT_SOURCE, Event, IDENTITY_UNKNOWN, IPPROTO_TCP, PEER_ENFORCED, ROLE_TRANSLATED, ServiceKey,
};

use crate::{
    arrive::{DROP, PASS, has_packet_cookie, socket_mark},
    datagram::{self, Pod},
    emit,
    maps::{PEERS, PODS, SERVICES, count},
    packet::{self, LOOPBACK, Packet, Parsed},
    picked,
};

/// Protocols that no policy speaks of: what they carry is for the kernel.
const IPPROTO_ICMP: u32 = 1;
const IPPROTO_ICMPV6: u32 = 58;

/// `bpf_sock.type` of a TCP socket; a raw one has another.
const SOCK_STREAM: u32 = 1;
/// `bpf_sock.state` of a socket that is connected, UDP included.
pub const ESTABLISHED: u32 = 1;

/// Whether policy leaves packets of this protocol alone: echo, errors, neighbour discovery.
#[inline(always)]
pub fn is_icmp(proto: u32) -> bool {
    proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6
}

/// Type and state of the packet's socket, 0 where it has none.
#[inline(always)]
fn socket(skb: *mut __sk_buff) -> (u32, u32) {
    // SAFETY: the context's socket is checked and made a full one before it is read.
    unsafe {
        let sk = read_volatile(&(*skb).__bindgen_anon_2.sk);
        if sk.is_null() {
            return (0, 0);
        }
        let sk = bpf_sk_fullsock(sk);
        if sk.is_null() {
            return (0, 0);
        }
        (read_volatile(&(*sk).type_), read_volatile(&(*sk).state))
    }
}

/// Whether the packet's socket is connected.
#[inline(always)]
pub fn is_connected(skb: *mut __sk_buff) -> bool {
    socket(skb).1 == ESTABLISHED
}

/// cgroup_skb egress.
#[inline(always)]
pub fn leave(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the context is valid for the program's run.
    let device = unsafe { read_volatile(&(*skb).ifindex) };
    if packet::without_syn(skb) && socket(skb).0 == SOCK_STREAM {
        return PASS;
    }
    // What a pod sends to itself is its own business.
    if device == LOOPBACK {
        return PASS;
    }
    let mut packet = Packet::default();
    let parsed = packet::parse(skb, &mut packet);
    if parsed == Parsed::NotIp {
        return PASS;
    }
    let mut pod = Pod {
        cookie: 0,
        identity: 0,
        flags: 0,
    };
    let mut own = false;
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let claimed = unsafe { PEERS.get(packet.src) };
    if has_packet_cookie() {
        // SAFETY: the context is a valid argument of the helper.
        let namespace = unsafe { bpf_get_netns_cookie(skb.cast()) };
        let claims = claimed.map_or(0, |peer| peer.cookie);
        // SAFETY: as above.
        if let Some(entry) = unsafe { PODS.get(namespace) } {
            (pod.cookie, pod.identity, pod.flags) = (namespace, entry.identity, entry.flags);
            own = packet.src == entry.ip4 || packet.src == entry.ip6 || claims == namespace || is_nobodys(&packet.src);
        } else if claims == namespace && claims != 0 {
            // A pod for which there was no room.
            (pod.identity, pod.flags) = claimed.map_or((0, 0), |peer| (peer.identity, peer.flags));
            (pod.cookie, own) = (namespace, true);
        } else if claims != 0 {
            // Nobody of ours, who may not pretend to be one of ours.
            count(Counter::LeaveSource);
            return DROP;
        }
    } else if let Some(peer) = claimed {
        // Known by its address only: whether it is the pod's own can't be told.
        if peer.cookie == 0 || peer.flags & PEER_ENFORCED == 0 {
            return PASS;
        }
        (pod.cookie, pod.identity, pod.flags, own) = (peer.cookie, peer.identity, peer.flags, true);
    }
    if pod.cookie == 0 {
        return PASS;
    }
    if parsed == Parsed::Unreadable {
        return DROP;
    }
    if !own {
        count(Counter::LeaveSource);
        emit::refusal(
            pod.cookie,
            Event {
                src_identity: pod.identity,
                dst_identity: IDENTITY_UNKNOWN,
                src: packet.src,
                dst: packet.dst,
                port: packet.dst_port,
                proto: packet.proto,
                kind: EVENT_SOURCE,
                suppressed: 0,
            },
        );
        return DROP;
    }
    // TCP is judged when it connects.
    if packet.proto == IPPROTO_TCP || is_icmp(packet.proto) {
        return PASS;
    }
    let connected = is_connected(skb);
    if connected && is_gone(skb, &packet) {
        count(Counter::LeaveGone);
        return DROP;
    }
    if datagram::leave(&pod, &packet, connected) {
        PASS
    } else {
        DROP
    }
}

/// Whether a socket that is connected to an endpoint in place of a ClusterIP sends to one that its Service has no more.
/// Nothing can send its datagrams elsewhere; the application hears of it and connects again.
#[inline(always)]
fn is_gone(skb: *mut __sk_buff, packet: &Packet) -> bool {
    let mark = socket_mark(skb);
    if mark.is_null() {
        return false;
    }
    // SAFETY: not null, so it is the storage of the sending socket.
    let mark = unsafe { *mark };
    if mark.role != ROLE_TRANSLATED {
        return false;
    }
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    match unsafe {
        SERVICES.get(ServiceKey {
            addr: mark.addr,
            port: mark.port,
            proto: packet.proto,
        })
    } {
        Some(service) => !picked::is_member(service.block, service.slots, packet.dst, packet.dst_port),
        None => true,
    }
}

/// Addresses that nobody can be taken for: none yet (DHCP, neighbour discovery), those of the link, loopback.
#[inline(always)]
fn is_nobodys(addr: &Addr) -> bool {
    let link_local = u32::from_be(addr.0[0]) >> 22 == 0xfe80 >> 6;
    let unspecified = addr.is_none() || addr.is_v4() && addr.0[3] == 0;
    link_local || unspecified || addr.is_loopback()
}
