//! cgroup/connect4 and connect6: where a pod's connection goes.
//!
//! Bias: refuses early and with a clear errno what the server's side would refuse; never allows what it would not.
//! Addresses that take no part are left alone, so that a missing peer here is no refusal: the server's side decides.
//! A lenient server's refusals pass: by way of the engine where it listens, else straight.
//!
//! Reads `PODS`, `SERVICES`, `SLOTS`, `PEERS`, `POLICY`; writes the socket's own mark in `SOCKETS`.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{
        bpf_func_id::BPF_FUNC_set_retval, bpf_sock_addr, bpf_sock_tuple, bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1,
        bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2,
    },
    helpers::{
        bpf_get_netns_cookie, bpf_get_prandom_u32,
        generated::{bpf_setsockopt, bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_delete, bpf_sk_storage_get},
    },
};
use weir_abi::{
    Addr, Counter, EVENT_AUDIT, EVENT_CONNECT, EVENT_NO_ENDPOINT, Event, IDENTITY_UNKNOWN, IPPROTO_MPTCP, IPPROTO_TCP,
    PEER_ENFORCED, PodEntry, ROLE_CAPTURED, ROLE_LISTENER, ROLE_TRANSLATED, ROLE_UPSTREAM, SERVICE_L7, SERVICE_LENIENT,
    ServiceKey, SlotKey, SocketMark,
};

use crate::{
    emit,
    maps::{PEERS, PODS, SERVICES, SLOTS, count, sockets},
    send,
    sock_addr::Place,
    verdict::{self, Denied, Verdict},
};

/// What becomes of a `connect()`.
enum Decision {
    /// Goes where it wants to.
    Pass,
    /// Goes to an endpoint in place of a ClusterIP.
    Translate(Addr, u32),
    /// Goes to the engine's listener in the pod.
    Capture,
    /// Fails.
    Refuse,
}

/// Return values of the program: 1 lets the system call go on, 0 makes it fail.
pub const PROCEED: i32 = 1;
const FAIL: i32 = 0;

/// connect4.
#[inline(always)]
pub fn connect4(ctx: *mut bpf_sock_addr) -> i32 {
    // SAFETY: the context is valid for the program's run. Every field is read before the first branch, or the compiler
    // merges reads across branches into an access that the verifier refuses.
    let (ip, port, proto) = unsafe {
        (
            read_volatile(&(*ctx).user_ip4),
            read_volatile(&(*ctx).user_port),
            read_volatile(&(*ctx).protocol),
        )
    };
    run(ctx, Addr::from_v4_word(ip), port_of(port), proto, false)
}

/// connect6, IPv4-mapped addresses included.
#[inline(always)]
pub fn connect6(ctx: *mut bpf_sock_addr) -> i32 {
    // SAFETY: as in connect4.
    let (ip, port, proto) = unsafe {
        (
            Addr([
                read_volatile(&(*ctx).user_ip6[0]),
                read_volatile(&(*ctx).user_ip6[1]),
                read_volatile(&(*ctx).user_ip6[2]),
                read_volatile(&(*ctx).user_ip6[3]),
            ]),
            read_volatile(&(*ctx).user_port),
            read_volatile(&(*ctx).protocol),
        )
    };
    run(ctx, ip, port_of(port), proto, true)
}

/// The context keeps a port in network byte order in the low half of a word.
#[inline(always)]
fn port_of(word: u32) -> u32 {
    u32::from(u16::from_be(word as u16))
}

#[inline(always)]
fn run(ctx: *mut bpf_sock_addr, dst: Addr, port: u32, proto: u32, v6_socket: bool) -> i32 {
    if proto != IPPROTO_TCP && proto != IPPROTO_MPTCP {
        return send::connect(ctx, Place { addr: dst, port, proto }, v6_socket);
    }
    // SAFETY: the context is a valid argument of the helper.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.cast()) };
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let Some(pod) = (unsafe { PODS.get(cookie) }) else {
        return PROCEED;
    };
    let mark = mark_of(ctx);
    if !mark.is_null() {
        // SAFETY: not null, so it is this socket's storage.
        if unsafe { (*mark).role } == ROLE_UPSTREAM {
            return PROCEED;
        }
    }
    match decide(ctx, cookie, pod, dst, port) {
        Decision::Pass => {
            if !mark.is_null() {
                forget(ctx);
            }
            PROCEED
        }
        Decision::Translate(addr, to) => {
            if !remember(
                ctx,
                SocketMark {
                    addr: dst,
                    port,
                    role: ROLE_TRANSLATED,
                },
            ) {
                return refuse(pod.errno);
            }
            rewrite(ctx, addr, to, v6_socket);
            PROCEED
        }
        Decision::Capture => {
            let listener = if dst.is_v4() { pod.ip4 } else { pod.ip6 };
            if listener.is_none()
                || !remember(
                    ctx,
                    SocketMark {
                        addr: dst,
                        port,
                        role: ROLE_CAPTURED,
                    },
                )
            {
                return refuse(pod.errno);
            }
            unbind(ctx);
            rewrite(ctx, listener, pod.outbound_port, v6_socket);
            PROCEED
        }
        Decision::Refuse => refuse(pod.errno),
    }
}

