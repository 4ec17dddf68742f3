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
    let enrolled = peers::enrolled(index);
    let protocols = endpoints.protocols();
    let peers = peers::Peers::new(index, settings, &enrolled, &members, &protocols, &mut findings);

    let known = members
        .by_pod
        .values()
        .filter(|(identity, _)| *identity != Identity::UNKNOWN);
    let infos: std::collections::BTreeMap<_, _> = known.cloned().collect();
    let relevant = access::Relevant {
        local: peers.local.clone(),
        enforced: infos
            .iter()
            .filter(|(_, info)| enrolled.contains(&*info.namespace))
            .map(|(id, _)| *id)
            .collect(),
        infos,
    };
    let mut resolver = resolver::Resolver::find(index, &endpoints, &members, &enrolled);
    let pairs = access::pairs(index, &targets, &members, &relevant, resolver.as_mut(), &mut findings);
    if let Some(resolver) = resolver {
        resolver.report(&members, &enrolled, &mut findings);
    }
    let (roots, udp_roots) = split::roots(index, &endpoints, &mut findings);

    let mut kernel = KernelTable {
        pods: peers.pod_entries(settings),
        peers: peers.peer_entries(),
        ..KernelTable::default()
    };
    for (pair, access) in &pairs {
        kernel::policy(*pair, access, &mut kernel.policy);
    }
    kernel::services(&roots, IPPROTO_TCP, &mut kernel);
    kernel::services(&udp_roots, IPPROTO_UDP, &mut kernel);

    findings.sort();
    findings.dedup();
    let snapshot = Snapshot {
        generation,
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
