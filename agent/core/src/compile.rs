//! Objects to a plan: a pure function. The same objects give the same plan, in whatever order they came.
//!
//! Bias: whole and simple rather than incremental; a plan of 10,000 pods takes a fraction of a second. What is doubtful
//! refuses, costs only the object that is in doubt, and becomes a [`Finding`]. Nobody owns state here.
//!
//! The stages, each in a file of its own: which targets count (`access`), who the pods are (`members`), where
//! Services lead (`endpoints`), who has which address (`peers`), what each pair may do (`access`), how
//! Services are split (`split`), and what of that the kernel decides (`kernel`).

mod access;
mod endpoints;
mod kernel;
mod labels;
mod members;
mod peers;
mod protocol;
mod resolver;
mod routes;
mod split;
mod workloads;

use std::sync::Arc;

use weir_abi::{IPPROTO_TCP, IPPROTO_UDP};

use crate::finding::Finding;
use crate::identity::{Identity, IdentityInfo};
use crate::index::Index;
use crate::plan::{KernelTable, Plan, Settings};
use crate::snapshot::Snapshot;

/// The plan for these objects.
pub fn compile(index: &Index, settings: &Settings, generation: u64) -> Plan {
    compile_with(index, settings, generation, IdentityInfo::number)
}

fn compile_with(index: &Index, settings: &Settings, generation: u64, number: fn(&IdentityInfo) -> Identity) -> Plan {
    let mut findings: Vec<Finding> = Vec::new();
    let labels = labels::PodLabels::new(index);
    let targets = access::live_targets(index, &mut findings);
    let members = members::Members::new(index, &labels, &targets, number, &mut findings);
    let endpoints = endpoints::Endpoints::new(index, &labels, &mut findings);
    let modes = peers::Modes::new(index);
    let protocols = endpoints.protocols();
    let peers = peers::Peers::new(index, settings, &modes, &members, &protocols, &mut findings);

    let known = members
        .by_pod
        .values()
        .filter(|(identity, _)| *identity != Identity::UNKNOWN);
    let infos: std::collections::BTreeMap<_, _> = known.cloned().collect();
    let relevant = access::Relevant {
        local: peers.local.clone(),
        judged: infos
            .iter()
            .filter(|(_, info)| modes.of(&info.namespace).takes_part())
            .map(|(id, _)| *id)
            .collect(),
        infos,
    };
    let mut resolver = resolver::Resolver::find(index, &endpoints, &members, &modes);
    let pairs = access::pairs(index, &targets, &members, &relevant, resolver.as_mut(), &mut findings);
    if let Some(resolver) = resolver {
        resolver.report(&members, &modes, &mut findings);
    }
    let (roots, udp_roots) = split::roots(index, &endpoints, &mut findings);

    let mut kernel = KernelTable {
        pods: peers.pod_entries(settings),
        peers: peers.peer_entries(),
        probes: peers.probe_entries(),
        node: node_addresses(settings, &peers)
            .map(|ip| (weir_abi::Addr::from_ip(ip), weir_abi::PRESENT))
            .collect(),
        ..KernelTable::default()
    };
    for (pair, access) in &pairs {
        kernel::policy(*pair, access, &mut kernel.policy);
    }
    kernel::lenient_ports(&peers.by_ip, &mut kernel.policy);
    let mode = |service: &crate::model::Key| modes.of(&service.namespace);
    kernel::services(&roots, IPPROTO_TCP, mode, &mut kernel);
    kernel::services(&udp_roots, IPPROTO_UDP, mode, &mut kernel);

    findings.sort();
    findings.dedup();
    let snapshot = Snapshot {
        generation,
        node: node_addresses(settings, &peers).collect(),
        identities: relevant.infos,
        peers: peers.by_ip.into_iter().collect(),
        local: peers.by_cookie,
        roots: roots.into_iter().collect(),
        udp_roots: udp_roots.into_iter().collect(),
        workloads: peers.workloads.all(),
        access: pairs.into_iter().collect(),
    };
    Plan {
        generation,
        kernel,
        snapshot: Arc::new(snapshot),
        findings,
    }
}

/// What the kubelet's probes come from. An address that a pod claims as well is the pod's: nothing is exempt for it.
fn node_addresses(settings: &Settings, peers: &peers::Peers) -> impl Iterator<Item = std::net::IpAddr> {
    let addresses = settings.node_addresses.iter().map(std::net::IpAddr::to_canonical);
    addresses.filter(|ip| peers::is_usable(ip) && !peers.by_ip.contains_key(ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Change;
    use crate::model::{Key, Mode, Namespace, Object, Pod};

    fn pod(account: &str, last: u8) -> Object {
        Object::Pod(Pod {
            key: Key::new("shop", account),
            uid: String::new(),
            labels: Default::default(),
            node: "n1".into(),
            account: account.into(),
            ips: vec![[10, 0, 0, last].into()],
            ports: vec![],
            probe_ports: vec![],
            host_network: false,
            netns: None,
            ready: true,
            owner: None,
            finished: false,
        })
    }

    #[test]
    fn identities_with_one_number_are_both_refused() {
        let mut index = Index::new();
        let shop = Namespace {
            name: "shop".into(),
            mode: Mode::Enforce,
            unknown_mode: None,
        };
        for object in [
            Object::Namespace(shop),
            pod("buyer", 1),
            pod("store", 2),
            pod("thief", 3),
        ] {
            index.apply(Change::Upsert(object));
        }
        let settings = Settings {
            node: "n1".into(),
            outbound_port: 15001,
            inbound_port: 15006,
            errno: 111,
            node_addresses: Default::default(),
        };
        let number = |info: &IdentityInfo| match info.account.as_str() {
            "store" => info.number(),
            _ => Identity(7),
        };
        let plan = compile_with(&index, &settings, 1, number);
        let identities: Vec<u64> = plan.kernel.peers.values().map(|peer| peer.identity).collect();
        assert_eq!(
            identities
                .iter()
                .filter(|identity| **identity == Identity::UNKNOWN.0)
                .count(),
            2
        );
        assert!(!identities.contains(&7));
        let refused: Vec<&str> = plan.findings.iter().map(|finding| &*finding.object.key.name).collect();
        assert_eq!(refused, ["buyer", "thief"]);
    }
}
