//! SMI objects in one form, whatever version and shape they came in.

use std::collections::BTreeMap;

use super::Key;

/// Who a TrafficTarget speaks of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum Subject {
    /// `kind: ServiceAccount`.
    ServiceAccount(Key),
    /// `kind: IdentityBinding` (access v1alpha4).
    IdentityBinding(Key),
}

/// access.smi-spec.io TrafficTarget: sources may reach the destination by the rules.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TrafficTarget {
    /// Namespace and name.
    pub key: Key,
    /// Who is called. `None` grants nothing.
    pub destination: Option<Subject>,
    /// `destination.port` of v1alpha1 and v1alpha2: narrows every rule to this pod port.
    pub port: Option<TargetPortRef>,
    /// What is allowed. Empty grants nothing.
    pub rules: Vec<TargetRule>,
    /// Who may call. Empty grants nothing.
    pub sources: Vec<Subject>,
}

/// `destination.port`: a number, or the name of a container's port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub enum TargetPortRef {
    /// A number, given as number or as string.
    Number(u16),
    /// The name of a container's port, which each destination pod resolves by itself.
    Name(String),
}

/// One of `spec.rules` (v1alpha1: `specs`).
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TargetRule {
    /// What kind of route.
    pub kind: RuleKind,
    /// Name of the route object, in the target's namespace. Empty where the rule could not be read: it names no route, and
    /// grants nothing.
    pub name: String,
    /// Names of matches of an HTTPRouteGroup. `None`: all of them. `Some` of an empty list is the same as absent.
    pub matches: Option<Vec<String>>,
}

/// Kind of a rule's route.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[allow(missing_docs, reason = "the names are SMI's own")]
pub enum RuleKind {
    HttpRouteGroup,
    TcpRoute,
    UdpRoute,
    /// None that is known: the rule grants nothing, with a warning.
    Unknown(String),
}

/// access.smi-spec.io IdentityBinding v1alpha4: pods of its own namespace, by label or by account, OR'd.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct IdentityBinding {
    /// Namespace and name.
    pub key: Key,
    /// How pods are bound. Any of them binds.
    pub schemes: Vec<BindingScheme>,
}

/// One way to bind a pod.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub enum BindingScheme {
    /// `podLabelSelector.matchLabels`: all of them must be there. An empty map binds nothing.
    PodLabels(BTreeMap<String, String>),
    /// `serviceAccount`, of the binding's own namespace.
    ServiceAccount(String),
    /// `spiffeIdentities`, without `spiffe://`: binds `…/ns/NAMESPACE/sa/ACCOUNT` of the binding's own namespace, in any trust domain.
    Spiffe(String),
}

/// specs.smi-spec.io HTTPRouteGroup.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct HttpRouteGroup {
    /// Namespace and name.
    pub key: Key,
    /// Its matches, OR'd.
    pub matches: Vec<HttpMatch>,
}

/// One match of a group: path, method and headers, AND'd.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct HttpMatch {
    /// Name, by which TrafficTargets choose it.
    pub name: String,
    /// `pathRegex`, anchored at the start only. `None`: any path.
    pub path_regex: Option<String>,
    /// `methods`; empty or with `*`: any.
    pub methods: Vec<String>,
    /// Header name (as written) and regular expression, from the list and from the map form.
    pub headers: Vec<(String, String)>,
}

/// specs.smi-spec.io TCPRoute or UDPRoute.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PortRoute {
    /// Namespace and name.
    pub key: Key,
    /// Pod ports. Empty: all of them.
    pub ports: Vec<u16>,
}

/// split.smi-spec.io TrafficSplit.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct TrafficSplit {
    /// Namespace and name.
    pub key: Key,
    /// Root Service as written: `name`, `name.namespace`, `name.namespace.svc…`.
    pub service: String,
    /// Backends in the order they are written.
    pub backends: Vec<SplitBackend>,
    /// HTTPRouteGroups of the same namespace; requests that match any of them follow the backends. Empty: all requests.
    pub matches: Vec<RouteRef>,
    /// `metadata.creationTimestamp` in RFC 3339, empty where the source has none (sorted by name then).
    pub created: String,
}

/// A backend of a split.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SplitBackend {
    /// Service of the split's namespace.
    pub service: String,
    /// Weight in thousandths, so that v1alpha1's `500m` and `1` are 500 and 1000.
    pub weight_millis: u64,
}

/// `matches[]` of a split.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct RouteRef {
    /// `kind`, which has to be HTTPRouteGroup.
    pub kind: RuleKind,
    /// Name.
    pub name: String,
}
