//! cgroup_skb ingress at the pods' cgroup: the second line behind sk_lookup, and the note that the engine finds a
//! captured connection by.
//!
//! - **SYN**: checked again, because an sk_lookup refusal loses to any other sk_lookup program of the namespace that
//!   selects a socket, and because a namespace can be without its link for a moment.
//! - **SYN-ACK** from the engine's listener: the client's socket carries what the application asked for; it is noted under
//!   the client's port before the connection is established, hence before the engine can accept it. This takes the
//!   place of a sock_ops program, which the kernel would call nine times for every connection of every pod.
//!
//! Bias: it runs for each TCP segment, so the first test lets everything without SYN go, by direct packet access.
//! A packet of an enrolled pod that can't be read is dropped.

use core::{mem::MaybeUninit, ptr::read_volatile};

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::{
        bpf_get_netns_cookie,
        generated::{bpf_sk_fullsock, bpf_sk_storage_get, bpf_skb_load_bytes},
    },
    programs::SkBuffContext,
};
use weir_abi::{
    Addr, Counter, EVENT_SYN, Event, IDENTITY_UNKNOWN, IPPROTO_TCP, ORIGIN_V6, PEER_ENFORCED, ROLE_CAPTURED,
    ROLE_LISTENER, SocketMark,
};

use crate::{
    emit,
    maps::{ORIGINS, OriginWords, PEERS, PODS, count, sockets},
    verdict::{self, Denied, Verdict},
};

const PASS: i32 = 1;
const DROP: i32 = 0;
const SYN: u32 = 0x02;
const ACK: u32 = 0x10;
/// How many IPv6 extension headers are walked before a packet counts as unreadable.
const EXTENSIONS: usize = 6;

/// 1 where the kernel has the cookie of a packet's network namespace (6.16 and later), set by the loader. Elsewhere the
/// pod is only known by the packet's destination.
#[unsafe(no_mangle)]
static HAS_PACKET_COOKIE: u32 = 0;

#[derive(Default)]
struct Segment {
    src: Addr,
    dst: Addr,
    dst_port: u32,
    flags: u32,
}

/// What the headers say. A plain code beside a segment that is always initialised: an enum with a payload leaves
/// registers undefined on some paths, which the verifier refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parsed {
    NotTcp,
    Unreadable,
    Tcp,
}

