//! TrafficSplits to the routes of their root Services.
//!
//! Bias: a split that can't do what it says sends nobody anywhere else than it says. semantics: Split 1 to 10.

mod live;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::endpoints::Endpoints;
use super::peers::is_usable;
use crate::finding::Finding;
use crate::index::Index;
use crate::model::{Key, Kind, ObjectRef, Service, TrafficSplit, Transport};
use crate::snapshot::{Backend, PortProtocol, Root, SplitRoute};
use live::{LiveSplit, live_splits};

/// Services by ClusterIP and port.
pub(super) type Roots = BTreeMap<SocketAddr, Arc<Root>>;

/// Every ClusterIP and port, and where they lead: over TCP, and over UDP.
pub(super) fn roots(index: &Index, endpoints: &Endpoints<'_>, findings: &mut Vec<Finding>) -> (Roots, Roots) {
    let splits = live_splits(index, endpoints, findings);
    let of = |transport, findings: &mut Vec<Finding>| roots_of(index, endpoints, transport, &splits, findings);
    (of(Transport::Tcp, findings), of(Transport::Udp, findings))
}

fn roots_of(
    index: &Index,
    endpoints: &Endpoints<'_>,
    transport: Transport,
    splits: &HashMap<&Key, Vec<LiveSplit<'_>>>,
    findings: &mut Vec<Finding>,
) -> Roots {
    let mut holders: BTreeMap<SocketAddr, &Key> = BTreeMap::new();
    let mut roots = BTreeMap::new();
    for service in index.services.values() {
        let splits = splits.get(&service.key).map_or(&[][..], Vec::as_slice);
        for ip in service.cluster_ips.iter().map(IpAddr::to_canonical).filter(is_usable) {
            for (port, declared) in endpoints.ports_of(&service.key, transport) {
                let address = SocketAddr::new(ip, port);
                if let Some(holder) = holders.get(&address) {
                    let message = format!("{address} belongs to Service {holder} already; this one is ignored there");
                    findings.push(Finding::error(&service_ref(&service.key), "spec.clusterIPs", message));
                    continue;
                }
                holders.insert(address, &service.key);
                let target = Target {
                    endpoints,
                    service,
                    transport,
                    address,
                };
                let root = root(&target, declared.protocol, splits, findings);
                roots.insert(address, Arc::new(root));
            }
        }
    }
    roots
}

/// What is resolved: one address and port of one Service.
struct Target<'i> {
    endpoints: &'i Endpoints<'i>,
    service: &'i Service,
    transport: Transport,
    address: SocketAddr,
}

fn root(target: &Target<'_>, protocol: PortProtocol, splits: &[LiveSplit<'_>], findings: &mut Vec<Finding>) -> Root {
    let mut routes: Vec<SplitRoute> = Vec::new();
    let udp = target.transport == Transport::Udp;
    // A datagram never matches: it goes past such splits, to what is behind them.
    for live in splits.iter().filter(|live| !(udp && live.matches.is_some())) {
        let object = split_ref(live.split);
        if live.matches.is_some() && protocol == PortProtocol::Tcp {
            let message = format!(
                "port {} is declared as TCP: only HTTP requests can match",
                target.address.port()
            );
            let finding = Finding::warning(&object, "spec.matches", message);
            findings.push(finding.hint("declare the root's port with appProtocol: http"));
        }
        let backends: Vec<Backend> = live
            .weights
            .iter()
            .filter_map(|(service, weight)| backend(target, live, service, *weight, findings))
            .collect();
        if backends.is_empty() && live.split.backends.iter().any(|backend| backend.weight_millis > 0) {
            let answer = if udp {
                "datagrams are"
            } else {
                "HTTP is answered 503, TCP"
            };
            let port = target.address.port();
            let message = format!("nobody is left for {}port {port}: {answer} refused", prefix(target));
            findings.push(Finding::warning(&object, "spec.backends", message).missing(Kind::Pod));
        }
        routes.push(SplitRoute {
            split: Some(live.split.key.clone()),
            matches: live.matches.clone(),
            backends,
        });
    }
    if routes.last().is_none_or(|route| route.matches.is_some()) {
        let own = own_endpoints(target, &target.service.key);
        let backend = own.map(|endpoints| Backend {
            service: target.service.key.clone(),
            weight: 1,
            endpoints,
        });
        routes.push(SplitRoute {
            split: None,
            matches: None,
            backends: backend.into_iter().collect(),
        });
    }
    Root {
        service: target.service.key.clone(),
        port: target.address.port(),
        protocol,
        routes,
    }
}

/// A leaf means that Service's endpoints (Split 3); without any it leaves the rotation (Split 2 and 5).
fn backend(
    target: &Target<'_>,
    live: &LiveSplit<'_>,
    service: &Key,
    weight: u64,
    findings: &mut Vec<Finding>,
) -> Option<Backend> {
    let object = split_ref(live.split);
    let port = target.address.port();
    let Some(declared) = target.endpoints.port(service, target.transport, port) else {
        let transport = target.transport.as_str();
        let message = format!("backend {service} has no {transport} port {port}: it is out for that port");
        findings.push(
            Finding::error(&object, "spec.backends", message).hint("backends need the ports of the root Service"),
        );
        return None;
    };
    let Some(endpoints) = own_endpoints(target, service) else {
        let family = match (declared.addresses.is_empty(), target.address.is_ipv4()) {
            (true, _) => "",
            (false, true) => " with an IPv4 address",
            (false, false) => " with an IPv6 address",
        };
        let message = format!(
            "backend {service} has no ready endpoint{family} for {}port {port}: the others take its share",
            prefix(target)
        );
        findings.push(Finding::warning(&object, "spec.backends", message).missing(Kind::Pod));
        return None;
    };
    Some(Backend {
        service: service.clone(),
        weight,
        endpoints,
    })
}

/// Endpoints of the address's family; `None` where there are none.
fn own_endpoints(target: &Target<'_>, service: &Key) -> Option<Vec<SocketAddr>> {
    let declared = target
        .endpoints
        .port(service, target.transport, target.address.port())?;
    let family = target.address.is_ipv4();
    let endpoints: Vec<_> = declared
        .addresses
        .iter()
        .copied()
        .filter(|address| address.is_ipv4() == family)
        .collect();
    (!endpoints.is_empty()).then_some(endpoints)
}

/// In front of "port": TCP goes without saying.
fn prefix(target: &Target<'_>) -> &'static str {
    match target.transport {
        Transport::Udp => "UDP ",
        Transport::Tcp | Transport::Sctp => "",
    }
}

fn split_ref(split: &TrafficSplit) -> ObjectRef {
    ObjectRef {
        kind: Kind::TrafficSplit,
        key: split.key.clone(),
    }
}

fn service_ref(key: &Key) -> ObjectRef {
    ObjectRef {
        kind: Kind::Service,
        key: key.clone(),
    }
}
