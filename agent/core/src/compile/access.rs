//! TrafficTargets to what each pair of identities may do.
//!
//! Bias: an allow-list read strictly. A rule that can't be understood never leaves a wider one behind: what stands
//! beside it in the same target may have been meant to be narrowed by it. semantics: Access 1 to 10.

mod granted;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::members::Members;
use super::resolver::Resolver;
use super::routes::Routes;
use crate::finding::Finding;
use crate::identity::{Identity, IdentityInfo};
use crate::index::Index;
use crate::model::{Kind, ObjectRef, Subject, TrafficTarget, Transport};
use crate::snapshot::{Grant, PairAccess, Ports, UdpGrant};
use granted::{granted, narrow};

/// A target that may grant something: it has a destination of its own namespace, sources and rules.
pub(super) struct LiveTarget<'i> {
    pub(super) target: &'i TrafficTarget,
    pub(super) destination: &'i Subject,
}

/// Targets that may grant something, by name. Access 9 and 10.
pub(super) fn live_targets<'i>(index: &'i Index, findings: &mut Vec<Finding>) -> Vec<LiveTarget<'i>> {
    index
        .targets
        .values()
        .filter_map(|target| live_target(target, findings))
        .collect()
}

fn live_target<'i>(target: &'i TrafficTarget, findings: &mut Vec<Finding>) -> Option<LiveTarget<'i>> {
    let object = target_ref(target);
    let namespace = &target.key.namespace;
    let mut refuse = |field: &str, message: String, hint: String| {
        findings.push(Finding::error(&object, field, message).hint(hint));
    };
    let Some(destination) = &target.destination else {
        let hint = "name the ServiceAccount of the pods that are called";
        refuse(
            "spec.destination",
            "a target without a destination grants nothing".into(),
            hint.into(),
        );
        return None;
    };
    let (Subject::ServiceAccount(key) | Subject::IdentityBinding(key)) = destination;
    if key.namespace != *namespace {
        let message = format!(
            "the destination is in namespace {}, the target in {namespace}: it grants nothing",
            key.namespace
        );
        refuse(
            "spec.destination.namespace",
            message,
            format!("put the target into namespace {}", key.namespace),
        );
        return None;
    }
    if target.rules.is_empty() {
        let hint = "name a TCPRoute for any bytes, an HTTPRouteGroup for HTTP, a UDPRoute for datagrams";
        refuse(
            "spec.rules",
            "a target without rules grants nothing".into(),
            hint.into(),
        );
        return None;
    }
    if target.sources.is_empty() {
        let hint = "name the ServiceAccount of the pods that call";
        refuse(
            "spec.sources",
            "a target without sources grants nothing".into(),
            hint.into(),
        );
        return None;
    }
    Some(LiveTarget { target, destination })
}

/// What each pair may do, for the pairs that `relevant` names.
pub(super) fn pairs(
    index: &Index,
    targets: &[LiveTarget<'_>],
    members: &Members<'_>,
    relevant: &Relevant,
    mut resolver: Option<&mut Resolver>,
    findings: &mut Vec<Finding>,
) -> BTreeMap<(Identity, Identity), Arc<PairAccess>> {
    let mut routes = Routes::new(index);
    let mut pairs: BTreeMap<(Identity, Identity), PairAccess> = BTreeMap::new();
    for live in targets {
        let target = live.target;
        report_subjects(index, live, members, findings);
        let Some(granted) = granted(index, target, &mut routes, findings) else {
            continue;
        };
        let sources: BTreeSet<Identity> = target.sources.iter().flat_map(|source| members.of(source)).collect();
        let mut narrowed_to_nothing = target.port.is_some();
        let destinations = members.of(live.destination);
        for &dst in &destinations {
            let Some(info) = relevant.infos.get(&dst) else { continue };
            let of = |ports: &Ports, transport| {
                let ports = narrow(ports, target.port.as_ref(), info, transport);
                (ports != Ports::Only(vec![])).then_some(ports)
            };
            let tcp = granted.tcp.as_ref().and_then(|tcp| {
                let ports = of(&tcp.ports, Transport::Tcp)?;
                Some(Grant {
                    target: target.key.clone(),
                    ports,
                    http: tcp.http.clone(),
                })
            });
            let udp = granted.udp.as_ref().and_then(|ports| {
                let ports = of(ports, Transport::Udp)?;
                Some(UdpGrant {
                    target: target.key.clone(),
                    ports,
                })
            });
            if tcp.is_none() && udp.is_none() {
                continue;
            }
            narrowed_to_nothing = false;
            if let (Some(resolver), Some(udp)) = (&mut resolver, &udp) {
                resolver.note(&sources, dst, &udp.ports);
            }
            for src in sources.iter().filter(|src| relevant.pair(**src, dst)) {
                let pair = pairs.entry((*src, dst)).or_default();
                pair.grants.extend(tcp.clone());
                pair.udp.extend(udp.clone());
            }
        }
        if narrowed_to_nothing && !destinations.is_empty() {
            let message = "no rule of this target holds for this port on any destination pod: it grants nothing";
            let finding = Finding::error(&target_ref(target), "spec.destination.port", message);
            findings.push(finding.hint("it narrows the rules to one pod port (a number, or a container port's name)"));
        }
    }
    pairs
        .into_iter()
        .map(|(pair, access)| (pair, Arc::new(access)))
        .collect()
}

/// Which pairs a plan holds: the destination is judged, and one side is enrolled on this node. Others are decided on
/// other nodes, or not at all.
pub(super) struct Relevant {
    /// Identities of enrolled pods of this node.
    pub(super) local: HashSet<Identity>,
    /// Identities of pods whose namespace is enrolled.
    pub(super) judged: HashSet<Identity>,
    /// What all identities stand for.
    pub(super) infos: BTreeMap<Identity, Arc<IdentityInfo>>,
}

impl Relevant {
    fn pair(&self, src: Identity, dst: Identity) -> bool {
        self.judged.contains(&dst) && (self.local.contains(&src) || self.local.contains(&dst))
    }
}

/// Subjects that stand for nobody: the target grants less than its author may think.
fn report_subjects(index: &Index, live: &LiveTarget<'_>, members: &Members<'_>, findings: &mut Vec<Finding>) {
    let object = target_ref(live.target);
    let sources = live
        .target
        .sources
        .iter()
        .enumerate()
        .map(|(at, s)| (format!("spec.sources[{at}]"), s));
    for (field, subject) in sources.chain([("spec.destination".to_owned(), live.destination)]) {
        match subject {
            Subject::IdentityBinding(key) if !index.bindings.contains_key(key) => {
                let finding = Finding::error(&object, field, format!("there is no IdentityBinding {key}"));
                findings.push(finding.missing(Kind::IdentityBinding));
            }
            Subject::ServiceAccount(key) if !index.accounts.contains_key(key) && members.of(subject).is_empty() => {
                let message = format!("there is no ServiceAccount {key}, and no pod has it");
                let finding = Finding::warning(&object, field, message).hint("is name or namespace misspelt?");
                findings.push(finding.missing(Kind::ServiceAccount));
            }
            _ => {}
        }
    }
}

pub(super) fn target_ref(target: &TrafficTarget) -> ObjectRef {
    ObjectRef {
        kind: Kind::TrafficTarget,
        key: target.key.clone(),
    }
}
