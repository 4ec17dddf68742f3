//! The one internal form of every object that Weir understands.
//!
//! Converters (`convert`) turn any served version and shape into these types; nothing behind them knows versions.
//! The types hold what the index and the compiler need and no more. Plain data, no behaviour that could fail;
//! owned by the [`Index`](crate::index::Index) once applied.

mod cluster;
mod smi;

use std::fmt;

pub use cluster::{
    ContainerPort, Endpoint, EndpointPort, EndpointSlice, Mode, Namespace, Owned, Owner, Pod, Service, ServiceAccount,
    ServicePort, TargetPort, Transport,
};
pub use smi::{
    BindingScheme, HttpMatch, HttpRouteGroup, IdentityBinding, PortRoute, RouteRef, RuleKind, SplitBackend, Subject,
    TargetPortRef, TargetRule, TrafficSplit, TrafficTarget,
};

/// Kind of an object, as its manifest spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[allow(missing_docs, reason = "the names are Kubernetes' and SMI's own")]
pub enum Kind {
    Namespace,
    ServiceAccount,
    Pod,
    Service,
    EndpointSlice,
    ReplicaSet,
    Job,
    TrafficTarget,
    IdentityBinding,
    HTTPRouteGroup,
    TCPRoute,
    UDPRoute,
    TrafficSplit,
}

impl Kind {
    /// The kind as manifests spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Namespace => "Namespace",
            Kind::ServiceAccount => "ServiceAccount",
            Kind::Pod => "Pod",
            Kind::Service => "Service",
            Kind::EndpointSlice => "EndpointSlice",
            Kind::ReplicaSet => "ReplicaSet",
            Kind::Job => "Job",
            Kind::TrafficTarget => "TrafficTarget",
            Kind::IdentityBinding => "IdentityBinding",
            Kind::HTTPRouteGroup => "HTTPRouteGroup",
            Kind::TCPRoute => "TCPRoute",
            Kind::UDPRoute => "UDPRoute",
            Kind::TrafficSplit => "TrafficSplit",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Namespace and name. A namespace's own key has an empty `namespace`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct Key {
    /// Namespace, empty for what has none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl Key {
    /// From namespace and name.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Names one object: `TrafficTarget shop/checkout`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct ObjectRef {
    /// What it is.
    pub kind: Kind,
    /// Its namespace and name.
    #[serde(flatten)]
    pub key: Key,
}

impl ObjectRef {
    /// From kind, namespace and name.
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> ObjectRef {
        ObjectRef {
            kind,
            key: Key::new(namespace, name),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.key)
    }
}

/// Any object, converted.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[allow(missing_docs, reason = "the names are Kubernetes' and SMI's own")]
pub enum Object {
    Namespace(Namespace),
    ServiceAccount(ServiceAccount),
    Pod(Pod),
    Service(Service),
    EndpointSlice(EndpointSlice),
    ReplicaSet(Owned),
    Job(Owned),
    TrafficTarget(TrafficTarget),
    IdentityBinding(IdentityBinding),
    HttpRouteGroup(HttpRouteGroup),
    TcpRoute(PortRoute),
    UdpRoute(PortRoute),
    TrafficSplit(TrafficSplit),
}

impl Object {
    /// Kind, namespace and name.
    pub fn object_ref(&self) -> ObjectRef {
        let (kind, key) = match self {
            Object::Namespace(o) => (Kind::Namespace, Key::new("", &o.name)),
            Object::ServiceAccount(o) => (Kind::ServiceAccount, o.key.clone()),
            Object::Pod(o) => (Kind::Pod, o.key.clone()),
            Object::Service(o) => (Kind::Service, o.key.clone()),
            Object::EndpointSlice(o) => (Kind::EndpointSlice, o.key.clone()),
            Object::ReplicaSet(o) => (Kind::ReplicaSet, o.key.clone()),
            Object::Job(o) => (Kind::Job, o.key.clone()),
            Object::TrafficTarget(o) => (Kind::TrafficTarget, o.key.clone()),
            Object::IdentityBinding(o) => (Kind::IdentityBinding, o.key.clone()),
            Object::HttpRouteGroup(o) => (Kind::HTTPRouteGroup, o.key.clone()),
            Object::TcpRoute(o) => (Kind::TCPRoute, o.key.clone()),
            Object::UdpRoute(o) => (Kind::UDPRoute, o.key.clone()),
            Object::TrafficSplit(o) => (Kind::TrafficSplit, o.key.clone()),
        };
        ObjectRef { kind, key }
    }
}