/// cgroup_skb ingress.
#[inline(always)]
pub fn arrive(ctx: SkBuffContext) -> i32 {
    let skb = ctx.skb.skb;
    if without_syn(skb) {
        return PASS;
    }
    let mut segment = Segment::default();
    let parsed = parse(skb, &mut segment);
    if parsed == Parsed::NotTcp {
        return PASS;
    }
    let (mut cookie, mut server, mut flags) = (0u64, 0u64, 0u32);
    // SAFETY: set by the loader and never changed.
    if unsafe { read_volatile(&HAS_PACKET_COOKIE) } != 0 {
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
    if segment.flags & SYN == 0 {
        return PASS;
    }
    let mark = receiver(skb);
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
    judge(cookie, (server, flags), &segment, mark)
}

#[inline(always)]
fn judge(cookie: u64, (server, flags): (u64, u32), segment: &Segment, mark: *const SocketMark) -> i32 {
    if segment.src == segment.dst || segment.dst.is_loopback() {
        return PASS;
    }
    // SAFETY: where not null, it is the storage of the receiving socket.
    if !mark.is_null() && unsafe { (*mark).role } == ROLE_LISTENER {
        count(Counter::SynPass);
        return PASS;
    }
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let (client, client_cookie) = match unsafe { PEERS.get(segment.src) } {
        Some(peer) => (peer.identity, peer.cookie),
        None => (IDENTITY_UNKNOWN, 0),
    };
    // What needs the engine must not reach the application's own socket: only `Allow` passes here.
    if client_cookie == cookie || verdict::tcp(client, server, segment.dst_port) == Verdict::Allow {
        count(Counter::SynPass);
        return PASS;
    }
    if client == IDENTITY_UNKNOWN && verdict::is_probe(cookie, segment.dst_port, segment.src) {
        count(Counter::SynProbe);
        return PASS;
    }
    // What it lacks was reported by sk_lookup.
    if verdict::denied(flags) != Denied::Refuse {
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
fn note(cookie: u64, segment: &Segment, mark: SocketMark) {
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

/// The mark of the socket that gets the packet, null where it has none.
#[inline(always)]
fn receiver(skb: *mut __sk_buff) -> *const SocketMark {
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

/// True for a TCP segment without SYN, read directly from the packet: the one test that most packets meet.
#[inline(always)]
fn without_syn(skb: *mut __sk_buff) -> bool {
    // SAFETY: reads stay below `data_end`, which is checked first.
    unsafe {
        let data = (*skb).data as usize;
        let end = (*skb).data_end as usize;
        if data + 40 > end {
            return false;
        }
        let head = data as *const u8;
        // IPv4 without options, TCP.
        if read_volatile(head) == 0x45 {
            return read_volatile(head.add(9)) == IPPROTO_TCP as u8 && read_volatile(head.add(33)) & SYN as u8 == 0;
        }
        // IPv6 without extension headers, TCP.
        data + 60 <= end
            && read_volatile(head) >> 4 == 6
            && read_volatile(head.add(6)) == IPPROTO_TCP as u8
            && read_volatile(head.add(53)) & SYN as u8 == 0
    }
}

#[inline(always)]
fn load<T: Copy>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the value has room for its own size, and is filled when the helper says so; `T` is made of integers.
    unsafe {
        let result = bpf_skb_load_bytes(skb.cast(), offset, value.as_mut_ptr().cast(), size_of::<T>() as u32);
        if result == 0 { Some(value.assume_init()) } else { None }
    }
}

#[inline(always)]
fn parse(skb: *mut __sk_buff, segment: &mut Segment) -> Parsed {
    let Some(first) = load::<u8>(skb, 0) else {
        return Parsed::Unreadable;
    };
    match first >> 4 {
        4 => parse_v4(skb, segment),
        6 => parse_v6(skb, segment),
        _ => Parsed::NotTcp,
    }
}

/// RFC 791, 3.1. Words are as in the packet: network order.
#[inline(always)]
fn parse_v4(skb: *mut __sk_buff, segment: &mut Segment) -> Parsed {
    let Some(head) = load::<[u32; 5]>(skb, 0) else {
        return Parsed::Unreadable;
    };
    if u32::from_be(head[2]) >> 16 & 0xff != IPPROTO_TCP {
        return Parsed::NotTcp;
    }
    segment.src = Addr::from_v4_word(head[3]);
    segment.dst = Addr::from_v4_word(head[4]);
    parse_tcp(skb, (u32::from_be(head[0]) >> 24 & 15) * 4, segment)
}

/// RFC 8200, 3 and 4.
#[inline(always)]
fn parse_v6(skb: *mut __sk_buff, segment: &mut Segment) -> Parsed {
    let Some(head) = load::<[u32; 10]>(skb, 0) else {
        return Parsed::Unreadable;
    };
    segment.src = Addr([head[2], head[3], head[4], head[5]]);
    segment.dst = Addr([head[6], head[7], head[8], head[9]]);
    let (mut next, mut offset) = (u32::from_be(head[1]) >> 8 & 0xff, 40u32);
    for _ in 0..EXTENSIONS {
        if !is_extension(next) {
            break;
        }
        let Some([following, units]) = load::<[u8; 2]>(skb, offset) else {
            return Parsed::Unreadable;
        };
        next = u32::from(following);
        offset += (u32::from(units) + 1) * 8;
    }
    if is_extension(next) {
        return Parsed::Unreadable;
    }
    if next != IPPROTO_TCP {
        return Parsed::NotTcp;
    }
    parse_tcp(skb, offset, segment)
}

/// Hop-by-hop options, routing, destination options. Fragments are whole again at this hook.
#[inline(always)]
fn is_extension(next: u32) -> bool {
    next == 0 || next == 43 || next == 60
}

/// RFC 9293, 3.1.
#[inline(always)]
fn parse_tcp(skb: *mut __sk_buff, offset: u32, segment: &mut Segment) -> Parsed {
    let Some(head) = load::<[u32; 4]>(skb, offset) else {
        return Parsed::Unreadable;
    };
    segment.dst_port = u32::from_be(head[0]) & 0xffff;
    segment.flags = u32::from_be(head[3]) >> 16 & 0xff;
    Parsed::Tcp
}
