//! The tables that the programs decide by, and the plan's operations on them.
//!
//! Owned by the publisher. `content` is what the kernel holds, not what was wanted: an entry that could not be
//! written is not in it, so the next plan tries again, and until then its absence refuses.

use std::collections::BTreeSet;

use aya::Pod;
use aya::maps::hash_map::HashMap;
use aya::maps::{HashOfMaps, Map, MapData, MapError};
use thiserror::Error;
use weir_abi::{
    Addr, Budget, FlowKey, FlowState, PRESENT, PeerEntry, PodEntry, PolicyKey, ProbeKey, ServiceEntry, ServiceKey,
    Slot, SlotKey, SocketMark,
};
use weir_core::diff::MapOp;
use weir_core::plan::KernelTable;

use super::load::{LoadError, Programs, Sizes};
use super::origin::Origins;
use super::sys;

/// Entries of a pod's inner map in `ORIGINS`; as the programs declare it.
const ORIGINS_ENTRIES: u32 = 16_384;

/// An entry could not be written or removed.
#[derive(Debug, Error)]
#[error("can't change map {map}{}: {error}", hint(.map, *.full))]
pub struct ApplyError {
    /// Name of the map.
    pub map: &'static str,
    /// Whether the map is full.
    pub full: bool,
    error: MapError,
}

/// The tables and what is in them.
#[derive(Debug)]
pub struct Tables {
    pods: HashMap<MapData, u64, PodEntry>,
    peers: HashMap<MapData, Addr, PeerEntry>,
    policy: HashMap<MapData, PolicyKey, u32>,
    services: HashMap<MapData, ServiceKey, ServiceEntry>,
    slots: HashMap<MapData, SlotKey, Slot>,
    probes: HashMap<MapData, ProbeKey, u32>,
    node: HashMap<MapData, Addr, u32>,
    budgets: HashMap<MapData, u64, Budget>,
    origins: HashOfMaps<MapData, u64, MapData>,
    flows: HashOfMaps<MapData, u64, MapData>,
    flows_entries: u32,
    content: KernelTable,
}

fn take<T: TryFrom<Map, Error = MapError>>(programs: &mut Programs, name: &'static str) -> Result<T, LoadError> {
    let map = programs.ebpf.take_map(name).ok_or(LoadError::Missing(name))?;
    map.try_into().map_err(|error| LoadError::Map { name, error })
}

impl Tables {
    /// Takes the tables out of the loaded programs and reads what an earlier agent left in them.
    pub fn take(programs: &mut Programs, sizes: &Sizes) -> Result<Tables, LoadError> {
        let mut tables = Tables {
            pods: take(programs, "PODS")?,
            peers: take(programs, "PEERS")?,
            policy: take(programs, "POLICY")?,
            services: take(programs, "SERVICES")?,
            slots: take(programs, "SLOTS")?,
            probes: take(programs, "PROBES")?,
            node: take(programs, "NODE")?,
            budgets: take(programs, "BUDGETS")?,
            origins: take(programs, "ORIGINS")?,
            flows: take(programs, "FLOWS")?,
            flows_entries: sizes.flows,
            content: KernelTable::default(),
        };
        tables.content = KernelTable {
            pods: read(&tables.pods, "PODS")?,
            peers: read(&tables.peers, "PEERS")?,
            policy: read(&tables.policy, "POLICY")?,
            services: read(&tables.services, "SERVICES")?,
            slots: read(&tables.slots, "SLOTS")?,
            probes: read(&tables.probes, "PROBES")?,
            node: read(&tables.node, "NODE")?,
        };
        Ok(tables)
    }

    /// What the kernel holds.
    pub fn content(&self) -> &KernelTable {
        &self.content
    }

    /// Does one operation.
    pub fn apply(&mut self, operation: &MapOp) -> Result<(), ApplyError> {
        let content = &mut self.content;
        match operation {
            MapOp::SetPod(key, value) => set(&mut self.pods, &mut content.pods, "PODS", *key, *value),
            MapOp::DeletePod(key) => remove(&mut self.pods, &mut content.pods, "PODS", key),
            MapOp::SetPeer(key, value) => set(&mut self.peers, &mut content.peers, "PEERS", *key, *value),
            MapOp::DeletePeer(key) => remove(&mut self.peers, &mut content.peers, "PEERS", key),
            MapOp::SetPolicy(key, value) => {
                let done = set(&mut self.policy, &mut content.policy, "POLICY", *key, *value);
                if done.is_err() {
                    // It may have been meant to narrow: the entry that stands must not outlive it. Removing takes no memory.
                    let _ = remove(&mut self.policy, &mut content.policy, "POLICY", key);
                }
                done
            }
            MapOp::DeletePolicy(key) => remove(&mut self.policy, &mut content.policy, "POLICY", key),
            MapOp::SetService(key, value) => set(&mut self.services, &mut content.services, "SERVICES", *key, *value),
            MapOp::DeleteService(key) => remove(&mut self.services, &mut content.services, "SERVICES", key),
            MapOp::SetSlot(key, value) => set(&mut self.slots, &mut content.slots, "SLOTS", *key, *value),
            MapOp::DeleteSlot(key) => remove(&mut self.slots, &mut content.slots, "SLOTS", key),
            MapOp::SetProbe(key) => set(&mut self.probes, &mut content.probes, "PROBES", *key, PRESENT),
            MapOp::DeleteProbe(key) => remove(&mut self.probes, &mut content.probes, "PROBES", key),
            MapOp::SetNode(key) => set(&mut self.node, &mut content.node, "NODE", *key, PRESENT),
            MapOp::DeleteNode(key) => remove(&mut self.node, &mut content.node, "NODE", key),
        }
    }

