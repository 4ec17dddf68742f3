//! All maps. Owner of every entry: the agent, except where a map says otherwise.
//!
//! `max_entries` here are the defaults; the agent's settings change them at load time. Nothing is ever evicted: a map
//! that is full refuses the insertion, and what is missing from a table is refused.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, HashOfMaps, LruHashMap, PerCpuArray, RingBuf, SkStorage, SockHash},
    macros::btf_map,
};
use weir_abi::{
    Addr, Budget, COUNTERS, Counter, Event, FlowKey, FlowState, ListenerKey, Meta, PeerEntry, Picked, PodEntry,
    PolicyKey, ProbeKey, ServiceEntry, ServiceKey, Slot, SlotKey, SocketMark,
};

const GROW: usize = BPF_F_NO_PREALLOC as usize;

/// Network-namespace cookie → enrolled pod of this node.
#[btf_map]
pub static PODS: HashMap<u64, PodEntry, 1024> = HashMap::new();

/// Address → pod, of this node or another.
#[btf_map]
pub static PEERS: HashMap<Addr, PeerEntry, 65536, GROW> = HashMap::new();

/// What the kernel decides alone.
#[btf_map]
pub static POLICY: HashMap<PolicyKey, u32, 131072, GROW> = HashMap::new();

/// ClusterIP and port → block of endpoints.
#[btf_map]
pub static SERVICES: HashMap<ServiceKey, ServiceEntry, 16384, GROW> = HashMap::new();

/// Alias tables of all Services.
#[btf_map]
pub static SLOTS: HashMap<SlotKey, Slot, 262144, GROW> = HashMap::new();

/// TCP ports that the kubelet probes, by pod of this node. A set.
#[btf_map]
pub static PROBES: HashMap<ProbeKey, u32, 16384, GROW> = HashMap::new();

/// Addresses of this node. A set.
#[btf_map]
pub static NODE: HashMap<Addr, u32, 1024, GROW> = HashMap::new();

/// What is known about a socket. Written by connect4/6 and, for its own sockets, by the agent.
#[btf_map]
pub static SOCKETS: SkStorage<SocketMark> = SkStorage::new();

/// The inner map of [`ORIGINS`]: client port → what the application asked for. Written by `arrive`, taken out by the
/// agent when it accepts.
///
/// A value is the words of a [`SocketMark`], and not the struct itself: 6.1 takes an inner map only if it has the
/// template's `timer_off`, which is "no timer in this struct" where BTF says struct, and "no struct" for the maps that
/// the agent makes without BTF.
pub type Origins = HashMap<u32, OriginWords, 16384, GROW>;

/// A [`SocketMark`] as words.
pub type OriginWords = [u32; size_of::<SocketMark>() / size_of::<u32>()];

/// Network-namespace cookie → captured connections of that pod that the engine has not accepted yet. One map a pod,
/// so that a pod can only fill its own.
#[btf_map]
pub static ORIGINS: HashOfMaps<u64, Origins, 1024> = HashOfMaps::new();

/// The inner map of [`FLOWS`]: words, for the reason that [`Origins`] has.
pub type Flows = LruHashMap<FlowKey, FlowWords, 4096>;

/// A [`weir_abi::FlowState`] as words.
pub type FlowWords = [u64; size_of::<FlowState>() / size_of::<u64>()];

/// Network-namespace cookie → what that pod has sent and whom it serves. One map a pod, which loses the oldest when it is
/// full, so that a pod can only push out its own. Its size is a setting.
#[btf_map]
pub static FLOWS: HashOfMaps<u64, Flows, 1024> = HashOfMaps::new();

/// Endpoints that UDP sockets send to in place of ClusterIPs. Written by sendmsg4/6 and connect4/6.
#[btf_map]
pub static PICKED: SkStorage<Picked> = SkStorage::new();

/// The engine's listeners for connections to pods.
#[btf_map]
pub static LISTENERS: SockHash<ListenerKey, 4096> = SockHash::new();

/// Refusals that a pod may still report. Entries are made by the agent and counted down here.
#[btf_map]
pub static BUDGETS: HashMap<u64, Budget, 1024> = HashMap::new();

/// Refusals, to the agent.
#[btf_map]
pub static EVENTS: RingBuf<Event, 262144> = RingBuf::new();

/// Counters, by [`Counter`].
#[btf_map]
pub static STATS: PerCpuArray<u64, { COUNTERS as usize }> = PerCpuArray::new();

/// Not read by programs: what the pinned maps were made for.
#[btf_map]
pub static META: Array<Meta, 1> = Array::new();

/// Counts one.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(slot) = STATS.get_ptr_mut(counter as u32) {
        // SAFETY: the slot belongs to this CPU, and programs of one CPU that interrupt each other can at worst lose one count.
        unsafe { *slot += 1 };
    }
}

/// `PICKED`, as the storage helpers take it.
#[inline(always)]
pub fn picked() -> *mut core::ffi::c_void {
    (&raw const PICKED).cast_mut().cast()
}

/// `SOCKETS`, as the storage helpers take it.
#[inline(always)]
pub fn sockets() -> *mut core::ffi::c_void {
    (&raw const SOCKETS).cast_mut().cast()
}
