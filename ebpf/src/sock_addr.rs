//! The context of the hooks at `connect()`, `sendmsg()`, `recvmsg()` and `getpeername()`: read once, written once.
//!
//! Bias: every field is read before the first branch, or the compiler merges reads across branches into an access that
//! the verifier refuses.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::bindings::bpf_sock_addr;
use weir_abi::Addr;

/// Where a system call goes to, or what a peer's address is.
#[derive(Clone, Copy)]
pub struct Place {
    /// The address.
    pub addr: Addr,
    /// The port, host order.
    pub port: u32,
    /// Protocol of the socket.
    pub proto: u32,
}

/// From the context of a hook for IPv4.
#[inline(always)]
pub fn read4(ctx: *mut bpf_sock_addr) -> Place {
    // SAFETY: the context is valid for the program's run.
    let (ip, port, proto) = unsafe {
        (
            read_volatile(&(*ctx).user_ip4),
            read_volatile(&(*ctx).user_port),
            read_volatile(&(*ctx).protocol),
        )
    };
    place(Addr::from_v4_word(ip), port, proto)
}

/// From the context of a hook for IPv6; a mapped address is the IPv4 address that it is.
#[inline(always)]
pub fn read6(ctx: *mut bpf_sock_addr) -> Place {
    // SAFETY: as in `read4`.
    let (addr, port, proto) = unsafe {
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
    place(addr, port, proto)
}

/// The context keeps a port in network byte order in the low half of a word.
#[inline(always)]
fn place(addr: Addr, port: u32, proto: u32) -> Place {
    Place {
        addr,
        port: u32::from(u16::from_be(port as u16)),
        proto,
    }
}

/// Changes the address. A hook for IPv6 that saw a mapped address has to be given a mapped one, as [`Addr`] is.
#[inline(always)]
pub fn write(ctx: *mut bpf_sock_addr, addr: Addr, port: u32, v6_hook: bool) {
    // SAFETY: these fields of the context may be written.
    unsafe {
        if v6_hook {
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
