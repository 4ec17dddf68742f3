//! The objects of the files, compiled as on a running node.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use weir_core::compile::compile;
use weir_core::index::{Change, Index};
use weir_core::matcher::Probe;
use weir_core::model::{Key, Kind, Object, ObjectRef, Pod, Service, Transport};
use weir_core::plan::{Plan, Settings};
use weir_core::policy::{self, Explanation, Routing};
use weir_core::snapshot::PodInfo;

use super::place::{Destination, Place, What};
use super::report::Report;
use crate::cluster::manifests;

/// Where all pods are if no node is asked for.
const ONE_NODE: &str = "this node";

/// Pods and the ports on which they are asked.
type Targets = Vec<(Arc<PodInfo>, u16)>;

pub(super) struct World {
    index: Index,
    plan: Plan,
    /// What is wrong with files and objects.
    notes: Vec<String>,
}

impl World {
    /// Reads the files. Accounts that are asked about and that no pod has get a pod.
    pub(super) fn load(paths: &[PathBuf], node: Option<&str>, src: &Place, dst: &Place) -> anyhow::Result<World> {
        let (folder, batch) = manifests::load(paths)?;
        let mut index = Index::new();
        let mut addresses = unused_addresses();
        for object in folder.objects() {
            let mut object = object.clone();
            if let Object::Pod(pod) = &mut object {
                settle(pod, node, &mut addresses);
            }
            index.apply(Change::Upsert(object));
        }
        for place in [src, dst] {
            if let Some(mut pod) = stand_in(&index, place) {
                settle(&mut pod, node, &mut addresses);
                index.apply(Change::Upsert(Object::Pod(pod)));
            }
        }
        let pods: Vec<_> = index.pods().map(|pod| pod.key.clone()).collect();
        for (cookie, pod) in (1..).zip(pods) {
            index.apply(Change::Attach { pod, cookie });
        }
        let settings = Settings {
            node: node.unwrap_or(ONE_NODE).to_owned(),
            outbound_port: 0,
            inbound_port: 0,
            errno: 0,
            node_addresses: Default::default(),
        };
        let plan = compile(&index, &settings, 1);
        let problems = batch.problems.iter().map(ToString::to_string);
        let findings = batch.findings.iter().map(|finding| finding.finding.to_string());
        let notes = problems
            .chain(findings)
            .chain(plan.findings.iter().map(ToString::to_string))
            .collect();
        Ok(World { index, plan, notes })
    }

    pub(super) fn report(&self, src: &Place, dst: &Destination, request: Option<&Probe>) -> anyhow::Result<Report> {
        let transport = dst.transport;
        if transport == Transport::Udp && request.is_some() {
            bail!("requests are sent over TCP: leave out /udp, or METHOD and PATH");
        }
        let sources = self.pods(src)?;
        let mut routing = Vec::new();
        let targets = match self.service(&dst.place) {
            Some(service) => {
                let of_protocol = service.ports.iter().filter(|port| port.transport == dst.transport);
                let port = dst.port.or_else(|| only(of_protocol.map(|port| port.port)));
                let (routes, targets) = self.through(service, port, dst.transport, request)?;
                routing = routes;
                targets
            }
            None => {
                let mut targets = Vec::new();
                for pod in self.pods(&dst.place)? {
                    targets.push((pod.clone(), self.port(&pod, dst)?));
                }
                targets
            }
        };
        let mut answers: Vec<Explanation> = Vec::new();
        for (src, (dst, port)) in sources
            .iter()
            .flat_map(|src| targets.iter().map(move |target| (src, target)))
        {
            if dst.mode.takes_part() && src.cookie.is_none() && dst.cookie.is_none() {
                bail!(
                    "neither {} nor {} is an enrolled pod of that node: its agent has no say",
                    src.pod,
                    dst.pod
                );
            }
            answers.push(match transport {
                Transport::Udp => policy::explain_udp(&self.plan.snapshot, src, dst, *port),
                _ => policy::explain(&self.plan.snapshot, src, dst, *port, request),
            });
        }
        Ok(Report::new(routing, answers, self.notes.clone()))
    }

    fn service(&self, place: &Place) -> Option<&Service> {
        let is_pod = || self.index.pods().any(|pod| pod.key == place.key);
        let wanted = match place.what {
            What::Service => true,
            What::Any => !is_pod(),
            What::Pod | What::Account => false,
        };
        self.index.services().find(|service| wanted && service.key == place.key)
    }

    /// The pod, or one pod for each identity that the account's pods have.
    fn pods(&self, place: &Place) -> anyhow::Result<Vec<Arc<PodInfo>>> {
        let pod = self.index.pods().find(|pod| pod.key == place.key);
        if let (Some(pod), What::Any | What::Pod) = (pod, place.what) {
            let Some(info) = self.info(pod) else {
                bail!(
                    "pod {} has no address of its own ({}): it has no identity",
                    pod.key,
                    why_not(pod)
                );
            };
            return Ok(vec![info]);
        }
        let mut seen = BTreeSet::new();
        let of_account = self
            .index
            .pods()
            .filter(|pod| is_of(pod, place))
            .filter_map(|pod| self.info(pod));
        let pods: Vec<_> = of_account.filter(|pod| seen.insert(pod.identity)).collect();
        if pods.is_empty() || matches!(place.what, What::Pod | What::Service) {
            bail!("there is no {place} in these manifests");
        }
        Ok(pods)
    }