#[inline(always)]
fn decide(ctx: *mut bpf_sock_addr, cookie: u64, pod: &PodEntry, dst: Addr, port: u32) -> Decision {
    if dst.is_loopback() || dst == pod.ip4 || dst == pod.ip6 {
        // The engine's listeners take only what was captured; nobody talks to them by name.
        if port == pod.outbound_port || port == pod.inbound_port {
            count(Counter::ConnectDeny);
            return Decision::Refuse;
        }
        return Decision::Pass;
    }
    let (mut to, mut to_port, mut translated) = (dst, port, false);
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    if let Some(service) = unsafe {
        SERVICES.get(ServiceKey {
            addr: dst,
            port,
            proto: IPPROTO_TCP,
        })
    } {
        let (block, slots, flags) = (service.block, service.slots, service.flags);
        if flags & SERVICE_L7 != 0 && (flags & SERVICE_LENIENT == 0 || engine_listens(ctx, pod, dst)) {
            count(Counter::ConnectL7);
            return Decision::Capture;
        }
        // A block that is being replaced can be gone already: that is a refusal, not a way past the Service.
        let Some((addr, endpoint_port)) = endpoint(block, slots) else {
            count(Counter::ConnectNoEndpoint);
            report(cookie, pod, dst, port, IDENTITY_UNKNOWN, EVENT_NO_ENDPOINT);
            return Decision::Refuse;
        };
        (to, to_port, translated) = (addr, endpoint_port, true);
    }
    let pass = if translated {
        Decision::Translate(to, to_port)
    } else {
        Decision::Pass
    };
    if to == pod.ip4 || to == pod.ip6 {
        return pass;
    }
    // SAFETY: as above.
    let Some(peer) = (unsafe { PEERS.get(to) }) else {
        count(Counter::ConnectPass);
        return pass;
    };
    if peer.flags & PEER_ENFORCED == 0 {
        count(Counter::ConnectPass);
        return pass;
    }
    let (server, flags, here) = (peer.identity, peer.flags, peer.cookie != 0);
    let verdict = verdict::tcp(pod.identity, server, to_port);
    if verdict == Verdict::Allow {
        count(Counter::ConnectAllow);
        return pass;
    }
    let denied = verdict::denied(flags);
    let refused = verdict == Verdict::Deny;
    if denied == Denied::Refuse {
        if refused {
            count(Counter::ConnectDeny);
            report(cookie, pod, to, to_port, server, EVENT_CONNECT);
            return Decision::Refuse;
        }
        count(Counter::ConnectL7);
        return Decision::Capture;
    }
    // A lenient server never waits for an engine: this is the only place that has to know whether there is one.
    if refused && verdict::is_bytes(server, to_port) || !engine_listens(ctx, pod, dst) {
        count(Counter::ConnectLenient);
        // A server of this node reports it by itself.
        if refused && !here && denied == Denied::Report {
            report(cookie, pod, to, to_port, server, EVENT_CONNECT | EVENT_AUDIT);
        }
        return pass;
    }
    count(Counter::ConnectL7);
    Decision::Capture
}

/// Whether the engine's listener is there in the client's pod, for the family of `dst`.
#[inline(always)]
fn engine_listens(ctx: *mut bpf_sock_addr, pod: &PodEntry, dst: Addr) -> bool {
    /// The namespace of the socket (uapi/linux/bpf.h).
    const BPF_F_CURRENT_NETNS: u64 = -1i32 as u32 as u64;
    let v4 = dst.is_v4();
    let listener = if v4 { pod.ip4 } else { pod.ip6 };
    if listener.is_none() {
        return false;
    }
    let port = (pod.outbound_port as u16).to_be();
    // SAFETY: an all-zero tuple is a valid one.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    let size = if v4 {
        tuple.__bindgen_anon_1.ipv4 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1 {
            saddr: listener.0[3],
            daddr: listener.0[3],
            sport: 0,
            dport: port,
        };
        size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_1>()
    } else {
        tuple.__bindgen_anon_1.ipv6 = bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2 {
            saddr: listener.0,
            daddr: listener.0,
            sport: 0,
            dport: port,
        };
        size_of::<bpf_sock_tuple__bindgen_ty_1__bindgen_ty_2>()
    };
    // SAFETY: the tuple lives until the call returns; a socket that is not null is released before the function ends.
    unsafe {
        let sk = bpf_sk_lookup_tcp(ctx.cast(), &raw mut tuple, size as u32, BPF_F_CURRENT_NETNS, 0);
        if sk.is_null() {
            return false;
        }
        let mark: *const SocketMark = bpf_sk_storage_get(sockets(), sk.cast(), core::ptr::null_mut(), 0).cast();
        let ours = !mark.is_null() && (*mark).role == ROLE_LISTENER;
        bpf_sk_release(sk.cast());
        ours
    }
}

