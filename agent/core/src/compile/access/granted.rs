//! What the rules of one target come to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::routes::{NoMatch, Routes, Selection};
use super::target_ref;
use crate::finding::Finding;
use crate::identity::IdentityInfo;
use crate::index::Index;
use crate::model::{Key, Kind, ObjectRef, PortRoute, RuleKind, TargetPortRef, TargetRule, TrafficTarget, Transport};
use crate::snapshot::{HttpRoutes, Ports};

/// What a target's rules come to, before its port narrows them.
pub(super) struct Granted {
    /// TCP, from HTTPRouteGroups and TCPRoutes.
    pub(super) tcp: Option<GrantedTcp>,
    /// UDP ports, from UDPRoutes.
    pub(super) udp: Option<Ports>,
}

/// The half of [`Granted`] that speaks of TCP.
pub(super) struct GrantedTcp {
    pub(super) ports: Ports,
    pub(super) http: Option<Arc<HttpRoutes>>,
}

/// Access 3 to 8: the HTTPRouteGroups of a target are a union, its TCPRoutes are a union, and where it has both, both
/// must hold. A rule that matches nothing still counts as being there, so that what it would have narrowed stays shut.
/// UDPRoutes are a union of their own: they and the others say nothing about each other.
pub(super) fn granted<'i>(
    index: &'i Index,
    target: &'i TrafficTarget,
    routes: &mut Routes<'i>,
    findings: &mut Vec<Finding>,
) -> Option<Granted> {
    let mut tcp: Option<Ports> = None;
    let mut udp: Option<Ports> = None;
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
                    Some(route) => union(ports, &route_ports(Kind::TCPRoute, route, findings)),
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
                let ports = udp.get_or_insert(Ports::Only(vec![]));
                match index.udp_routes.get(&key) {
                    Some(route) => union(ports, &route_ports(Kind::UDPRoute, route, findings)),
                    None => absent(Kind::UDPRoute),
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
    let tcp = match (tcp, http) {
        (None, None) => None,
        (ports, http) => tcp_half(ports, http, routes, findings),
    };
    let udp = udp.filter(|ports| *ports != Ports::Only(vec![]));
    (understood && (tcp.is_some() || udp.is_some())).then_some(Granted { tcp, udp })
}

fn tcp_half<'i>(
    ports: Option<Ports>,
    http: Option<Selection<'i>>,
    routes: &mut Routes<'i>,
    findings: &mut Vec<Finding>,
) -> Option<GrantedTcp> {
    let http = match http {
        Some(selection) => Some(routes.compile(selection, findings)?),
        None => None,
    };
    let ports = ports.unwrap_or(Ports::All);
    (ports != Ports::Only(vec![])).then_some(GrantedTcp { ports, http })
}

/// The match names of a rule; none for all of them.
fn rule_names(rule: &TargetRule) -> &[String] {
    rule.matches.as_deref().unwrap_or_default()
}

/// Pod ports of a TCPRoute or UDPRoute. Port 0 is no port (and "any" to the kernel's table): it is left out.
fn route_ports(kind: Kind, route: &PortRoute, findings: &mut Vec<Finding>) -> Ports {
    if route.ports.is_empty() {
        return Ports::All;
    }
    if route.ports.contains(&0) {
        let object = ObjectRef {
            kind,
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

/// `destination.port` of v1alpha1 and v1alpha2: the rules hold for this pod port only. A name is that of a container's
/// port of this protocol.
pub(super) fn narrow(ports: &Ports, to: Option<&TargetPortRef>, dst: &IdentityInfo, transport: Transport) -> Ports {
    let port = match to {
        None => return ports.clone(),
        Some(TargetPortRef::Number(port)) => Some(*port),
        Some(TargetPortRef::Name(name)) => dst.named_port(name, transport),
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
