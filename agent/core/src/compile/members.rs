//! Which identity each pod has, and which identities an account or a binding stands for.
//!
//! semantics: Access 9 (identity is the account, IdentityBinding where named).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::access::LiveTarget;
use super::labels::PodLabels;
use crate::finding::Finding;
use crate::identity::{Identity, IdentityInfo};
use crate::index::Index;
use crate::model::{BindingScheme, IdentityBinding, Key, Kind, ObjectRef, Pod, Subject, TargetPortRef, Transport};

/// Pods with an identity of their own: those that run and don't share the node's network.
pub(super) fn is_member(pod: &Pod) -> bool {
    !pod.finished && !pod.host_network
}

/// Identities of all pods.
pub(super) struct Members<'i> {
    /// The identity of each pod that has one; [`Identity::UNKNOWN`] where its number is not its own.
    pub(super) by_pod: BTreeMap<&'i Key, (Identity, Arc<IdentityInfo>)>,
    accounts: HashMap<(&'i str, &'i str), BTreeSet<Identity>>,
    bindings: HashMap<&'i Key, BTreeSet<Identity>>,
}

impl<'i> Members<'i> {
    /// `number` is [`IdentityInfo::number`]; a test puts one with collisions in its place.
    pub(super) fn new(
        index: &'i Index,
        labels: &PodLabels<'i>,
        targets: &[LiveTarget<'i>],
        number: fn(&IdentityInfo) -> Identity,
        findings: &mut Vec<Finding>,
    ) -> Members<'i> {
        let bound = bound_pods(index, labels, targets, findings);
        let wanted = wanted_ports(targets);
        let mut interned: BTreeMap<IdentityInfo, Arc<IdentityInfo>> = BTreeMap::new();
        let mut infos: BTreeMap<&'i Key, (Arc<IdentityInfo>, &'i Pod)> = BTreeMap::new();
        for pod in index.pods.values().filter(|pod| is_member(pod)) {
            let info = info(pod, bound.get(&pod.key), &wanted);
            let info = interned
                .entry(info)
                .or_insert_with_key(|info| Arc::new(info.clone()))
                .clone();
            infos.insert(&pod.key, (info, pod));
        }

        let mut numbers: BTreeMap<Identity, Vec<&IdentityInfo>> = BTreeMap::new();
        let mut number_of: HashMap<&IdentityInfo, Identity> = HashMap::new();
        for info in interned.keys() {
            let number = number(info);
            numbers.entry(number).or_default().push(info);
            number_of.insert(info, number);
        }
        numbers.retain(|_, infos| infos.len() > 1);

        let mut members = Members {
            by_pod: BTreeMap::new(),
            accounts: HashMap::new(),
            bindings: HashMap::new(),
        };
        for (key, (info, pod)) in infos {
            let number = number_of.get(&*info).copied().unwrap_or(Identity::UNKNOWN);
            if let Some(sharing) = numbers.get(&number) {
                let names: Vec<String> = sharing.iter().map(ToString::to_string).collect();
                let object = ObjectRef {
                    kind: Kind::Pod,
                    key: key.clone(),
                };
                let message = format!("its identity has the same number as another one ({})", names.join(", "));
                findings.push(Finding::error(&object, "", message).hint("use another account name"));
                members.by_pod.insert(key, (Identity::UNKNOWN, info));
                continue;
            }
            let account = (pod.key.namespace.as_str(), pod.account.as_str());
            members.accounts.entry(account).or_default().insert(number);
            for binding in bound.get(key).into_iter().flatten() {
                members.bindings.entry(binding).or_default().insert(number);
            }
            members.by_pod.insert(key, (number, info));
        }
        members
    }

    /// The identities that a subject stands for.
    pub(super) fn of(&self, subject: &Subject) -> Vec<Identity> {
        let found = match subject {
            Subject::ServiceAccount(key) => self.accounts.get(&(key.namespace.as_str(), key.name.as_str())),
            Subject::IdentityBinding(key) => self.bindings.get(key),
        };
        found.into_iter().flatten().copied().collect()
    }
}

fn info(pod: &Pod, bindings: Option<&BTreeSet<&Key>>, wanted: &WantedPorts<'_>) -> IdentityInfo {
    let mut names: BTreeSet<&str> = BTreeSet::new();
    let account = (pod.key.namespace.as_str(), pod.account.as_str());
    names.extend(wanted.accounts.get(&account).into_iter().flatten());
    for binding in bindings.into_iter().flatten() {
        names.extend(wanted.bindings.get(binding).into_iter().flatten());
    }
    let named_ports = names
        .into_iter()
        .flat_map(|name| [Transport::Tcp, Transport::Udp].map(|transport| (name, transport)))
        .filter_map(|(name, transport)| {
            let port = named_port(pod, name, transport)?;
            Some((IdentityInfo::port_key(name, transport), port))
        })
        .collect();
    IdentityInfo {
        namespace: pod.key.namespace.clone(),
        account: pod.account.clone(),
        bindings: bindings.into_iter().flatten().map(|key| key.name.clone()).collect(),
        named_ports,
    }
}

/// The number of a pod's port of this name and protocol; the first container that declares it wins, as with Kubernetes.
pub(super) fn named_port(pod: &Pod, name: &str, transport: Transport) -> Option<u16> {
    let of_name = |port: &&crate::model::ContainerPort| {
        port.transport == transport && port.port != 0 && port.name.as_deref() == Some(name)
    };
    pod.ports.iter().find(of_name).map(|port| port.port)
}