/// Picks an endpoint by weight: a column at random, then one of its two endpoints (Walker's alias method).
#[inline(always)]
pub fn endpoint(block: u64, slots: u32) -> Option<(Addr, u32)> {
    if slots == 0 {
        return None;
    }
    // SAFETY: plain helper calls.
    let (column, share) = unsafe { (bpf_get_prandom_u32(), bpf_get_prandom_u32()) };
    let slot = ((u64::from(column) * u64::from(slots)) >> 32) as u32;
    // SAFETY: a block is written once and never changed.
    let entry = unsafe {
        SLOTS.get(SlotKey {
            block,
            slot,
            reserved: 0,
        })
    }?;
    if share < entry.threshold || entry.threshold == u32::MAX {
        Some((entry.addr, entry.port))
    } else {
        Some((entry.alias_addr, entry.alias_port))
    }
}

#[inline(always)]
fn report(cookie: u64, pod: &PodEntry, dst: Addr, port: u32, server: u64, kind: u32) {
    let src = if dst.is_v4() { pod.ip4 } else { pod.ip6 };
    emit::refusal(
        cookie,
        Event {
            src_identity: pod.identity,
            dst_identity: server,
            src,
            dst,
            port,
            proto: IPPROTO_TCP,
            kind,
            suppressed: 0,
        },
    );
}

#[inline(always)]
pub fn refuse(errno: u32) -> i32 {
    // The verifier of 7.2 wants to see a value from -4095 to 0, in all 64 bits of the register.
    let value = -i64::from(errno & 0xfff);
    if value != 0 {
        // SAFETY: as the generated binding of the helper, whose `int` argument leaves the upper half of the register clear.
        let set_retval: unsafe extern "C" fn(i64) -> i64 =
            unsafe { core::mem::transmute(BPF_FUNC_set_retval as usize) };
        // SAFETY: plain helper call. Without it the caller sees EPERM.
        unsafe { set_retval(value) };
    }
    FAIL
}

/// This socket's mark, null where it has none.
#[inline(always)]
pub fn mark_of(ctx: *mut bpf_sock_addr) -> *mut SocketMark {
    // SAFETY: the context's socket is a valid argument; no value is created.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        bpf_sk_storage_get(sockets(), sk.cast(), core::ptr::null_mut(), 0).cast()
    }
}

#[inline(always)]
pub fn remember(ctx: *mut bpf_sock_addr, mut mark: SocketMark) -> bool {
    // SAFETY: the context's socket is a valid argument, `mark` lives until the call returns, and a pointer that is not
    // null is this socket's storage.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        let slot: *mut SocketMark = bpf_sk_storage_get(sockets(), sk.cast(), (&raw mut mark).cast(), 1).cast();
        if slot.is_null() {
            count(Counter::ConnectNoStorage);
            return false;
        }
        *slot = mark;
    }
    true
}

#[inline(always)]
pub fn forget(ctx: *mut bpf_sock_addr) {
    // SAFETY: the context's socket is a valid argument.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        bpf_sk_storage_delete(sockets(), sk.cast());
    }
}

/// A socket bound to a device (SO_BINDTODEVICE) can't reach a listener over lo: its connect would hang.
#[inline(always)]
fn unbind(ctx: *mut bpf_sock_addr) {
    const SOL_SOCKET: i32 = 1;
    const SO_BINDTOIFINDEX: i32 = 62;
    // SAFETY: the context's socket is valid; the option is an int that lives until the call returns.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        if !sk.is_null() && read_volatile(&(*sk).bound_dev_if) != 0 {
            let mut none = 0i32;
            bpf_setsockopt(ctx.cast(), SOL_SOCKET, SO_BINDTOIFINDEX, (&raw mut none).cast(), 4);
        }
    }
}

/// Changes where the connection goes. A v6 socket that asked for a mapped address gets a mapped one.
#[inline(always)]
fn rewrite(ctx: *mut bpf_sock_addr, addr: Addr, port: u32, v6_socket: bool) {
    // SAFETY: these fields of the context may be written.
    unsafe {
        if v6_socket {
            write_volatile(&mut (*ctx).user_ip6[0], addr.0[0]);
            write_volatile(&mut (*ctx).user_ip6[1], addr.0[1]);
            write_volatile(&mut (*ctx).user_ip6[2], addr.0[2]);
            write_volatile(&mut (*ctx).user_ip6[3], addr.0[3]);
        } else {
            write_volatile(&mut (*ctx).user_ip4, addr.0[3]);
        }
        write_volatile(&mut (*ctx).user_port, u32::from((port as u16).to_be()));
    }
}
