//! The engine's half of a plan: immutable, shared by `Arc`, swapped as a whole.
//!
//! Bias: lookups by address and identity are hash maps built once; nothing here is changed after `compile`. The
//! kernel's half ([`crate::plan::KernelTable`]) is derived from the same [`PairAccess`] values, so that the two can't disagree.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::identity::{Identity, IdentityInfo};
use crate::matcher::RouteSet;
use crate::model::{Key, Mode};
use crate::workload::{Workload, WorkloadId};

/// Everything that the engine decides by.
#[derive(Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Counts plans; the engine judges open connections again when it changes.
    pub generation: u64,
    /// Identities in use.
    pub identities: BTreeMap<Identity, Arc<IdentityInfo>>,
    /// All known pods by address.
    pub peers: HashMap<IpAddr, Arc<PodInfo>>,
    /// Enrolled pods of this node, by network-namespace cookie.
    pub local: BTreeMap<u64, Arc<PodInfo>>,
    /// Services by ClusterIP and port (TCP).
    pub roots: HashMap<SocketAddr, Arc<Root>>,
    /// Services by ClusterIP and port (UDP). The kernel alone picks there.
    pub udp_roots: HashMap<SocketAddr, Arc<Root>>,
    /// Workloads of all known pods.
    pub workloads: BTreeMap<WorkloadId, Arc<Workload>>,
    /// The node's own addresses, from which the kubelet probes.
    pub node: HashSet<IpAddr>,
    /// What a client identity may do at a server identity. No entry: nothing.
    pub access: HashMap<(Identity, Identity), Arc<PairAccess>>,
}

/// A pod, as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodInfo {
    /// Namespace and name.
    pub pod: Key,
    /// Its identity.
    pub identity: Identity,
    /// What the identity stands for.
    pub info: Arc<IdentityInfo>,
    /// What it is one of, for figures and logs.
    pub workload: Arc<Workload>,
    /// What becomes of who connects to it without a grant: the mode of its namespace.
    pub mode: Mode,
    /// Network-namespace cookie when it is an enrolled pod of this node.
    pub cookie: Option<u64>,
    /// Its addresses, in the order of `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// Protocols declared for its ports, by Services that lead there (`appProtocol`, then port name). Absent: unknown.
    pub protocols: BTreeMap<u16, PortProtocol>,
    /// TCP ports that the kubelet connects to, sorted.
    pub probe_ports: Vec<u16>,
}

impl PodInfo {
    /// A client that nobody knows, as it stands before a lenient server. Nothing is ever granted to it.
    pub fn unknown(ip: IpAddr) -> PodInfo {
        PodInfo {
            pod: Key::default(),
            identity: Identity::UNKNOWN,
            info: Arc::new(IdentityInfo {
                namespace: String::new(),
                account: String::new(),
                bindings: vec![],
                named_ports: BTreeMap::new(),
            }),
            workload: Arc::new(Workload::new("unknown", "unknown", "unknown")),
            mode: Mode::Off,
            cookie: None,
            ips: vec![ip],
            protocols: BTreeMap::new(),
            probe_ports: vec![],
        }
    }

    /// Whether it stands for somebody whom nobody knows.
    pub fn is_unknown(&self) -> bool {
        self.pod.name.is_empty()
    }
}

/// What a Service declares about a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// Not declared: the first bytes tell.
    Detect,
    /// HTTP/1.1 (`http…`).
    Http,
    /// HTTP/2 in the clear, gRPC (`http2…`, `h2c…`, `grpc…`).
    Http2,
    /// Bytes (`tcp…`, `tls…`, `https…`), and every UDP port.
    Tcp,
}

/// A Service port that clients connect to, and where that leads.
#[derive(Debug, PartialEq)]
pub struct Root {
    /// The Service.
    pub service: Key,
    /// Its port.
    pub port: u16,
    /// What it declares.
    pub protocol: PortProtocol,
    /// Tried in order; the first whose matches hold takes the request. The last one has no matches and takes what is left.
    pub routes: Vec<SplitRoute>,
}

impl Root {
    /// Whether the engine picks the endpoint: a split is in force, and its requests are HTTP or may be. Otherwise the
    /// kernel picks one when the client connects.
    pub fn engine_picks(&self) -> bool {
        let split = self.routes.iter().any(|route| route.split.is_some());
        let by_request = self.routes.iter().any(|route| route.matches.is_some());
        by_request || split && self.protocol != PortProtocol::Tcp
    }
}

/// One way for requests to a root.
#[derive(Debug, PartialEq)]
pub struct SplitRoute {
    /// The TrafficSplit; `None` for the Service's own endpoints.
    pub split: Option<Key>,
    /// Requests that take it; `None`: all.
    pub matches: Option<Arc<HttpRoutes>>,
    /// Where to, with weight and at least one endpoint each. Empty: 503, for TCP a reset.
    pub backends: Vec<Backend>,
}

/// A Service that a split (or the root itself) leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The Service.
    pub service: Key,
    /// Its share, more than 0; only the ratio to the other backends counts.
    pub weight: u64,
    /// Ready endpoints: pod address and pod port. Never empty.
    pub endpoints: Vec<SocketAddr>,
}

/// What one identity may do at another: the union of its grants.
#[derive(Debug, Default, PartialEq)]
pub struct PairAccess {
    /// TCP, in the order of their TrafficTargets' names.
    pub grants: Vec<Grant>,
    /// UDP, in the order of their TrafficTargets' names.
    pub udp: Vec<UdpGrant>,
}

/// What the UDPRoutes of one TrafficTarget grant to a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpGrant {
    /// The TrafficTarget.
    pub target: Key,
    /// Pod ports it holds for.
    pub ports: Ports,
}

/// What one TrafficTarget grants to a pair, over TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// The TrafficTarget.
    pub target: Key,
    /// Pod ports it holds for.
    pub ports: Ports,
    /// `None`: any bytes (TCPRoute alone). `Some`: HTTP requests that match (HTTPRouteGroup, with or without TCPRoute).
    pub http: Option<Arc<HttpRoutes>>,
}

/// HTTP matches of one TrafficTarget or TrafficSplit, compiled together. At least one of them can match.
#[derive(Debug)]
pub struct HttpRoutes {
    /// The matches; indices are those of `names`.
    pub routes: RouteSet,
    /// HTTPRouteGroup and match name of each.
    pub names: Vec<(Arc<str>, Arc<str>)>,
}

impl PartialEq for HttpRoutes {
    fn eq(&self, other: &HttpRoutes) -> bool {
        self.names == other.names && self.routes.specs().eq(other.routes.specs())
    }
}

/// A set of pod ports.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ports {
    /// All of them.
    All,
    /// These, sorted. Empty: none.
    Only(Vec<u16>),
}

impl Ports {
    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        match self {
            Ports::All => true,
            Ports::Only(ports) => ports.binary_search(&port).is_ok(),
        }
    }
}