    /// Makes what the programs need for a pod besides its entries: room for its captured connections and its UDP
    /// flows, and its budget of reports. To be called before the pod's entry is set, and again by each new agent.
    pub fn prepare_pod(&mut self, cookie: u64, origins: &Origins) -> Result<(), ApplyError> {
        let failed = |map| move |error| apply_error(map, error);
        let io_failed = |error| apply_error("ORIGINS", MapError::IoError(error));
        let fd = sys::hash_map::<u32, SocketMark>(ORIGINS_ENTRIES).map_err(io_failed)?;
        let inner = fd.try_clone().map_err(io_failed)?;
        let inner = MapData::from_fd(inner).map_err(failed("ORIGINS"))?;
        self.origins.insert(cookie, &inner, 0).map_err(failed("ORIGINS"))?;
        // What an earlier agent's programs have noted still waits for its answers.
        if self.flows.get(&cookie, 0).is_err() {
            let io_failed = |error| apply_error("FLOWS", MapError::IoError(error));
            let fd = sys::lru_hash_map::<FlowKey, FlowState>(self.flows_entries).map_err(io_failed)?;
            let inner = MapData::from_fd(fd).map_err(failed("FLOWS"))?;
            self.flows.insert(cookie, &inner, 0).map_err(failed("FLOWS"))?;
        }
        self.budgets
            .insert(cookie, Budget::default(), 0)
            .map_err(failed("BUDGETS"))?;
        origins.add_pod(cookie, fd);
        Ok(())
    }

    /// Removes what `prepare_pod` made for every pod that is not among `wanted`.
    pub fn keep_pods(&mut self, wanted: &BTreeSet<u64>, origins: &Origins) {
        let known: Vec<u64> = self.budgets.keys().flatten().collect();
        for cookie in known.into_iter().filter(|cookie| !wanted.contains(cookie)) {
            // Absent entries are what is wanted; a failure leaves a little memory and nothing open.
            let _ = self.origins.remove(&cookie);
            let _ = self.flows.remove(&cookie);
            let _ = self.budgets.remove(&cookie);
            origins.remove_pod(cookie);
        }
    }
}

/// What to do about a map that is full.
fn hint(map: &str, full: bool) -> String {
    let setting = match map {
        _ if !full => return String::new(),
        "PEERS" => "--max-peers",
        "POLICY" => "--max-policy-entries",
        "SERVICES" => "--max-services",
        "SLOTS" => "--max-endpoints",
        "NODE" => return ", it is full: the node has more addresses than it has room for".to_owned(),
        // ORIGINS, FLOWS, BUDGETS, PROBES and LISTENERS are made as large as PODS wants them.
        _ => "--max-pods",
    };
    format!(", it is full: raise its size with {setting}")
}

fn apply_error(map: &'static str, error: MapError) -> ApplyError {
    let errno = match &error {
        MapError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    ApplyError {
        map,
        full: matches!(errno, Some(libc::E2BIG | libc::ENOMEM | libc::ENOSPC)),
        error,
    }
}

type Content<K, V> = std::collections::BTreeMap<K, V>;

fn read<K: Pod + Ord, V: Pod>(map: &HashMap<MapData, K, V>, name: &'static str) -> Result<Content<K, V>, LoadError> {
    map.iter()
        .collect::<Result<_, _>>()
        .map_err(|error| LoadError::Map { name, error })
}

fn set<K: Pod + Ord, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    content: &mut Content<K, V>,
    name: &'static str,
    key: K,
    value: V,
) -> Result<(), ApplyError> {
    map.insert(key, value, 0).map_err(|error| apply_error(name, error))?;
    content.insert(key, value);
    Ok(())
}

fn remove<K: Pod + Ord, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    content: &mut Content<K, V>,
    name: &'static str,
    key: &K,
) -> Result<(), ApplyError> {
    match map.remove(key) {
        Ok(()) | Err(MapError::KeyNotFound) => {}
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {}
        Err(error) => return Err(apply_error(name, error)),
    }
    content.remove(key);
    Ok(())
}
