//! What the headers of a packet say, for the hooks at the pods' cgroup.
//!
//! Bias: what can't be read is told apart from what is none of ours, so that it can be refused. Fragments are whole again
//! on arrival, and not yet cut when a packet leaves: one that is seen was made by hand.

use core::{mem::MaybeUninit, ptr::read_volatile};

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use weir_abi::{Addr, IPPROTO_TCP, IPPROTO_UDP};

/// TCP flag.
pub const SYN: u32 = 0x02;
/// TCP flag.
pub const ACK: u32 = 0x10;
/// Protocol number of a fragment that is not the first (RFC 8200, 4.5); also for IPv4, where it has no number.
pub const FRAGMENT: u32 = 44;
/// Interface number of `lo`, in every network namespace.
pub const LOOPBACK: u32 = 1;
/// How many IPv6 extension headers are walked before a packet counts as unreadable.
const EXTENSIONS: usize = 6;

/// A packet's headers. Ports are host order, 0 where the protocol has none.
#[derive(Default)]
pub struct Packet {
    pub src: Addr,
    pub dst: Addr,
    pub src_port: u32,
    pub dst_port: u32,
    pub proto: u32,
    /// Of TCP.
    pub flags: u32,
}

/// A plain code beside a packet that is always initialised: an enum with a payload leaves registers undefined on some
/// paths, which the verifier refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    NotIp,
    Unreadable,
    Whole,
}

/// True for a TCP segment without SYN, read directly from the packet: the one test that most packets meet.
#[inline(always)]
pub fn without_syn(skb: *mut __sk_buff) -> bool {
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

/// Reads the headers.
#[inline(always)]
pub fn parse(skb: *mut __sk_buff, packet: &mut Packet) -> Parsed {
    let Some(first) = load::<u8>(skb, 0) else {
        return Parsed::Unreadable;
    };
    match first >> 4 {
        4 => parse_v4(skb, packet),
        6 => parse_v6(skb, packet),
        _ => Parsed::NotIp,
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

/// RFC 791, 3.1. Words are as in the packet: network order.
#[inline(always)]
fn parse_v4(skb: *mut __sk_buff, packet: &mut Packet) -> Parsed {
    let Some(head) = load::<[u32; 5]>(skb, 0) else {
        return Parsed::Unreadable;
    };
    packet.src = Addr::from_v4_word(head[3]);
    packet.dst = Addr::from_v4_word(head[4]);
    packet.proto = u32::from_be(head[2]) >> 16 & 0xff;
    if u32::from_be(head[1]) & 0x1fff != 0 {
        packet.proto = FRAGMENT;
    }
    parse_ports(skb, (u32::from_be(head[0]) >> 24 & 15) * 4, packet)
}

/// RFC 8200, 3 and 4.
#[inline(always)]
fn parse_v6(skb: *mut __sk_buff, packet: &mut Packet) -> Parsed {
    let Some(head) = load::<[u32; 10]>(skb, 0) else {
        return Parsed::Unreadable;
    };
    packet.src = Addr([head[2], head[3], head[4], head[5]]);
    packet.dst = Addr([head[6], head[7], head[8], head[9]]);
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
    packet.proto = next;
    parse_ports(skb, offset, packet)
}

/// Hop-by-hop options, routing, destination options.
#[inline(always)]
fn is_extension(next: u32) -> bool {
    next == 0 || next == 43 || next == 60
}

/// RFC 9293, 3.1, and RFC 768.
#[inline(always)]
fn parse_ports(skb: *mut __sk_buff, offset: u32, packet: &mut Packet) -> Parsed {
    if packet.proto != IPPROTO_TCP && packet.proto != IPPROTO_UDP {
        return Parsed::Whole;
    }
    let Some(ports) = load::<u32>(skb, offset) else {
        return Parsed::Unreadable;
    };
    packet.src_port = u32::from_be(ports) >> 16;
    packet.dst_port = u32::from_be(ports) & 0xffff;
    if packet.proto == IPPROTO_TCP {
        let Some(flags) = load::<u8>(skb, offset + 13) else {
            return Parsed::Unreadable;
        };
        packet.flags = u32::from(flags);
    }
    Parsed::Whole
}
