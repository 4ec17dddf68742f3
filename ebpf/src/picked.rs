//! Which endpoint stands for a ClusterIP that a UDP socket sends to: the same one for as long as the flow goes on.
//!
//! A flow is a socket and a ClusterIP; it ends when nothing went either way for the idle time, or when its endpoint leaves
//! the Service. Then the next datagram picks again, by weight.
//!
//! Bias: state is in the socket and dies with it. A socket that talks to more ClusterIPs than there are slots forgets the
//! oldest, which costs that socket alone.
//!
//! Threads can share a socket, and programs that run for them share its slots. A slot's version is 0 while it is written,
//! and no version is given out twice: what was read under one version is of one piece.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{BPF_SK_STORAGE_GET_F_CREATE, bpf_sock_addr},
    helpers::{bpf_ktime_get_coarse_ns, generated::bpf_sk_storage_get},
};
use weir_abi::{Addr, PICKED_SLOTS, Picked, PickedSlot, ServiceEntry, SlotKey};

use crate::{
    atomic, connect, datagram,
    maps::{SLOTS, picked},
};

/// Most halvings of a table of [`ServiceEntry::slots`].
const HALVINGS: u32 = 20;

/// What [`endpoint`] found. A plain code beside an address that is always initialised: an enum with a payload leaves
/// registers undefined on some paths, which the verifier refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Endpoint,
    Nobody,
    NoStorage,
}

/// The endpoint for `asked`, remembered in the context's socket.
#[inline(always)]
pub fn endpoint(
    ctx: *mut bpf_sock_addr,
    asked: Addr,
    port: u32,
    service: &ServiceEntry,
    to: &mut Addr,
    to_port: &mut u32,
) -> Found {
    let table = table(ctx, BPF_SK_STORAGE_GET_F_CREATE.into());
    if table.is_null() {
        return Found::NoStorage;
    }
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let (block, slots) = (service.block, service.slots);
    for at in 0..PICKED_SLOTS {
        // SAFETY: not null, so it is this socket's storage, and the index is below its length.
        let slot = unsafe { &raw mut (*table).slots[at] };
        let version = version(slot);
        if version == 0 {
            continue;
        }
        let content = read(slot);
        if content.asked_port != port || content.asked != asked || self::version(slot) != version {
            continue;
        }
        // Another thread's time may be a tick ahead of what was read above.
        let idle = now.saturating_sub(content.used) > datagram::idle_ns();
        if idle || (content.block != block && !is_member(block, slots, content.to, content.to_port)) {
            // The new pick takes another slot; this one is for answers that are still under way, until it is needed.
            clear(slot);
            break;
        }
        // SAFETY: as above. Whoever loses a race here writes what is true as well.
        unsafe {
            write_volatile(&raw mut (*slot).used, now);
            write_volatile(&raw mut (*slot).block, block);
        }
        (*to, *to_port) = (content.to, content.to_port);
        return Found::Endpoint;
    }
    let Some((addr, endpoint_port)) = connect::endpoint(block, slots) else {
        return Found::Nobody;
    };
    // SAFETY: as above; the count is a word of its own.
    let number = unsafe { atomic::fetch_add(&raw mut (*table).versions, 1) };
    // SAFETY: as above; the mask keeps the index below the length.
    let slot = unsafe { &raw mut (*table).slots[number as usize & (PICKED_SLOTS - 1)] };
    set_version(slot, 0);
    // SAFETY: as above.
    unsafe {
        write_volatile(&raw mut (*slot).asked, asked);
        write_volatile(&raw mut (*slot).to, addr);
        write_volatile(&raw mut (*slot).block, block);
        write_volatile(&raw mut (*slot).used, now);
        write_volatile(&raw mut (*slot).asked_port, port);
        write_volatile(&raw mut (*slot).to_port, endpoint_port);
    }
    // Never 0, and another one each time.
    set_version(slot, number + 1);
    (*to, *to_port) = (addr, endpoint_port);
    Found::Endpoint
}

