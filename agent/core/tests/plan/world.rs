//! Objects from YAML, compiled as on a running node, and the questions of golden folders to the plan.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;
use weir_abi::{ANY_PORT, Addr, IPPROTO_TCP, IPPROTO_UDP, SERVICE_L7, ServiceKey, SlotKey};
use weir_core::compile::compile;
use weir_core::convert::{Converted, convert_all};
use weir_core::identity::Identity;
use weir_core::index::{Change, Index};
use weir_core::matcher::Probe;
use weir_core::model::Object;
use weir_core::path::canonicalise;
use weir_core::plan::{Plan, Settings};
use weir_core::policy;
use weir_core::snapshot::PodInfo;

use crate::kernel::{self, Tuple};

/// The node's own address, from which the kubelet probes.
pub const NODE_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1));

/// A plan, and what its objects' converters said.
pub struct World {
    pub plan: Plan,
    converter: Vec<String>,
}

pub fn settings(node: &str) -> Settings {
    Settings {
        node: node.to_owned(),
        outbound_port: 15001,
        inbound_port: 15006,
        errno: 111,
        node_addresses: [NODE_ADDRESS].into(),
    }
}

/// The objects of a YAML text, and what is wrong with them.
pub fn objects(yaml: &str) -> (Vec<Object>, Vec<String>) {
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(yaml, options).expect("YAML");
    let (mut objects, mut wrong) = (Vec::new(), Vec::new());
    for converted in documents.iter().flat_map(convert_all) {
        match converted {
            Ok(Converted::Object { object, findings }) => {
                objects.push(*object);
                wrong.extend(findings.iter().map(ToString::to_string));
            }
            Ok(Converted::Ignored { .. }) => {}
            Err(error) => wrong.push(error.to_string()),
        }
    }
    (objects, wrong)
}

/// An index of these objects in which the agent has entered every pod.
pub fn index(objects: impl IntoIterator<Item = Object>) -> Index {
    let mut index = Index::new();
    for object in objects {
        index.apply(Change::Upsert(object));
    }
    let pods: Vec<_> = index.pods().map(|pod| pod.key.clone()).collect();
    for (cookie, pod) in (1..).zip(pods) {
        index.apply(Change::Attach { pod, cookie });
    }
    index
}

impl World {
    pub fn new(yaml: &str, node: &str) -> World {
        let (objects, converter) = objects(yaml);
        let plan = compile(&index(objects), &settings(node), 1);
        World { plan, converter }
    }

    pub fn findings(&self) -> Vec<String> {
        let plan = self.plan.findings.iter().map(ToString::to_string);
        self.converter.iter().cloned().chain(plan).collect()
    }

    fn pod(&self, name: &str) -> Option<&Arc<PodInfo>> {
        let snapshot = &self.plan.snapshot;
        // One that shares its address may stand under its cookie only.
        let mut pods = snapshot.peers.values().chain(snapshot.local.values());
        pods.find(|pod| pod.pod.to_string() == name)
    }

    /// The kernel's verdict on `SOURCE -> POD:PORT`, checked against the snapshot's.
    pub fn connection(&self, question: &str) -> String {
        self.judged(question, IPPROTO_TCP)
    }

    /// The same over UDP; what is refused, with what is missing.
    pub fn datagram(&self, question: &str) -> String {
        let verdict = self.judged(question, IPPROTO_UDP);
        let (source, destination, port) = ends(question);
        let identity = self.pod(source).map_or(Identity::UNKNOWN, |pod| pod.identity);
        let server = self.pod(destination).expect("asked above");
        match self.plan.snapshot.authorize_udp(identity, server.identity, port) {
            Err(missing) if verdict == "deny" => format!("deny: {missing}"),
            Ok(grant) if verdict == "allow" => format!("allow by {}", grant.target),
            _ => verdict,
        }
    }