    fn info(&self, pod: &Pod) -> Option<Arc<PodInfo>> {
        let snapshot = &self.plan.snapshot;
        let mut known = snapshot
            .local
            .values()
            .chain(pod.ips.iter().filter_map(|ip| snapshot.peers.get(ip)));
        known.find(|info| info.pod == pod.key).cloned()
    }

    fn port(&self, pod: &PodInfo, asked: &Destination) -> anyhow::Result<u16> {
        let declared = || {
            let pod = self.index.pods().find(|other| other.key == pod.pod)?;
            only(
                pod.ports
                    .iter()
                    .filter(|port| port.transport == asked.transport)
                    .map(|port| port.port),
            )
        };
        match asked.port.or_else(declared) {
            Some(port) => Ok(port),
            None => bail!("which port of {}? write {}:PORT", pod.pod, pod.pod),
        }
    }

    /// Where a Service leads, and one pod for each identity and port that is there.
    fn through(
        &self,
        service: &Service,
        port: Option<u16>,
        transport: Transport,
        request: Option<&Probe>,
    ) -> anyhow::Result<(Vec<Routing>, Targets)> {
        let Some(port) = port else {
            bail!("which port of Service {}? write {}:PORT", service.key, service.key);
        };
        let snapshot = &self.plan.snapshot;
        let roots = match transport {
            Transport::Udp => snapshot.udp_roots.iter(),
            _ => snapshot.roots.iter(),
        };
        let mut roots: Vec<_> = roots
            .filter(|(_, root)| root.service == service.key && root.port == port)
            .collect();
        if roots.is_empty() {
            bail!(
                "Service {} has no ClusterIP with {} port {port}; ask for one of its pods",
                service.key,
                transport.as_str()
            );
        }
        // One for each family; they differ only where the pods' addresses do.
        roots.sort_by_key(|(address, _)| **address);
        let mut routing: Vec<Routing> = roots.iter().map(|(_, root)| policy::route(root, request)).collect();
        routing.dedup();
        let mut seen = BTreeSet::new();
        let mut targets = Vec::new();
        for endpoint in routing
            .iter()
            .flat_map(|routing| &routing.shares)
            .flat_map(|share| &share.endpoints)
        {
            if let Some(pod) = self.plan.snapshot.peers.get(&endpoint.ip())
                && seen.insert((pod.identity, endpoint.port()))
            {
                targets.push((pod.clone(), endpoint.port()));
            }
        }
        Ok((routing, targets))
    }
}

/// What a running agent has and files may not: a node, an address.
fn settle(pod: &mut Pod, node: Option<&str>, addresses: &mut impl Iterator<Item = IpAddr>) {
    if node.is_none() {
        ONE_NODE.clone_into(&mut pod.node);
    }
    if pod.ips.is_empty() {
        pod.ips.extend(addresses.next());
    }
}

/// Addresses of class E (RFC 1112), which no pod has.
fn unused_addresses() -> impl Iterator<Item = IpAddr> {
    (1..).map(|number: u32| IpAddr::V4(Ipv4Addr::from_bits(0xf000_0000 | number)))
}

/// A pod of the account that is asked about, where no pod has it.
fn stand_in(index: &Index, place: &Place) -> Option<Pod> {
    let taken = index.pods().any(|pod| pod.key == place.key || is_of(pod, place));
    let account = ObjectRef {
        kind: Kind::ServiceAccount,
        key: place.key.clone(),
    };
    let wanted = match place.what {
        What::Account => true,
        What::Any => index.contains(&account) && !index.services().any(|service| service.key == place.key),
        What::Pod | What::Service => false,
    };
    (wanted && !taken).then(|| Pod {
        key: Key::new(&place.key.namespace, format!("any-pod-of-{}", place.key.name)),
        uid: String::new(),
        labels: Default::default(),
        node: String::new(),
        account: place.key.name.clone(),
        ips: vec![],
        ports: vec![],
        probe_ports: vec![],
        host_network: false,
        netns: None,
        ready: true,
        owner: None,
        finished: false,
    })
}

fn is_of(pod: &Pod, account: &Place) -> bool {
    pod.key.namespace == account.key.namespace && pod.account == account.key.name
}

fn why_not(pod: &Pod) -> &'static str {
    match (pod.finished, pod.host_network) {
        (true, _) => "it has finished",
        (false, true) => "it is in the node's network",
        (false, false) => "its address is left out",
    }
}

/// The only item, if there is one only.
fn only<T: PartialEq>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.all(|item| item == first).then_some(first)
}