/// Forgets that an address stands for a ClusterIP: the application talks to it by its own name now.
#[inline(always)]
pub fn forget(ctx: *mut bpf_sock_addr, to: Addr, to_port: u32) {
    let table = table(ctx, 0);
    if table.is_null() {
        return;
    }
    for at in 0..PICKED_SLOTS {
        // SAFETY: not null, so it is this socket's storage, and the index is below its length.
        let slot = unsafe { &raw mut (*table).slots[at] };
        let content = read(slot);
        if content.to_port == to_port && content.to == to {
            clear(slot);
        }
    }
}

/// What the application asked for when it sent to this address: true, and the ClusterIP; of several the one that was used
/// last.
#[inline(always)]
pub fn asked(ctx: *mut bpf_sock_addr, from: Addr, from_port: u32, asked: &mut Addr, port: &mut u32) -> bool {
    let table = table(ctx, 0);
    if table.is_null() {
        return false;
    }
    // SAFETY: plain helper call.
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let (mut found, mut newest) = (false, 0u64);
    for at in 0..PICKED_SLOTS {
        // SAFETY: not null, so it is this socket's storage, and the index is below its length.
        let slot = unsafe { &raw mut (*table).slots[at] };
        let version = version(slot);
        let content = read(slot);
        if version == 0 || content.to_port != from_port || content.to != from || self::version(slot) != version {
            continue;
        }
        if content.used >= newest {
            (found, newest) = (true, content.used);
            (*asked, *port) = (content.asked, content.asked_port);
            // SAFETY: as above.
            unsafe { write_volatile(&raw mut (*slot).used, now) };
        }
    }
    found
}

#[inline(always)]
fn table(ctx: *mut bpf_sock_addr, flags: u64) -> *mut Picked {
    // SAFETY: the context's socket is a valid argument; a new value is all zero.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        bpf_sk_storage_get(picked(), sk.cast(), core::ptr::null_mut(), flags).cast()
    }
}

#[inline(always)]
fn version(slot: *mut PickedSlot) -> u64 {
    // An operation that writes nothing new: unlike a load it is a barrier on every architecture.
    // SAFETY: a word of this socket's storage.
    unsafe { atomic::fetch_add(&raw mut (*slot).version, 0) }
}

#[inline(always)]
fn set_version(slot: *mut PickedSlot, version: u64) {
    // SAFETY: a word of this socket's storage.
    unsafe { atomic::exchange(&raw mut (*slot).version, version) };
}

#[inline(always)]
fn clear(slot: *mut PickedSlot) {
    set_version(slot, 0);
}

#[inline(always)]
fn read(slot: *mut PickedSlot) -> PickedSlot {
    // SAFETY: this socket's storage; integers, which may be of two contents until the version says they are not.
    unsafe { read_volatile(slot) }
}

/// Whether an endpoint is in a block: its columns are sorted by address and port. A block that is being removed may have
/// any.
#[inline(always)]
pub fn is_member(block: u64, slots: u32, addr: Addr, port: u32) -> bool {
    let (mut low, mut high) = (0u32, slots);
    for _ in 0..HALVINGS {
        if low >= high {
            return false;
        }
        let middle = low + (high - low) / 2;
        // SAFETY: a block is written once and never changed.
        let Some(entry) = (unsafe {
            SLOTS.get(SlotKey {
                block,
                slot: middle,
                reserved: 0,
            })
        }) else {
            return true;
        };
        if entry.addr == addr && entry.port == port {
            return true;
        }
        if is_before(&entry.addr, entry.port, &addr, port) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    false
}

/// The order of columns: by address, then by port.
#[inline(always)]
fn is_before(a: &Addr, a_port: u32, b: &Addr, b_port: u32) -> bool {
    for word in 0..4 {
        let (a, b) = (u32::from_be(a.0[word]), u32::from_be(b.0[word]));
        if a != b {
            return a < b;
        }
    }
    a_port < b_port
}