    fn judged(&self, question: &str, proto: u32) -> String {
        let (source, destination, port) = ends(question);
        let server = self.pod(destination).unwrap_or_else(|| panic!("no pod {destination}"));
        let client = self.pod(source);
        let family = |ips: &[IpAddr]| ips.iter().copied().find(|ip| ip.is_ipv4() == server.ips[0].is_ipv4());
        let tuple = Tuple {
            client: client.and_then(|pod| pod.cookie).unwrap_or(0),
            from: match client {
                Some(pod) => family(&pod.ips).expect("an address of the server's family"),
                None => source
                    .parse()
                    .unwrap_or_else(|_| panic!("{source} is neither pod nor address")),
            },
            server: server.cookie.unwrap_or(0),
            to: server.ips[0],
            port,
            proto,
        };
        if !server.mode.takes_part() {
            return "unjudged".to_owned();
        }
        let verdict = kernel::verdict(&self.plan.kernel, &tuple);
        let snapshot = &self.plan.snapshot;
        if kernel::is_probe(&self.plan.kernel, &tuple) {
            assert!(snapshot.is_probe(tuple.from, server, port), "{question}");
            return "probe".to_owned();
        }
        assert!(!snapshot.is_probe(tuple.from, server, port), "{question}");
        let identity = client.map_or(Identity::UNKNOWN, |pod| pod.identity);
        let by_rules = match proto {
            IPPROTO_UDP => snapshot.udp_verdict(identity, server.identity, port),
            _ => snapshot.verdict(identity, server.identity, port),
        };
        let of_snapshot = match proto {
            IPPROTO_UDP => snapshot.udp_verdict_at(identity, server, port),
            _ => snapshot.verdict_at(identity, server, port),
        };
        assert_eq!(verdict, of_snapshot, "{question}");
        let by_rules = format!("{by_rules:?}").to_lowercase();
        match server.mode.is_lenient() {
            false => by_rules,
            true if proto == IPPROTO_UDP => format!("{}: {by_rules}", server.mode.as_str()),
            true => {
                let unseen = kernel::goes_unseen(&self.plan.kernel, &tuple);
                let way = if unseen { "straight" } else { "engine" };
                format!("{}, {way}: {by_rules}", server.mode.as_str())
            }
        }
    }

    /// What allows `SOURCE -> POD:PORT METHOD PATH [-H NAME: VALUE]…`, or what is missing.
    pub fn request(&self, question: &str) -> String {
        let (connection, request) = question.split_at(question.find(" /").expect("a path"));
        let (connection, method) = connection.rsplit_once(' ').expect("a method");
        let probe = probe(&format!("{method}{request}"));
        let (source, destination, port) = ends(connection);
        let identity = self.pod(source).map_or(Identity::UNKNOWN, |pod| pod.identity);
        let server = self.pod(destination).unwrap_or_else(|| panic!("no pod {destination}"));
        match self
            .plan
            .snapshot
            .authorize_http(identity, server.identity, port, &probe)
        {
            Ok(allowed) => match allowed.route {
                Some((group, name)) => format!("allowed by {} {group}/{name}", allowed.target),
                None => format!("allowed by {}", allowed.target),
            },
            Err(missing) => format!("refused: {missing}"),
        }
    }

    /// Where `[udp ]ADDRESS:PORT [METHOD PATH [-H …]]` goes.
    pub fn service(&self, question: &str) -> String {
        let (question, proto) = protocol(question);
        let (address, request) = question.split_once(' ').unwrap_or((question, ""));
        let address: SocketAddr = address.parse().expect("an address and a port");
        let roots = match proto {
            IPPROTO_UDP => &self.plan.snapshot.udp_roots,
            _ => &self.plan.snapshot.roots,
        };
        let Some(root) = roots.get(&address) else {
            return "no Service".to_owned();
        };
        let probe = (!request.is_empty()).then(|| probe(request));
        let routing = policy::route(root, probe.as_ref());
        let entry = self.plan.kernel.services[&key(address, proto)];
        assert_eq!(entry.flags & SERVICE_L7 != 0, root.engine_picks(), "{question}");
        let shares = routing.shares.iter().map(|share| {
            let endpoints: Vec<String> = share.endpoints.iter().map(ToString::to_string).collect();
            format!("{} {:.4}% at {}", share.backend, share.percent, endpoints.join(" "))
        });
        let shares = shares.collect::<Vec<_>>().join(", ");
        let by = if root.engine_picks() { "engine" } else { "kernel" };
        let split = routing.split.as_deref().unwrap_or("no split");
        format!("{by}, {split}: {}", if shares.is_empty() { "nobody" } else { &shares })
    }

