//! A plan: what kernel and engine do with the objects at hand.
//!
//! Bias: a plan is whole. It is compiled from all objects every time, and the difference to the one in force is taken
//! afterwards, so that no sequence of changes can leave something behind that the objects don't say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_abi::{
    Addr, PEER_ENFORCED, PeerEntry, PodEntry, PolicyKey, ProbeKey, ServiceEntry, ServiceKey, Slot, SlotKey,
};

use crate::finding::Finding;
use crate::snapshot::Snapshot;

/// What does not come from objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of this node: pods with this `spec.nodeName` are local.
    pub node: String,
    /// Port of the engine's listeners for connections that pods make.
    pub outbound_port: u16,
    /// Port of the engine's listeners for connections that pods get.
    pub inbound_port: u16,
    /// `errno` of a refused `connect()`.
    pub errno: u32,
    /// The node's own addresses: what the kubelet's probes come from. Loopback and link-local IPv6 are not among them.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// The whole of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Counts plans of this process.
    pub generation: u64,
    /// What the kernel decides by.
    pub kernel: KernelTable,
    /// What the engine decides by.
    pub snapshot: Arc<Snapshot>,
    /// What is wrong with the objects, sorted.
    pub findings: Vec<Finding>,
}

/// The entries of all kernel maps that a plan fills.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelTable {
    /// `PODS`: enrolled pods of this node that have a network namespace.
    pub pods: BTreeMap<u64, PodEntry>,
    /// `PEERS`: every known pod.
    pub peers: BTreeMap<Addr, PeerEntry>,
    /// `POLICY`: pairs of which at least one side is enrolled on this node; `VERDICT_ALLOW` and `VERDICT_L7` only.
    pub policy: BTreeMap<PolicyKey, u32>,
    /// `SERVICES`.
    pub services: BTreeMap<ServiceKey, ServiceEntry>,
    /// `SLOTS`.
    pub slots: BTreeMap<SlotKey, Slot>,
    /// `PROBES`: probe ports of the pods of this node.
    pub probes: BTreeMap<ProbeKey, u32>,
    /// `NODE`: addresses of this node.
    pub node: BTreeMap<Addr, u32>,
}

impl KernelTable {
    /// Keeps enrolled what `held` has enrolled and this table does not know, without any grant: for a source that can't
    /// tell yet whether it is gone.
    ///
    /// Pods stay captured, addresses stay judged by the mode that they had, the kubelet's probes go on. What this table says itself is left as it is, but for an enrolment
    /// that it gives up.
    pub fn keep_enrolled(&mut self, held: &KernelTable) {
        let unknown = |cookie: &u64, table: &KernelTable| !table.pods.contains_key(cookie);
        let probes = held.probes.iter().filter(|(key, _)| unknown(&key.cookie, self));
        let probes: Vec<_> = probes.map(|(key, value)| (*key, *value)).collect();
        self.probes.extend(probes);
        for (cookie, entry) in &held.pods {
            self.pods.entry(*cookie).or_insert(*entry);
        }
        for (addr, entry) in held.peers.iter().filter(|(_, entry)| entry.flags & PEER_ENFORCED != 0) {
            let kept = self.peers.entry(*addr).or_insert(*entry);
            if kept.flags & PEER_ENFORCED == 0 {
                *kept = *entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(identity: u64, flags: u32) -> PeerEntry {
        PeerEntry {
            identity,
            cookie: 0,
            flags,
            reserved: 0,
        }
    }

    #[test]
    fn what_is_not_known_to_be_gone_stays_enrolled_without_a_grant() {
        let address = |last: u32| Addr::from_v4_word(u32::from_be(0x0a00_0000 | last));
        let held = KernelTable {
            pods: [(
                7,
                PodEntry {
                    identity: 1,
                    ..PodEntry::default()
                },
            )]
            .into(),
            peers: [
                (address(1), peer(1, PEER_ENFORCED)),
                (address(2), peer(2, PEER_ENFORCED)),
                (address(3), peer(3, 0)),
            ]
            .into(),
            policy: [(
                PolicyKey {
                    src: 1,
                    dst: 2,
                    port: 80,
                    proto: 6,
                },
                weir_abi::VERDICT_ALLOW,
            )]
            .into(),
            ..KernelTable::default()
        };
        let mut table = KernelTable {
            peers: [(address(2), peer(2, 0))].into(),
            ..KernelTable::default()
        };
        table.keep_enrolled(&held);
        assert_eq!(table.pods, held.pods);
        assert_eq!(
            table.peers,
            [
                (address(1), peer(1, PEER_ENFORCED)),
                (address(2), peer(2, PEER_ENFORCED))
            ]
            .into()
        );
        assert!(table.policy.is_empty());
    }
}
