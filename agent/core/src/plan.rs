//! A plan: what kernel and engine do with the objects at hand.
//!
//! Bias: a plan is whole. It is compiled from all objects every time, and the difference to the one in force is taken
//! afterwards, so that no sequence of changes can leave something behind that the objects don't say.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_abi::{Addr, PeerEntry, PodEntry, PolicyKey, ServiceEntry, ServiceKey, Slot, SlotKey};

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
}
