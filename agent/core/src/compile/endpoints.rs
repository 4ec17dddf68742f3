//! Where each TCP and UDP port of each Service leads, and what Services say about the ports of pods.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};

use super::labels::PodLabels;
use super::members::named_port;
use super::peers::is_usable;
use super::protocol;
use crate::finding::Finding;
use crate::index::Index;
use crate::model::{EndpointSlice, Key, Kind, ObjectRef, Service, ServicePort, TargetPort, Transport};
use crate::snapshot::PortProtocol;

/// A port of a Service.
pub(super) struct PortEndpoints {
    /// What it declares.
    pub(super) protocol: PortProtocol,
    /// Ready endpoints of both families, sorted.
    pub(super) addresses: Vec<SocketAddr>,
}

/// A port as Services number them: TCP and UDP ports of one number are two.
type PortKey = (Transport, u16);

/// The TCP and UDP ports of all Services.
pub(super) struct Endpoints<'i> {
    services: HashMap<&'i Key, BTreeMap<PortKey, PortEndpoints>>,
}

impl<'i> Endpoints<'i> {
    pub(super) fn new(index: &'i Index, labels: &PodLabels<'i>, findings: &mut Vec<Finding>) -> Endpoints<'i> {
        let mut slices: HashMap<(&str, &str), Vec<&EndpointSlice>> = HashMap::new();
        for slice in index.slices.values() {
            slices
                .entry((slice.key.namespace.as_str(), slice.service.as_str()))
                .or_default()
                .push(slice);
        }
        let mut services: HashMap<&Key, BTreeMap<PortKey, PortEndpoints>> = HashMap::new();
        for service in index.services.values() {
            let slices = slices.get(&(service.key.namespace.as_str(), service.key.name.as_str()));
            let known = service
                .ports
                .iter()
                .filter(|port| port.transport != Transport::Sctp && port.port != 0);
            for port in known {
                let addresses = match slices {
                    Some(slices) => of_slices(slices, port, findings),
                    None => of_pods(service, port, labels, findings),
                };
                let protocol = match port.transport {
                    Transport::Tcp => protocol::declared(port),
                    // Datagrams are never looked into.
                    Transport::Udp | Transport::Sctp => PortProtocol::Tcp,
                };
                let addresses = addresses.into_iter().collect();
                let ports = services.entry(&service.key).or_default();
                ports
                    .entry((port.transport, port.port))
                    .or_insert(PortEndpoints { protocol, addresses });
            }
        }
        Endpoints { services }
    }

    /// A port of a Service, `None` where the Service has no such port of this protocol.
    pub(super) fn port(&self, service: &Key, transport: Transport, port: u16) -> Option<&PortEndpoints> {
        self.services.get(service)?.get(&(transport, port))
    }

    /// The ports of a Service of this protocol.
    pub(super) fn ports_of(&self, service: &Key, transport: Transport) -> impl Iterator<Item = (u16, &PortEndpoints)> {
        let ports = self.services.get(service).into_iter().flatten();
        ports
            .filter(move |((of, _), _)| *of == transport)
            .map(|((_, port), endpoints)| (*port, endpoints))
    }

    /// Whether a Service has any port that can be split.
    pub(super) fn has_ports(&self, service: &Key) -> bool {
        self.services.contains_key(service)
    }

    /// What Services declare about pod ports.
    pub(super) fn protocols(&self) -> Protocols {
        let mut declared: HashMap<IpAddr, BTreeMap<u16, PortProtocol>> = HashMap::new();
        let tcp = self
            .services
            .values()
            .flatten()
            .filter(|((of, _), _)| *of == Transport::Tcp);
        for (_, port) in tcp.filter(|(_, port)| port.protocol != PortProtocol::Detect) {
            for address in &port.addresses {
                let at = declared
                    .entry(address.ip())
                    .or_default()
                    .entry(address.port())
                    .or_insert(port.protocol);
                if *at != port.protocol {
                    *at = PortProtocol::Detect;
                }
            }
        }
        Protocols { declared }
    }
}

/// Declared protocols of pod ports. Where two Services differ, the first bytes tell.
pub(super) struct Protocols {
    declared: HashMap<IpAddr, BTreeMap<u16, PortProtocol>>,
}

impl Protocols {
    /// Of a pod with these addresses.
    pub(super) fn of(&self, ips: &[IpAddr]) -> BTreeMap<u16, PortProtocol> {
        let mut ports = BTreeMap::new();
        for (port, protocol) in ips.iter().filter_map(|ip| self.declared.get(ip)).flatten() {
            let at = ports.entry(*port).or_insert(*protocol);
            if at != protocol {
                *at = PortProtocol::Detect;
            }
        }
        ports.retain(|_, protocol| *protocol != PortProtocol::Detect);
        ports
    }
}

/// Endpoints as the slices give them. They may be outside of the mesh, and are then not judged.
fn of_slices(slices: &[&EndpointSlice], port: &ServicePort, findings: &mut Vec<Finding>) -> BTreeSet<SocketAddr> {
    let mut found = BTreeSet::new();
    for slice in slices {
        let same = slice
            .ports
            .iter()
            .filter(|p| p.transport == port.transport && p.name == port.name && p.port != 0);
        for slice_port in same {
            for (at, endpoint) in slice
                .endpoints
                .iter()
                .enumerate()
                .filter(|(_, endpoint)| endpoint.ready)
            {
                for ip in first_of_each_family(&endpoint.addresses) {
                    if is_usable(&ip) {
                        found.insert(SocketAddr::new(ip, slice_port.port));
                        continue;
                    }
                    let object = ObjectRef {
                        kind: Kind::EndpointSlice,
                        key: slice.key.clone(),
                    };
                    let message = format!("{ip} can't be an endpoint; it is left out");
                    findings.push(Finding::error(&object, format!("endpoints[{at}].addresses"), message));
                }
            }
        }
    }
    found
}

/// Endpoints of ready pods that the selector finds; each pod resolves a named port by itself.
fn of_pods(
    service: &Service,
    port: &ServicePort,
    labels: &PodLabels<'_>,
    findings: &mut Vec<Finding>,
) -> BTreeSet<SocketAddr> {
    let Some(selector) = &service.selector else {
        return BTreeSet::new();
    };
    let selected = labels.select(&service.key.namespace, selector);
    let mut found = BTreeSet::new();
    let mut named_by_none = !selected.is_empty();
    for pod in selected {
        let number = match &port.target_port {
            TargetPort::Number(number) => Some(*number).filter(|number| *number != 0),
            TargetPort::Name(name) => named_port(pod, name, port.transport),
        };
        let Some(number) = number else { continue };
        named_by_none = false;
        if pod.ready {
            let ips = first_of_each_family(&pod.ips).filter(is_usable);
            found.extend(ips.map(|ip| SocketAddr::new(ip, number)));
        }
    }
    if named_by_none && let TargetPort::Name(name) = &port.target_port {
        let object = ObjectRef {
            kind: Kind::Service,
            key: service.key.clone(),
        };
        let message = format!(
            "port {} leads to {name:?}, and no selected pod has a {} port of that name",
            port.port,
            port.transport.as_str()
        );
        findings.push(Finding::warning(&object, "spec.ports", message));
    }
    found
}

/// A pod is one endpoint per family, however many addresses it has.
fn first_of_each_family(ips: &[IpAddr]) -> impl Iterator<Item = IpAddr> {
    let first = |v4: bool| ips.iter().map(IpAddr::to_canonical).find(|ip| ip.is_ipv4() == v4);
    first(true).into_iter().chain(first(false))
}