    /// What a pod is one of.
    pub fn workload(&self, pod: &str) -> String {
        let snapshot = &self.plan.snapshot;
        let found = snapshot.peers.values().find(|info| info.pod.to_string() == pod);
        let workload = &found.expect("a pod with an address").workload;
        assert_eq!(snapshot.workloads.get(&workload.id), Some(workload));
        workload.to_string()
    }

    /// What the kernel's alias table gives to each endpoint.
    pub fn slots(&self, question: &str) -> String {
        let (address, proto) = protocol(question);
        let entry = self.plan.kernel.services[&key(address.parse().expect("an address and a port"), proto)];
        let mut shares: BTreeMap<SocketAddr, f64> = BTreeMap::new();
        for slot in 0..entry.slots {
            let slot = self.plan.kernel.slots[&SlotKey {
                block: entry.block,
                slot,
                reserved: 0,
            }];
            let own = if slot.threshold == u32::MAX {
                1.0
            } else {
                f64::from(slot.threshold) / 2f64.powi(32)
            };
            let endpoint = |addr: Addr, port: u32| SocketAddr::new(addr.to_ip(), u16::try_from(port).expect("a port"));
            *shares.entry(endpoint(slot.addr, slot.port)).or_default() += own / f64::from(entry.slots);
            *shares.entry(endpoint(slot.alias_addr, slot.alias_port)).or_default() +=
                (1.0 - own) / f64::from(entry.slots);
        }
        let shares = shares
            .iter()
            .map(|(endpoint, share)| format!("{endpoint} {:.4}%", share * 100.0));
        shares.collect::<Vec<_>>().join(", ")
    }

    /// `POLICY`, with names for the numbers.
    pub fn policy(&self) -> Vec<String> {
        let name = |number: u64| match Identity(number) {
            Identity::ANY => "anybody".to_owned(),
            identity => self.plan.snapshot.identities[&identity].to_string(),
        };
        let entries = self.plan.kernel.policy.iter().map(|(key, verdict)| {
            let port = if key.port == ANY_PORT {
                "any".to_owned()
            } else {
                key.port.to_string()
            };
            let verdict = ["", "deny", "allow", "l7"][*verdict as usize];
            let udp = if key.proto == IPPROTO_UDP { "/udp" } else { "" };
            format!("{} -> {} {port}{udp} {verdict}", name(key.src), name(key.dst))
        });
        let mut entries: Vec<String> = entries.collect();
        entries.sort();
        entries
    }
}

/// A question without the word for its protocol.
fn protocol(question: &str) -> (&str, u32) {
    match question.strip_prefix("udp ") {
        Some(rest) => (rest, IPPROTO_UDP),
        None => (question, IPPROTO_TCP),
    }
}

fn key(address: SocketAddr, proto: u32) -> ServiceKey {
    ServiceKey {
        addr: Addr::from_ip(address.ip()),
        port: address.port().into(),
        proto,
    }
}

fn ends(question: &str) -> (&str, &str, u16) {
    let (source, destination) = question.split_once(" -> ").expect("SOURCE -> POD:PORT");
    let (destination, port) = destination.rsplit_once(':').expect("a port");
    (source, destination, port.parse().expect("a number"))
}

fn probe(text: &str) -> Probe {
    let mut parts = text.split(" -H ");
    let (method, path) = parts.next().and_then(|line| line.split_once(' ')).expect("METHOD PATH");
    let headers = parts.map(|header| header.split_once(": ").expect("NAME: VALUE"));
    let (host, headers): (Vec<_>, Vec<_>) = headers.partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    Probe {
        method: method.to_owned(),
        path: canonicalise(path.as_bytes()).expect("a path").to_vec(),
        authority: host.first().map(|(_, host)| (*host).to_owned()),
        headers: headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}
