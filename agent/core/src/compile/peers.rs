//! Who has which address, and which pods of this node are captured.
//!
//! Bias: an address or a namespace cookie that two pods claim is nobody's. Both pods keep their places in the tables,
//! with an identity to which nothing is granted, so that a doubt refuses and never lets pass.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use weir_abi::{Addr, PEER_AUDIT, PEER_ENFORCED, PEER_PERMISSIVE, PRESENT, PeerEntry, PodEntry, ProbeKey};

use super::endpoints::Protocols;
use super::members::Members;
use super::workloads::Workloads;
use crate::finding::Finding;
use crate::identity::Identity;
use crate::index::Index;
use crate::model::{Key, Kind, Mode, ObjectRef, Pod};
use crate::plan::Settings;
use crate::snapshot::PodInfo;

/// Pods by address and by cookie.
pub(super) struct Peers {
    /// Every known pod, under each of its addresses.
    pub(super) by_ip: BTreeMap<IpAddr, Arc<PodInfo>>,
    /// Enrolled pods of this node whose namespace has been entered.
    pub(super) by_cookie: BTreeMap<u64, Arc<PodInfo>>,
    /// Identities of enrolled pods of this node, entered or not.
    pub(super) local: HashSet<Identity>,
    /// What they are each one of.
    pub(super) workloads: Workloads,
}

/// Whether the pod runs on this node in an enrolled namespace.
fn is_local(pod: &Pod, settings: &Settings, modes: &Modes<'_>) -> bool {
    !pod.node.is_empty() && pod.node == settings.node && modes.of(&pod.key.namespace).takes_part()
}

/// The modes of namespaces. One that is not known enforces; its converter has said so.
pub(super) struct Modes<'i>(HashMap<&'i str, Mode>);

