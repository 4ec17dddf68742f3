//! What the rules of one target come to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::routes::{NoMatch, Routes, Selection};
use super::target_ref;
use crate::finding::Finding;
use crate::identity::IdentityInfo;
use crate::index::Index;
use crate::model::{Key, Kind, ObjectRef, PortRoute, RuleKind, TargetPortRef, TargetRule, TrafficTarget};
use crate::snapshot::{HttpRoutes, Ports};

/// What a target's rules come to, before its port narrows them.
pub(super) struct Granted {
    pub(super) ports: Ports,
    pub(super) http: Option<Arc<HttpRoutes>>,
}

/// Access 3 to 8: the HTTPRouteGroups of a target are a union, its TCPRoutes are a union, and where it has both, both
/// must hold. A rule that matches nothing still counts as being there, so that what it would have narrowed stays shut.
pub(super) fn granted<'i>(
    index: &'i Index,
    target: &'i TrafficTarget,
    routes: &mut Routes<'i>,
    findings: &mut Vec<Finding>,
) -> Option<Granted> {
    let mut tcp: Option<Ports> = None;
    let mut http: Option<Selection<'i>> = None;
    let mut understood = true;
    for (at, rule) in target.rules.iter().enumerate() {
        let key = Key::new(&target.key.namespace, &rule.name);
        let mut absent = |kind: Kind| {
            // A rule that could not be read has no name, and a finding of its own.
            if !rule.name.is_empty() {
                let finding = dead_rule(target, at, "", format!("there is no {kind} {key}"));
                findings.push(finding.missing(kind));
            }
        };
        match &rule.kind {
            RuleKind::TcpRoute => {
                let ports = tcp.get_or_insert(Ports::Only(vec![]));
                match index.tcp_routes.get(&key) {
                    Some(route) => union(ports, &route_ports(route, findings)),
                    None => absent(Kind::TCPRoute),
                }
            }
            RuleKind::HttpRouteGroup => {
                let selection = http.get_or_insert_default();
                let names = rule_names(rule);
                match routes.group(&key, names) {
                    Ok(group) => {
                        let names = (!names.is_empty()).then(|| names.iter().map(String::as_str).collect());
                        selection.push((&group.key, names));
                    }
                    Err(NoMatch::Group) => absent(Kind::HTTPRouteGroup),
                    Err(NoMatch::Name(name, why)) => {
                        findings.push(dead_rule(target, at, &format!(".matches[{name}]"), why));
                    }
                }
            }
            RuleKind::UdpRoute => {
                if !index.udp_routes.contains_key(&key) {
                    absent(Kind::UDPRoute);
                }
            }
            RuleKind::Unknown(kind) => {
                understood = false;
                let message =
                    format!("rule kind {kind:?} is not known; it may be meant to narrow, so the target grants nothing");
                let finding = Finding::error(&target_ref(target), format!("spec.rules[{at}].kind"), message);
                findings.push(finding.hint("known are HTTPRouteGroup, TCPRoute and UDPRoute"));
            }
        }
    }
    let http = match http {
        Some(selection) => Some(routes.compile(selection, findings)?),
        None => None,
    };
    let ports = match tcp {
        Some(ports) => ports,
        None if http.is_some() => Ports::All,
        None => return None,
    };
    (understood && ports != Ports::Only(vec![])).then_some(Granted { ports, http })
}

/// The match names of a rule; none for all of them.
fn rule_names(rule: &TargetRule) -> &[String] {
    rule.matches.as_deref().unwrap_or_default()
}

/// Pod ports of a TCPRoute. Port 0 is no port (and "any" to the kernel's table): it is left out.
fn route_ports(route: &PortRoute, findings: &mut Vec<Finding>) -> Ports {
    if route.ports.is_empty() {
        return Ports::All;
    }
    if route.ports.contains(&0) {
        let object = ObjectRef {
            kind: Kind::TCPRoute,
            key: route.key.clone(),
        };
        let finding = Finding::error(&object, "spec.matches.ports", "port 0 matches nothing");
        findings.push(finding.hint("leave `ports` out for every port"));
    }
    let ports: BTreeSet<u16> = route.ports.iter().copied().filter(|port| *port != 0).collect();
    Ports::Only(ports.into_iter().collect())
}

fn union(into: &mut Ports, more: &Ports) {
    match (&mut *into, more) {
        (Ports::All, _) => {}
        (_, Ports::All) => *into = Ports::All,
        (Ports::Only(ports), Ports::Only(more)) => {
            ports.extend(more);
            ports.sort_unstable();
            ports.dedup();
        }
    }
}

/// `destination.port` of v1alpha1 and v1alpha2: the rules hold for this pod port only.
pub(super) fn narrow(ports: &Ports, to: Option<&TargetPortRef>, dst: &IdentityInfo) -> Ports {
    let port = match to {
        None => return ports.clone(),
        Some(TargetPortRef::Number(port)) => Some(*port),
        Some(TargetPortRef::Name(name)) => dst.named_ports.get(name).copied(),
    };
    Ports::Only(
        port.into_iter()
            .filter(|port| *port != 0 && ports.contains(*port))
            .collect(),
    )
}

fn dead_rule(target: &TrafficTarget, at: usize, field: &str, why: String) -> Finding {
    let finding = Finding::error(
        &target_ref(target),
        format!("spec.rules[{at}]{field}"),
        format!("{why}: the rule matches nothing"),
    );
    finding.hint("rules name routes of the target's own namespace")
}
