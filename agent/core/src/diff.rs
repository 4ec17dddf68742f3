//! From the kernel tables in force to new ones, as ordered map operations.
//!
//! Bias: an operation too many rather than a moment in which something is open that neither plan allows. Access only
//! shrinks in `before` and only grows in `after`: in between it is what both plans allow, or less where an address or a
//! pod changes hands. A pair that both plans allow stays allowed all the way. Pure; the agent applies the operations.
//!
//! One exception, which is what the objects say: a pod or namespace that takes no part any more is left alone at the end
//! of `after`.

mod policy;

use std::collections::{BTreeMap, BTreeSet};

use weir_abi::{
    Addr, IDENTITY_UNKNOWN, IPPROTO_UDP, PEER_AUDIT, PEER_ENFORCED, PEER_PERMISSIVE, PRESENT, PeerEntry, PodEntry,
    PolicyKey, ProbeKey, ServiceEntry, ServiceKey, Slot, SlotKey,
};

use crate::identity::Identity;
use crate::plan::KernelTable;

/// One change of one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "set or delete, and the map's name")]
pub enum MapOp {
    SetPod(u64, PodEntry),
    DeletePod(u64),
    SetPeer(Addr, PeerEntry),
    DeletePeer(Addr),
    SetPolicy(PolicyKey, u32),
    DeletePolicy(PolicyKey),
    SetSlot(SlotKey, Slot),
    DeleteSlot(SlotKey),
    SetService(ServiceKey, ServiceEntry),
    DeleteService(ServiceKey),
    SetProbe(ProbeKey),
    DeleteProbe(ProbeKey),
    SetNode(Addr),
    DeleteNode(Addr),
}

/// What to do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapChanges {
    /// Before the snapshot is swapped: what goes away.
    pub before: Vec<MapOp>,
    /// After the snapshot was swapped: what comes.
    pub after: Vec<MapOp>,
    /// What open connections have to be judged again.
    pub weakened: Weakened,
}

/// Who may do less than before. Connections of the kernel's tier between them may have to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weakened {
    /// Source and destination whose verdict on some port is stricter.
    pub pairs: BTreeSet<(Identity, Identity)>,
    /// Addresses that are now another's or nobody's, whose mode is stricter now, or whose pod is captured now; and those of
    /// the node that are its own no more.
    pub addresses: BTreeSet<Addr>,
    /// UDP Services whose endpoints are others now: sockets that are connected to one of them may have to end.
    pub services: BTreeSet<ServiceKey>,
}

impl MapChanges {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}

/// What leads from `old` to `new`.
pub fn diff(old: &KernelTable, new: &KernelTable) -> MapChanges {
    let mut changes = MapChanges::default();
    policy::narrow(old, new, &mut changes);
    peers_before(old, new, &mut changes);
    pods_before(old, new, &mut changes);
    probes_before(old, new, &mut changes);
    peers_after(old, new, &mut changes.after);
    services(old, new, &mut changes.after);
    let moved = old.services.iter().filter(|(key, entry)| {
        let now = new.services.get(key).map(|now| now.block);
        key.proto == IPPROTO_UDP && now != Some(entry.block)
    });
    changes.weakened.services = moved.map(|(key, _)| *key).collect();
    policy::widen(old, new, &mut changes.after);
    pods_after(old, new, &mut changes.after);
    policy::settle(old, new, &mut changes.after);
    let after = &mut changes.after;
    after.extend(set(&old.probes, &new.probes).map(|(key, _)| MapOp::SetProbe(key)));
    after.extend(set(&old.node, &new.node).map(|(addr, _)| MapOp::SetNode(addr)));
    changes
}

/// How little passes, by the flags of an entry.
fn strictness(flags: u32) -> u32 {
    match flags & (PEER_ENFORCED | PEER_AUDIT | PEER_PERMISSIVE) {
        PEER_ENFORCED => 3,
        flags if flags & PEER_ENFORCED == 0 => 0,
        flags if flags & PEER_PERMISSIVE == 0 => 2,
        _ => 1,
    }
}

/// The flags that let less pass.
fn stricter(was: u32, is: u32) -> u32 {
    if strictness(is) > strictness(was) { is } else { was }
}

/// Probe ports and node addresses that are none any more. What is open is judged again by way of the pod's addresses.
fn probes_before(old: &KernelTable, new: &KernelTable, changes: &mut MapChanges) {
    for key in gone(&old.probes, &new.probes) {
        changes.before.push(MapOp::DeleteProbe(key));
        let pod = old.pods.get(&key.cookie).into_iter();
        let addresses = pod.flat_map(|pod| [pod.ip4, pod.ip6]).filter(|addr| !addr.is_none());
        changes.weakened.addresses.extend(addresses);
    }
    for addr in gone(&old.node, &new.node) {
        changes.before.push(MapOp::DeleteNode(addr));
        changes.weakened.addresses.insert(addr);
    }
}

/// `PEERS` between the plans. An address that changes hands belongs to nobody until the new plan is in force, and so
/// does one that comes or goes: without an entry it would be taken for an address outside of the mesh.
fn peer_between(was: Option<&PeerEntry>, is: Option<&PeerEntry>) -> Option<PeerEntry> {
    let closed = |flags: u32| PeerEntry {
        identity: IDENTITY_UNKNOWN,
        flags,
        ..PeerEntry::default()
    };
    match (was, is) {
        (Some(was), Some(is)) if was.identity != is.identity => Some(PeerEntry {
            // The same pod, that everything passes to whoever it is: there is no moment in which it is refused.
            cookie: if was.cookie == is.cookie { was.cookie } else { 0 },
            ..closed(stricter(was.flags, is.flags))
        }),
        (Some(was), Some(is)) if strictness(is.flags) > strictness(was.flags) => Some(*is),
        (Some(was), Some(_)) => Some(*was),
        (Some(was), None) => Some(closed(was.flags)),
        (None, Some(is)) => (is.flags & PEER_ENFORCED != 0).then(|| closed(is.flags)),
        (None, None) => None,
    }
}

