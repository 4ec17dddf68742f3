//! Whether the pods of enforced namespaces may ask their cluster's resolver, where that is enforced too.
//!
//! Bias: says nothing where it can't know. Names that don't resolve are what people meet first when they enforce a
//! namespace, and the last thing that they suspect.

use std::collections::{BTreeMap, BTreeSet};

use super::endpoints::Endpoints;
use super::members::Members;
use super::peers::Modes;
use crate::finding::Finding;
use crate::identity::{Identity, IdentityInfo};
use crate::index::Index;
use crate::model::{Key, Kind, Mode, ObjectRef, Pod, Transport};
use crate::snapshot::Ports;

const DNS: u16 = 53;
/// Accounts that a finding names at most.
const MAX_NAMED: usize = 3;

/// The cluster's resolver, where each of its pods is in an enforced namespace.
pub(super) struct Resolver {
    name: Key,
    /// Identity and pod port of its pods.
    pods: BTreeSet<(Identity, u16)>,
    /// Who may ask one of them.
    allowed: BTreeSet<Identity>,
}

impl Resolver {
    /// Known by its Service (`kube-dns`, `coredns`, or any that selects `k8s-app: kube-dns`) or its pods' label.
    pub(super) fn find(
        index: &Index,
        endpoints: &Endpoints<'_>,
        members: &Members<'_>,
        modes: &Modes<'_>,
    ) -> Option<Resolver> {
        let is_dns = |labels: &BTreeMap<String, String>| labels.get("k8s-app").is_some_and(|app| app == "kube-dns");
        let mut name = None;
        let mut found: Vec<(&Pod, u16)> = Vec::new();
        for service in index.services.values() {
            let named = matches!(service.key.name.as_str(), "kube-dns" | "coredns");
            if !named && !service.selector.as_ref().is_some_and(is_dns) {
                continue;
            }
            let Some(port) = endpoints.port(&service.key, Transport::Udp, DNS) else {
                continue;
            };
            name.get_or_insert(&service.key);
            let pods = index.pods.values();
            found.extend(pods.flat_map(|pod| {
                let own = port.addresses.iter().filter(|address| pod.ips.contains(&address.ip()));
                own.map(move |address| (pod, address.port()))
            }));
        }
        if found.is_empty() {
            found = index
                .pods
                .values()
                .filter(|pod| is_dns(&pod.labels))
                .map(|pod| (pod, DNS))
                .collect();
        }
        let is_open = |pod: &Pod| pod.host_network || modes.of(&pod.key.namespace) != Mode::Enforce;
        if found.iter().any(|(pod, _)| is_open(pod)) {
            return None;
        }
        let name = name.or_else(|| found.first().map(|(pod, _)| &pod.key))?.clone();
        let identity = |(pod, port): (&Pod, u16)| Some((members.by_pod.get(&pod.key)?.0, port));
        let pods: BTreeSet<_> = found.into_iter().filter_map(identity).collect();
        (!pods.is_empty()).then_some(Resolver {
            name,
            pods,
            allowed: BTreeSet::new(),
        })
    }

    /// A grant of UDP.
    pub(super) fn note(&mut self, sources: &BTreeSet<Identity>, dst: Identity, ports: &Ports) {
        if self.pods.iter().any(|(pod, port)| *pod == dst && ports.contains(*port)) {
            self.allowed.extend(sources);
        }
    }

    /// One warning for each enforced namespace with pods that may not ask.
    pub(super) fn report(&self, members: &Members<'_>, modes: &Modes<'_>, findings: &mut Vec<Finding>) {
        let is_resolver = |identity: &Identity| self.pods.iter().any(|(pod, _)| pod == identity);
        let mut refused: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (identity, info) in members.by_pod.values() {
            let IdentityInfo { namespace, account, .. } = &**info;
            if modes.of(namespace).takes_part() && !self.allowed.contains(identity) && !is_resolver(identity) {
                refused.entry(namespace).or_default().insert(account);
            }
        }
        for (namespace, accounts) in refused {
            let mut names = accounts.iter().take(MAX_NAMED).copied().collect::<Vec<_>>().join(", ");
            if accounts.len() > MAX_NAMED {
                names += &format!(" and {} more", accounts.len() - MAX_NAMED);
            }
            let object = ObjectRef::new(Kind::Namespace, "", namespace);
            let message = format!(
                "its pods can't resolve names (accounts {names}): the resolver {} is in an enforced namespace, and no \
                 TrafficTarget with a UDPRoute allows them to ask it",
                self.name
            );
            let finding = Finding::warning(&object, "", message);
            findings.push(
                finding.hint("grant them UDP port 53 there, or leave the resolver's namespace without the label"),
            );
        }
    }
}