/// Names of container ports that targets speak of.
struct WantedPorts<'i> {
    accounts: HashMap<(&'i str, &'i str), BTreeSet<&'i str>>,
    bindings: HashMap<&'i Key, BTreeSet<&'i str>>,
}

fn wanted_ports<'i>(targets: &[LiveTarget<'i>]) -> WantedPorts<'i> {
    let mut wanted = WantedPorts {
        accounts: HashMap::new(),
        bindings: HashMap::new(),
    };
    for live in targets {
        let Some(TargetPortRef::Name(name)) = &live.target.port else {
            continue;
        };
        match live.destination {
            Subject::ServiceAccount(key) => wanted
                .accounts
                .entry((key.namespace.as_str(), key.name.as_str()))
                .or_default()
                .insert(name.as_str()),
            Subject::IdentityBinding(key) => wanted.bindings.entry(key).or_default().insert(name.as_str()),
        };
    }
    wanted
}

/// The bindings of each pod, as far as a target names them: others would change identities and grant nothing.
fn bound_pods<'i>(
    index: &'i Index,
    labels: &PodLabels<'i>,
    targets: &[LiveTarget<'i>],
    findings: &mut Vec<Finding>,
) -> HashMap<&'i Key, BTreeSet<&'i Key>> {
    let named: HashSet<&Key> = targets
        .iter()
        .flat_map(|live| live.target.sources.iter().chain([live.destination]))
        .filter_map(|subject| match subject {
            Subject::IdentityBinding(key) => Some(key),
            Subject::ServiceAccount(_) => None,
        })
        .collect();
    let mut by_account: HashMap<(&str, &str), Vec<&'i Pod>> = HashMap::new();
    for pod in index.pods.values().filter(|pod| is_member(pod)) {
        by_account
            .entry((pod.key.namespace.as_str(), pod.account.as_str()))
            .or_default()
            .push(pod);
    }
    let mut bound: HashMap<&'i Key, BTreeSet<&'i Key>> = HashMap::new();
    for binding in index.bindings.values().filter(|binding| named.contains(&binding.key)) {
        for (at, scheme) in binding.schemes.iter().enumerate() {
            let pods = match scheme {
                BindingScheme::PodLabels(selector) => labels.select(&binding.key.namespace, selector),
                BindingScheme::ServiceAccount(account) => account_pods(&by_account, binding, account),
                BindingScheme::Spiffe(id) => {
                    spiffe_account(id, &binding.key.namespace).map_or(vec![], |a| account_pods(&by_account, binding, a))
                }
            };
            if pods.is_empty() {
                findings.push(binds_nobody(binding, at, scheme));
            }
            for pod in pods.into_iter().filter(|pod| is_member(pod)) {
                bound.entry(&pod.key).or_default().insert(&binding.key);
            }
        }
    }
    bound
}

fn account_pods<'i>(
    by_account: &HashMap<(&str, &str), Vec<&'i Pod>>,
    binding: &IdentityBinding,
    account: &str,
) -> Vec<&'i Pod> {
    by_account
        .get(&(binding.key.namespace.as_str(), account))
        .cloned()
        .unwrap_or_default()
}

/// The account of `TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT`, if it is of this namespace. Any trust domain: nodes don't
/// prove one to each other yet.
fn spiffe_account<'a>(id: &'a str, namespace: &str) -> Option<&'a str> {
    let parts: Vec<&str> = id.split('/').collect();
    match parts[..] {
        [domain, "ns", ns, "sa", account] if !domain.is_empty() && ns == namespace && !account.is_empty() => {
            Some(account)
        }
        _ => None,
    }
}

fn binds_nobody(binding: &IdentityBinding, at: usize, scheme: &BindingScheme) -> Finding {
    let object = ObjectRef {
        kind: Kind::IdentityBinding,
        key: binding.key.clone(),
    };
    let namespace = &binding.key.namespace;
    let field = format!("spec.schemes[{at}]");
    match scheme {
        BindingScheme::PodLabels(labels) if labels.is_empty() => {
            Finding::error(&object, field, "an empty podLabelSelector binds no pod").hint("name at least one label")
        }
        BindingScheme::PodLabels(_) => Finding::warning(
            &object,
            field,
            format!("no pod of namespace {namespace} has these labels"),
        )
        .hint("a binding binds pods of its own namespace only")
        .missing(Kind::Pod),
        BindingScheme::ServiceAccount(account) => {
            Finding::warning(&object, field, format!("no pod has the account {namespace}/{account}"))
                .hint("a binding binds pods of its own namespace only")
                .missing(Kind::Pod)
        }
        BindingScheme::Spiffe(id) if spiffe_account(id, namespace).is_none() => Finding::error(
            &object,
            field,
            format!("spiffe://{id} names no account of namespace {namespace}"),
        )
        .hint(format!("write spiffe://TRUST-DOMAIN/ns/{namespace}/sa/ACCOUNT")),
        BindingScheme::Spiffe(id) => Finding::warning(
            &object,
            field,
            format!("no pod has the account that spiffe://{id} names"),
        )
        .missing(Kind::Pod),
    }
}