fn peers_before(old: &KernelTable, new: &KernelTable, changes: &mut MapChanges) {
    for addr in keys(&old.peers, &new.peers) {
        let was = old.peers.get(addr);
        let between = peer_between(was, new.peers.get(addr));
        if let Some(entry) = between.filter(|_| between.as_ref() != was) {
            changes.weakened.addresses.insert(*addr);
            changes.before.push(MapOp::SetPeer(*addr, entry));
        }
    }
}

fn peers_after(old: &KernelTable, new: &KernelTable, ops: &mut Vec<MapOp>) {
    for addr in keys(&old.peers, &new.peers) {
        let is = new.peers.get(addr);
        match (peer_between(old.peers.get(addr), is), is) {
            (between, Some(is)) if between != Some(*is) => ops.push(MapOp::SetPeer(*addr, *is)),
            (Some(_), None) => ops.push(MapOp::DeletePeer(*addr)),
            _ => {}
        }
    }
}

/// `PODS` between the plans: a pod is captured before anything is granted to it, is nobody while its identity changes,
/// and stays captured until all else is done.
fn pod_between(was: Option<&PodEntry>, is: Option<&PodEntry>) -> Option<PodEntry> {
    match (was, is) {
        (Some(was), Some(is)) if was.identity != is.identity => Some(PodEntry {
            identity: IDENTITY_UNKNOWN,
            flags: stricter(was.flags, is.flags),
            ..*was
        }),
        (Some(was), Some(is)) => Some(PodEntry {
            flags: stricter(was.flags, is.flags),
            ..*was
        }),
        (Some(was), _) => Some(*was),
        (None, is) => is.copied(),
    }
}

fn pods_before(old: &KernelTable, new: &KernelTable, changes: &mut MapChanges) {
    for cookie in keys(&old.pods, &new.pods) {
        let was = old.pods.get(cookie);
        let between = pod_between(was, new.pods.get(cookie));
        if let Some(entry) = between.filter(|_| between.as_ref() != was) {
            let addresses = [entry.ip4, entry.ip6].into_iter().filter(|addr| !addr.is_none());
            changes.weakened.addresses.extend(addresses);
            changes.before.push(MapOp::SetPod(*cookie, entry));
        }
    }
}

fn pods_after(old: &KernelTable, new: &KernelTable, ops: &mut Vec<MapOp>) {
    for cookie in keys(&old.pods, &new.pods) {
        let is = new.pods.get(cookie);
        match (pod_between(old.pods.get(cookie), is), is) {
            (between, Some(is)) if between != Some(*is) => ops.push(MapOp::SetPod(*cookie, *is)),
            (Some(_), None) => ops.push(MapOp::DeletePod(*cookie)),
            _ => {}
        }
    }
}

/// New blocks stand before a Service points to them, old ones until none does.
fn services(old: &KernelTable, new: &KernelTable, ops: &mut Vec<MapOp>) {
    ops.extend(set(&old.slots, &new.slots).map(|(key, slot)| MapOp::SetSlot(key, slot)));
    ops.extend(set(&old.services, &new.services).map(|(key, entry)| MapOp::SetService(key, entry)));
    ops.extend(gone(&old.services, &new.services).map(MapOp::DeleteService));
    ops.extend(gone(&old.slots, &new.slots).map(MapOp::DeleteSlot));
}

/// Keys of either.
fn keys<'t, K: Ord, V>(old: &'t BTreeMap<K, V>, new: &'t BTreeMap<K, V>) -> BTreeSet<&'t K> {
    old.keys().chain(new.keys()).collect()
}

/// Entries of `new` that `old` has not, or not so.
fn set<K: Ord + Copy, V: PartialEq + Copy>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = (K, V)> {
    new.iter()
        .filter(|(key, value)| old.get(key) != Some(value))
        .map(|(key, value)| (*key, *value))
}

/// Keys that only `old` has.
fn gone<K: Ord + Copy, V>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> impl Iterator<Item = K> {
    old.keys().filter(|key| !new.contains_key(key)).copied()
}

impl KernelTable {
    /// Does what an operation says, as the agent does to the maps.
    pub fn apply(&mut self, op: &MapOp) {
        match *op {
            MapOp::SetPod(cookie, entry) => drop(self.pods.insert(cookie, entry)),
            MapOp::DeletePod(cookie) => drop(self.pods.remove(&cookie)),
            MapOp::SetPeer(addr, entry) => drop(self.peers.insert(addr, entry)),
            MapOp::DeletePeer(addr) => drop(self.peers.remove(&addr)),
            MapOp::SetPolicy(key, verdict) => drop(self.policy.insert(key, verdict)),
            MapOp::DeletePolicy(key) => drop(self.policy.remove(&key)),
            MapOp::SetSlot(key, slot) => drop(self.slots.insert(key, slot)),
            MapOp::DeleteSlot(key) => drop(self.slots.remove(&key)),
            MapOp::SetService(key, entry) => drop(self.services.insert(key, entry)),
            MapOp::DeleteService(key) => drop(self.services.remove(&key)),
            MapOp::SetProbe(key) => drop(self.probes.insert(key, PRESENT)),
            MapOp::DeleteProbe(key) => drop(self.probes.remove(&key)),
            MapOp::SetNode(addr) => drop(self.node.insert(addr, PRESENT)),
            MapOp::DeleteNode(addr) => drop(self.node.remove(&addr)),
        }
    }
}
