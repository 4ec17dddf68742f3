//! Weir's eBPF programs: entry points only; each hook has a file of its own.
//!
//! Everything is keyed by the network namespaces (or, where a hook has no cookie, the addresses) that the agent was
//! given: what is not in `PODS` or `PEERS` is not touched. Entry points must not have the name of an ELF section.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arrive;
mod atomic;
mod connect;
mod datagram;
mod emit;
mod leave;
mod lookup;
mod maps;
mod packet;
mod peername;
mod picked;
mod send;
mod sock_addr;
mod verdict;

use aya_ebpf::{
    macros::{cgroup_skb, cgroup_sock_addr, sk_lookup},
    programs::{SkBuffContext, SkLookupContext, SockAddrContext},
};

/// See [`connect`].
#[cgroup_sock_addr(connect4)]
pub fn weir_connect4(ctx: SockAddrContext) -> i32 {
    connect::connect4(ctx.sock_addr)
}

/// See [`connect`].
#[cgroup_sock_addr(connect6)]
pub fn weir_connect6(ctx: SockAddrContext) -> i32 {
    connect::connect6(ctx.sock_addr)
}

/// See [`peername`].
#[cgroup_sock_addr(getpeername4)]
pub fn weir_peername4(ctx: SockAddrContext) -> i32 {
    peername::getpeername4(ctx.sock_addr)
}

/// See [`peername`].
#[cgroup_sock_addr(getpeername6)]
pub fn weir_peername6(ctx: SockAddrContext) -> i32 {
    peername::getpeername6(ctx.sock_addr)
}

/// See [`lookup`].
#[sk_lookup]
pub fn weir_lookup(ctx: SkLookupContext) -> u32 {
    lookup::lookup(ctx)
}

/// See [`arrive`].
#[cgroup_skb(ingress)]
pub fn weir_arrive(ctx: SkBuffContext) -> i32 {
    arrive::arrive(ctx)
}

/// See [`leave`].
#[cgroup_skb(egress)]
pub fn weir_leave(ctx: SkBuffContext) -> i32 {
    leave::leave(ctx)
}

/// See [`send`].
#[cgroup_sock_addr(sendmsg4)]
pub fn weir_sendmsg4(ctx: SockAddrContext) -> i32 {
    send::sendmsg4(ctx.sock_addr)
}

/// See [`send`].
#[cgroup_sock_addr(sendmsg6)]
pub fn weir_sendmsg6(ctx: SockAddrContext) -> i32 {
    send::sendmsg6(ctx.sock_addr)
}

/// See [`send`].
#[cgroup_sock_addr(recvmsg4)]
pub fn weir_recvmsg4(ctx: SockAddrContext) -> i32 {
    send::recvmsg4(ctx.sock_addr)
}

/// See [`send`].
#[cgroup_sock_addr(recvmsg6)]
pub fn weir_recvmsg6(ctx: SockAddrContext) -> i32 {
    send::recvmsg6(ctx.sock_addr)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    // Never reached: a program with a reachable panic would not pass the verifier.
    loop {}
}

/// `bpf_get_netns_cookie` and others are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