impl<'i> Modes<'i> {
    pub(super) fn new(index: &'i Index) -> Modes<'i> {
        let modes = index.namespaces.values();
        Modes(
            modes
                .map(|namespace| (namespace.name.as_str(), namespace.mode))
                .collect(),
        )
    }

    /// Of this namespace; off where there is no such object.
    pub(super) fn of(&self, namespace: &str) -> Mode {
        self.0.get(namespace).copied().unwrap_or_default()
    }
}

/// The flags of `PEERS` and `PODS`.
fn flags(mode: Mode) -> u32 {
    match mode {
        Mode::Off => 0,
        Mode::Permissive => PEER_ENFORCED | PEER_PERMISSIVE,
        Mode::Audit => PEER_ENFORCED | PEER_AUDIT,
        Mode::Enforce => PEER_ENFORCED,
    }
}

/// An address that a pod, an endpoint or a Service can have.
pub(super) fn is_usable(ip: &IpAddr) -> bool {
    let ip = ip.to_canonical();
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

impl Peers {
    pub(super) fn new(
        index: &Index,
        settings: &Settings,
        modes: &Modes<'_>,
        members: &Members<'_>,
        protocols: &Protocols,
        findings: &mut Vec<Finding>,
    ) -> Peers {
        let pods: Vec<&Pod> = members.by_pod.keys().filter_map(|key| index.pods.get(*key)).collect();
        let cookie = |pod: &Pod| index.attached.get(&pod.key).copied().filter(|cookie| *cookie != 0);
        let local: Vec<&Pod> = pods
            .iter()
            .copied()
            .filter(|pod| is_local(pod, settings, modes))
            .collect();
        let mut shared: BTreeSet<&Key> = BTreeSet::new();
        let addresses = pods
            .iter()
            .flat_map(|pod| usable(pod, findings).into_iter().map(|ip| (ip, *pod)))
            .collect();
        for (ip, pods) in claimed_twice(addresses) {
            share(
                &mut shared,
                findings,
                &pods,
                "status.podIPs",
                &format!("the address {ip}"),
            );
        }
        let cookies = local.iter().filter_map(|pod| Some((cookie(pod)?, *pod))).collect();
        for (_, pods) in claimed_twice(cookies) {
            share(
                &mut shared,
                findings,
                &pods,
                "metadata.annotations[weir.dev/netns]",
                "the network namespace",
            );
        }

        let mut peers = Peers {
            by_ip: BTreeMap::new(),
            by_cookie: BTreeMap::new(),
            local: HashSet::new(),
            workloads: Workloads::default(),
        };
        for pod in pods {
            let Some((identity, info)) = members.by_pod.get(&pod.key) else {
                continue;
            };
            let identity = if shared.contains(&pod.key) {
                Identity::UNKNOWN
            } else {
                *identity
            };
            let here = is_local(pod, settings, modes);
            let ips: Vec<IpAddr> = pod.ips.iter().map(IpAddr::to_canonical).filter(is_usable).collect();
            let pod_info = Arc::new(PodInfo {
                pod: pod.key.clone(),
                identity,
                info: info.clone(),
                workload: peers.workloads.of(index, pod),
                mode: modes.of(&pod.key.namespace),
                cookie: cookie(pod).filter(|_| here),
                protocols: protocols.of(&ips),
                probe_ports: pod.probe_ports.clone(),
                ips,
            });
            if here && identity != Identity::UNKNOWN {
                peers.local.insert(identity);
            }
            if let Some(cookie) = pod_info.cookie {
                peers.by_cookie.entry(cookie).or_insert_with(|| pod_info.clone());
            }
            for ip in &pod_info.ips {
                peers.add(*ip, &pod_info);
            }
        }
        peers
    }

    /// Of pods that share an address the one with the strictest mode stands for all of them.
    fn add(&mut self, ip: IpAddr, pod: &Arc<PodInfo>) {
        let holder = self.by_ip.entry(ip).or_insert_with(|| pod.clone());
        if pod.mode > holder.mode {
            *holder = pod.clone();
        }
    }

    /// `PEERS`.
    pub(super) fn peer_entries(&self) -> BTreeMap<Addr, PeerEntry> {
        let entry = |(ip, pod): (&IpAddr, &Arc<PodInfo>)| {
            let entry = PeerEntry {
                identity: pod.identity.0,
                cookie: pod.cookie.unwrap_or_default(),
                flags: flags(pod.mode),
                reserved: 0,
            };
            (Addr::from_ip(*ip), entry)
        };
        self.by_ip.iter().map(entry).collect()
    }

    /// `PODS`.
    pub(super) fn pod_entries(&self, settings: &Settings) -> BTreeMap<u64, PodEntry> {
        let first = |pod: &PodInfo, v4: bool| {
            pod.ips
                .iter()
                .find(|ip| ip.is_ipv4() == v4)
                .map_or(Addr::NONE, |ip| Addr::from_ip(*ip))
        };
        let entry = |(cookie, pod): (&u64, &Arc<PodInfo>)| {
            let entry = PodEntry {
                identity: pod.identity.0,
                ip4: first(pod, true),
                ip6: first(pod, false),
                outbound_port: settings.outbound_port.into(),
                inbound_port: settings.inbound_port.into(),
                errno: settings.errno,
                flags: flags(pod.mode),
            };
            (*cookie, entry)
        };
        self.by_cookie.iter().map(entry).collect()
    }

    /// `PROBES`. Not for a pod whose namespace another one claims as well.
    pub(super) fn probe_entries(&self) -> BTreeMap<ProbeKey, u32> {
        let pods = self
            .by_cookie
            .iter()
            .filter(|(_, pod)| pod.identity != Identity::UNKNOWN);
        let ports = pods.flat_map(|(cookie, pod)| pod.probe_ports.iter().map(|port| (*cookie, u32::from(*port))));
        let key = |(cookie, port)| ProbeKey {
            cookie,
            port,
            reserved: 0,
        };
        ports.map(|at| (key(at), PRESENT)).collect()
    }
}

/// The usable addresses of a pod, each once.
fn usable(pod: &Pod, findings: &mut Vec<Finding>) -> BTreeSet<IpAddr> {
    let object = ObjectRef {
        kind: Kind::Pod,
        key: pod.key.clone(),
    };
    for ip in pod.ips.iter().filter(|ip| !is_usable(ip)) {
        findings.push(Finding::error(
            &object,
            "status.podIPs",
            format!("{ip} can't be a pod's address; it is left out"),
        ));
    }
    pod.ips.iter().map(IpAddr::to_canonical).filter(is_usable).collect()
}

/// What more than one pod claims.
fn claimed_twice<T: Ord + std::hash::Hash>(claims: Vec<(T, &Pod)>) -> BTreeMap<T, Vec<&Pod>> {
    let mut by_claim: HashMap<T, Vec<&Pod>> = HashMap::with_capacity(claims.len());
    for (claim, pod) in claims {
        by_claim.entry(claim).or_default().push(pod);
    }
    by_claim.into_iter().filter(|(_, pods)| pods.len() > 1).collect()
}

fn share<'i>(shared: &mut BTreeSet<&'i Key>, findings: &mut Vec<Finding>, pods: &[&'i Pod], field: &str, what: &str) {
    for pod in pods {
        shared.insert(&pod.key);
        let others = pods
            .iter()
            .filter(|other| other.key != pod.key)
            .map(|other| other.key.to_string());
        let others = others.collect::<Vec<_>>().join(", ");
        let object = ObjectRef {
            kind: Kind::Pod,
            key: pod.key.clone(),
        };
        let message = format!("{what} is claimed by {others} as well: nothing is granted to or by either");
        findings.push(Finding::error(&object, field, message).hint("remove the object of the pod that is gone"));
    }
}
