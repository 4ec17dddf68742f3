//! Kubernetes' own objects, as far as policy needs them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Key;

/// What the label `weir.dev/mode` of a namespace asks for. It holds for connections *to* its pods. In order: a later
/// one lets less pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Not labelled: pods are left alone.
    #[default]
    Off,
    /// No access control: everything passes, nothing is reported. Splits and metrics work.
    Permissive,
    /// Everything passes; what no rule allows is reported.
    Audit,
    /// Default deny. Also the answer to a value that is not known.
    Enforce,
}

impl Mode {
    /// Its pods are captured, and who connects to them is judged.
    pub fn takes_part(self) -> bool {
        self != Mode::Off
    }

    /// What no rule allows passes all the same.
    pub fn is_lenient(self) -> bool {
        matches!(self, Mode::Permissive | Mode::Audit)
    }

    /// The mode as the label has it; empty for [`Mode::Off`].
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Off => "",
            Mode::Permissive => "permissive",
            Mode::Audit => "audit",
            Mode::Enforce => "enforce",
        }
    }
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Namespace {
    /// Name.
    pub name: String,
    /// Whether its pods take part.
    pub mode: Mode,
    /// The value of `weir.dev/mode` where it is none that is known; [`Namespace::mode`] is then `Enforce`.
    pub unknown_mode: Option<String>,
}

/// A service account: an identity that exists. Pods and targets may name one that does not.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ServiceAccount {
    /// Namespace and name.
    pub key: Key,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Pod {
    /// Namespace and name.
    pub key: Key,
    /// `metadata.uid`, empty where the source has none.
    pub uid: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.nodeName`, empty while not scheduled.
    pub node: String,
    /// `spec.serviceAccountName`, `default` where absent. Empty where it could not be read: nothing can name it.
    pub account: String,
    /// `status.podIPs` (or `podIP`), in order, without repeats.
    pub ips: Vec<IpAddr>,
    /// `spec.containers[].ports`.
    pub ports: Vec<ContainerPort>,
    /// TCP ports that the kubelet connects to: of probes and lifecycle hooks, names resolved. Sorted, without repeats.
    pub probe_ports: Vec<u16>,
    /// `spec.hostNetwork`: the pod has the node's addresses and namespace; it is never captured and has no identity by address.
    pub host_network: bool,
    /// Annotation `weir.dev/netns`: path of the pod's network namespace.
    pub netns: Option<String>,
    /// Condition `Ready`, true where there are no conditions.
    pub ready: bool,
    /// `metadata.ownerReferences`: the controller that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    /// `status.phase` is `Succeeded` or `Failed`, or the pod is gone: it has no addresses any more.
    pub finished: bool,
}

/// A controller, as an object that it made names it; in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Owner {
    /// Kind, letters and digits.
    pub kind: String,
    /// Name.
    pub name: String,
}

/// A ReplicaSet (apps/v1) or a Job (batch/v1): only who made it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Owned {
    /// Namespace and name.
    pub key: Key,
    /// Its controller.
    pub owner: Option<Owner>,
}

/// A declared port of a container.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ContainerPort {
    /// Name, where it has one.
    pub name: Option<String>,
    /// Number.
    pub port: u16,
    /// Protocol.
    pub transport: Transport,
}

/// `protocol` of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Transport {
    Tcp,
    Udp,
    Sctp,
}

impl Transport {
    /// As manifests write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::Tcp => "TCP",
            Transport::Udp => "UDP",
            Transport::Sctp => "SCTP",
        }
    }
}

/// A Service.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    /// `spec.clusterIPs` (or `clusterIP`); empty for a headless Service.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.selector`; `None` where endpoints are only given by EndpointSlices.
    pub selector: Option<BTreeMap<String, String>>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct ServicePort {
    /// Name, empty for the only port of a Service.
    pub name: String,
    /// Number.
    pub port: u16,
    /// Where it leads.
    pub target_port: TargetPort,
    /// Protocol.
    pub transport: Transport,
    /// `appProtocol`.
    pub app_protocol: Option<String>,
}

/// `targetPort`: a number, or the name of a container's port, which each pod resolves by itself.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum TargetPort {
    /// A number; a Service port without `targetPort` has its own.
    Number(u16),
    /// A name.
    Name(String),
}

/// An EndpointSlice (discovery.k8s.io/v1).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EndpointSlice {
    /// Namespace and name.
    pub key: Key,
    /// Label `kubernetes.io/service-name`.
    pub service: String,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
    /// Ports, valid for each endpoint.
    pub ports: Vec<EndpointPort>,
}

/// One endpoint of a slice.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Endpoint {
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// Condition `ready`, true where absent.
    pub ready: bool,
}

/// One port of a slice.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EndpointPort {
    /// The Service port's name.
    pub name: String,
    /// The port of the endpoint.
    pub port: u16,
    /// Protocol.
    pub transport: Transport,
}
