//! Which splits are in force, and what each of them says.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::endpoints::Endpoints;
use super::super::routes::{Routes, Selection};
use super::split_ref;
use crate::finding::Finding;
use crate::index::Index;
use crate::model::{Key, Kind, RuleKind, Service, TrafficSplit};
use crate::snapshot::HttpRoutes;

/// A split that is in force for its root.
pub(super) struct LiveSplit<'i> {
    pub(super) split: &'i TrafficSplit,
    /// Weights by backend Service, in thousandths, more than 0.
    pub(super) weights: Vec<(Key, u64)>,
    pub(super) matches: Option<Arc<HttpRoutes>>,
}

/// Splits by root, in the order in which they are tried. Split 7: those with matches first, then the others, the
/// older first; behind the first without matches nothing is reached.
pub(super) fn live_splits<'i>(
    index: &'i Index,
    endpoints: &Endpoints<'_>,
    findings: &mut Vec<Finding>,
) -> HashMap<&'i Key, Vec<LiveSplit<'i>>> {
    let mut in_order: Vec<&TrafficSplit> = index.splits.values().collect();
    in_order.sort_by_key(|split| {
        (
            split.matches.is_empty(),
            split.created.is_empty(),
            &split.created,
            &split.key,
        )
    });
    let mut routes = Routes::new(index);
    let mut splits: HashMap<&Key, Vec<LiveSplit<'_>>> = HashMap::new();
    for split in in_order {
        let Some(root) = root_service(index, split, endpoints, findings) else {
            continue;
        };
        let live = splits.entry(&root.key).or_default();
        if let Some(first) = live.last().filter(|last| last.matches.is_none()) {
            let message = format!(
                "TrafficSplit {} has the same root and is older: this one is ignored",
                first.split.key
            );
            findings.push(Finding::error(&split_ref(split), "spec.service", message).hint("remove one of the two"));
            continue;
        }
        let matches = match split.matches.is_empty() {
            true => None,
            false => match matches(index, split, &mut routes, findings) {
                Some(matches) => Some(matches),
                None => continue,
            },
        };
        let weights = weights(index, split, findings);
        live.push(LiveSplit {
            split,
            weights,
            matches,
        });
    }
    splits
}

/// Split 1: `name`, `name.namespace`, `name.namespace.svc` or with a cluster domain behind, in the split's namespace only.
fn local_name<'s>(written: &'s str, namespace: &str) -> Result<&'s str, String> {
    let mut parts = written.split('.');
    let name = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (None, _) => Ok(name),
        (Some(ns), None | Some("svc")) if ns == namespace => Ok(name),
        (Some(ns), None | Some("svc")) => Err(format!(
            "Service {written} is in namespace {ns}, the split in {namespace}"
        )),
        _ => Err(format!("{written:?} is not the name of a Service")),
    }
}

fn root_service<'i>(
    index: &'i Index,
    split: &TrafficSplit,
    endpoints: &Endpoints<'_>,
    findings: &mut Vec<Finding>,
) -> Option<&'i Service> {
    let ignored = |why: String, hint: &str| {
        let message = format!("{why}: the split is ignored");
        Finding::error(&split_ref(split), "spec.service", message).hint(hint)
    };
    let name = match local_name(&split.service, &split.key.namespace) {
        Ok(name) => name,
        Err(why) => {
            findings.push(ignored(why, "a split's root is a Service of its own namespace"));
            return None;
        }
    };
    let key = Key::new(&split.key.namespace, name);
    let Some(service) = index.services.get(&key) else {
        let finding = ignored(format!("there is no Service {key}"), "is the name misspelt?");
        findings.push(finding.missing(Kind::Service));
        return None;
    };
    if service.cluster_ips.is_empty() {
        let hint = "clients of a headless Service choose a pod themselves";
        findings.push(ignored(format!("Service {key} has no ClusterIP"), hint));
        return None;
    }
    if !endpoints.has_ports(&key) {
        let hint = "give the root the ports of its backends";
        findings.push(ignored(format!("Service {key} has no TCP or UDP port"), hint));
        return None;
    }
    Some(service)
}

/// Weights of the backends that exist; one that is named twice has the sum.
fn weights(index: &Index, split: &TrafficSplit, findings: &mut Vec<Finding>) -> Vec<(Key, u64)> {
    let object = split_ref(split);
    let mut weights: Vec<(Key, u64)> = Vec::new();
    for (at, backend) in split.backends.iter().enumerate() {
        let key = match local_name(&backend.service, &split.key.namespace) {
            Ok(name) => Key::new(&split.key.namespace, name),
            Err(why) => {
                let finding = Finding::error(&object, format!("spec.backends[{at}].service"), why);
                findings.push(finding.hint("backends are Services of the split's own namespace"));
                continue;
            }
        };
        if !index.services.contains_key(&key) {
            let message = format!("there is no Service {key}: the others take its share");
            let finding = Finding::error(&object, format!("spec.backends[{at}].service"), message);
            findings.push(finding.missing(Kind::Service));
            continue;
        }
        match weights.iter_mut().find(|(service, _)| *service == key) {
            Some((_, weight)) => *weight = weight.saturating_add(backend.weight_millis),
            None => weights.push((key, backend.weight_millis)),
        }
    }
    if split.backends.iter().all(|backend| backend.weight_millis == 0) {
        let message = "all weights are 0: every request is answered 503, every TCP connection and datagram refused";
        findings
            .push(Finding::warning(&object, "spec.backends", message).hint("remove the split to use the root itself"));
    }
    weights.retain(|(_, weight)| *weight > 0);
    weights
}

/// Split 6. `None` where no group is left that could match: then the split takes no request.
fn matches<'i>(
    index: &'i Index,
    split: &TrafficSplit,
    routes: &mut Routes<'i>,
    findings: &mut Vec<Finding>,
) -> Option<Arc<HttpRoutes>> {
    let mut selection: Selection<'i> = Vec::new();
    let mut missing = None;
    for (at, route) in split.matches.iter().enumerate() {
        let key = Key::new(&split.key.namespace, &route.name);
        let error = |why| Finding::error(&split_ref(split), format!("spec.matches[{at}]"), why);
        match (&route.kind, index.groups.get(&key)) {
            (RuleKind::HttpRouteGroup, Some(group)) => selection.push((&group.key, None)),
            (RuleKind::HttpRouteGroup, None) => {
                let finding = error(format!("there is no HTTPRouteGroup {key}: it matches nothing"));
                missing = Some(Kind::HTTPRouteGroup);
                findings.push(Finding { missing, ..finding });
            }
            (kind, _) => {
                findings.push(error(format!(
                    "a split matches by HTTPRouteGroup, not by {kind:?}: it matches nothing"
                )));
            }
        }
    }
    let matches = if selection.is_empty() {
        None
    } else {
        routes.compile(selection, findings)
    };
    if matches.is_none() {
        let message = "none of the matches can match: the split is ignored";
        let finding = Finding::error(&split_ref(split), "spec.matches", message);
        findings.push(Finding { missing, ..finding });
    }
    matches
}
