//! cgroup/getpeername4 and 6: applications see the addresses that they would see without Weir.
//!
//! A client gets the address that it asked for. A server gets the real client: its peer is then the engine's socket in
//! the same namespace, which carries the client's address in its mark. The hook also rewrites what `accept()` returns.
//!
//! Bias: shows, never decides. State lives in the two sockets, so there is nothing to fill and nothing to clean up.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{BPF_F_CURRENT_NETNS, bpf_sock, bpf_sock_addr, bpf_sock_tuple},
    helpers::{
        bpf_get_netns_cookie,
        generated::{bpf_sk_lookup_tcp, bpf_sk_release, bpf_sk_storage_get},
    },
};
use weir_abi::{Addr, Counter, IPPROTO_MPTCP, ROLE_CAPTURED, ROLE_TRANSLATED, ROLE_UPSTREAM, SocketMark};

use crate::maps::{PODS, count, sockets};

/// getpeername4.
#[inline(always)]
pub fn getpeername4(ctx: *mut bpf_sock_addr) -> i32 {
    // SAFETY: the context is valid for the program's run; all fields are read before the first branch.
    let (ip, port, proto) = unsafe {
        (
            read_volatile(&(*ctx).user_ip4),
            read_volatile(&(*ctx).user_port),
            read_volatile(&(*ctx).protocol),
        )
    };
    let shown = shown(ctx, Addr::from_v4_word(ip), port, proto);
    if shown.role != NOTHING && shown.addr.is_v4() {
        // SAFETY: these fields of the context may be written.
        unsafe {
            write_volatile(&mut (*ctx).user_ip4, shown.addr.0[3]);
            write_volatile(&mut (*ctx).user_port, u32::from((shown.port as u16).to_be()));
        }
        count(Counter::PeernameShown);
    }
    1
}

/// getpeername6, IPv4-mapped addresses included.
#[inline(always)]
pub fn getpeername6(ctx: *mut bpf_sock_addr) -> i32 {
    // SAFETY: as in getpeername4.
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
    let shown = shown(ctx, ip, port, proto);
    if shown.role != NOTHING {
        // SAFETY: these fields of the context may be written.
        unsafe {
            write_volatile(&mut (*ctx).user_ip6[0], shown.addr.0[0]);
            write_volatile(&mut (*ctx).user_ip6[1], shown.addr.0[1]);
            write_volatile(&mut (*ctx).user_ip6[2], shown.addr.0[2]);
            write_volatile(&mut (*ctx).user_ip6[3], shown.addr.0[3]);
            write_volatile(&mut (*ctx).user_port, u32::from((shown.port as u16).to_be()));
        }
        count(Counter::PeernameShown);
    }
    1
}

/// Role of a mark that shows nothing. Marks are passed by value and always initialised: an `Option` of one leaves
/// registers undefined on some paths, which the verifier refuses.
const NOTHING: u32 = 0;

/// The address to show in place of `peer`, with role [`NOTHING`] where there is none. `port` as in the context,
/// network byte order.
#[inline(always)]
fn shown(ctx: *mut bpf_sock_addr, peer: Addr, port: u32, proto: u32) -> SocketMark {
    let nothing = SocketMark::default();
    // SAFETY: the context is a valid argument of the helper.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.cast()) };
    // SAFETY: entries are integers.
    let Some(pod) = (unsafe { PODS.get(cookie) }) else {
        return nothing;
    };
    // SAFETY: a full socket of the context.
    let sk = unsafe { (*ctx).__bindgen_anon_1.sk };
    if sk.is_null() {
        return nothing;
    }
    let own = mark(sk);
    if own.role == ROLE_CAPTURED || own.role == ROLE_TRANSLATED {
        return own;
    }
    // SAFETY: a field of a full socket.
    let local_port = (unsafe { read_volatile(&(*sk).src_port) } as u16).to_be();
    let own_addr = if peer.is_v4() { pod.ip4 } else { pod.ip6 };
    if proto == IPPROTO_MPTCP {
        // An MPTCP socket has no mark; its subflow, which connect4/6 saw, has.
        let subflow = mark_between(ctx, own_addr, local_port, peer, port as u16);
        if subflow.role == ROLE_CAPTURED || subflow.role == ROLE_TRANSLATED {
            return subflow;
        }
    }
    // The engine connects to a pod from the pod's own address.
    if own.role != NOTHING || peer.is_none() || peer != own_addr {
        return nothing;
    }
    let theirs = mark_between(ctx, peer, port as u16, own_addr, local_port);
    if theirs.role == ROLE_UPSTREAM && !theirs.addr.is_none() {
        theirs
    } else {
        nothing
    }
}

#[inline(always)]
fn mark(sk: *mut bpf_sock) -> SocketMark {
    // SAFETY: a full socket; no value is created; a pointer that is not null is that socket's storage.
    unsafe {
        let slot: *mut SocketMark = bpf_sk_storage_get(sockets(), sk.cast(), core::ptr::null_mut(), 0).cast();
        if slot.is_null() { SocketMark::default() } else { *slot }
    }
}

/// The mark of the TCP socket of this namespace at `local`, connected to `remote`. Ports in network order.
#[inline(always)]
fn mark_between(ctx: *mut bpf_sock_addr, local: Addr, local_port: u16, remote: Addr, remote_port: u16) -> SocketMark {
    // SAFETY: an all-zero tuple is valid.
    let mut tuple: bpf_sock_tuple = unsafe { core::mem::zeroed() };
    // The helper looks for the socket that gets packets from `saddr:sport` at `daddr:dport`.
    let size = if local.is_v4() {
        let v4 = &mut tuple.__bindgen_anon_1;
        v4.ipv4.saddr = remote.0[3];
        v4.ipv4.daddr = local.0[3];
        v4.ipv4.sport = remote_port;
        v4.ipv4.dport = local_port;
        12
    } else {
        let v6 = &mut tuple.__bindgen_anon_1;
        v6.ipv6.saddr = remote.0;
        v6.ipv6.daddr = local.0;
        v6.ipv6.sport = remote_port;
        v6.ipv6.dport = local_port;
        36
    };
    // SAFETY: the tuple lives until the call returns; the reference is given back below.
    let other = unsafe { bpf_sk_lookup_tcp(ctx.cast(), &mut tuple, size, BPF_F_CURRENT_NETNS as i64 as u64, 0) };
    if other.is_null() {
        return SocketMark::default();
    }
    let found = mark(other);
    // SAFETY: a reference that this program holds.
    unsafe { bpf_sk_release(other.cast()) };
    found
}
