//! Any served version and shape of every kind that Weir knows, turned into the types of [`crate::model`].
//!
//! Bias: strict where a field narrows access, lenient where it does not. What can't be read there is refused and never
//! read as "all"; what is broken elsewhere costs only itself. The shape is looked at as well as `apiVersion`, because
//! clusters store old shapes under new versions. Pure functions, no state; one file per kind in `convert/`.
//!
//! Kubernetes kinds are read as the API server would serve them, SMI kinds as SMI v0.6.0 and the merged
//! `IdentityBinding` text describe them.

mod context;
mod endpoint_slice;
mod http_route_group;
mod identity_binding;
mod names;
mod namespace;
mod node;
mod owner;
mod pod;
mod port_route;
mod quantity;
mod service;
mod subject;
mod traffic_split;
mod traffic_target;

use std::fmt;

use serde_json::Value;

use context::Context;
use node::{Fault, Node};

use crate::finding::Finding;
use crate::model::{Kind, Object, ObjectRef, ServiceAccount};

/// What became of a manifest that could be read.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Converted {
    /// An object of ours.
    Object {
        /// The object in its one form.
        object: Box<Object>,
        /// Parts of it that have no effect, and what is hardly meant as it is written.
        findings: Vec<Finding>,
    },
    /// A kind that is not ours.
    Ignored {
        /// Its `apiVersion`.
        api_version: String,
        /// Its `kind`.
        kind: String,
    },
}

/// Why a manifest was rejected. The object has no effect; all others do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
pub struct ConvertError {
    /// The object, as far as it is known: `None` where kind or group are none of ours, an empty name where that can't be read.
    pub object: Option<Box<ObjectRef>>,
    /// Path of the field, `spec.destination.port`; empty for the whole object.
    pub field: String,
    /// What is wrong, lower case, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ConvertError {
    fn new(object: Option<ObjectRef>, fault: Fault) -> ConvertError {
        let Fault { field, message, hint } = fault;
        ConvertError {
            object: object.map(Box::new),
            field,
            message,
            hint,
        }
    }

    /// The same as a finding, where the object has kind and name.
    pub fn finding(&self) -> Option<Finding> {
        let object = self.object.as_deref().filter(|object| !object.key.name.is_empty())?;
        let finding = Finding::error(object, &self.field, format!("{}; the object is rejected", self.message));
        Some(Finding {
            hint: self.hint.clone(),
            ..finding
        })
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) if object.key.name.is_empty() => write!(f, "{} without a name", object.kind)?,
            Some(object) => write!(f, "{object}")?,
            None => write!(f, "manifest")?,
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Converts one object.
///
/// # Errors
/// The object is of a kind of ours and can't be read, or it has no readable `apiVersion` and `kind` at all.
pub fn convert(value: &Value) -> Result<Converted, ConvertError> {
    let root = Node::root(value);
    let type_of = |name: &str| root.require(name).and_then(|node| node.text());
    match (type_of("apiVersion"), type_of("kind")) {
        (Ok(api_version), Ok(kind)) => convert_as(root.clone(), api_version, kind),
        (_, Err(fault)) | (Err(fault), _) => Err(ConvertError::new(
            None,
            fault.hint("every manifest begins with apiVersion and kind"),
        )),
    }
}

/// Converts one object, or each item of a list (`kind: List`, `kind: PodList`, …).
pub fn convert_all(value: &Value) -> Vec<Result<Converted, ConvertError>> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let items = value.get("items").and_then(Value::as_array);
    let (Some(api_version), Some(list), Some(items)) = (text(value, "apiVersion"), text(value, "kind"), items) else {
        return vec![convert(value)];
    };
    let Some(kind) = list.strip_suffix("List") else {
        return vec![convert(value)];
    };
    let convert_item = |item: &Value| match (text(item, "apiVersion"), text(item, "kind")) {
        // The items of a typed list need not repeat its type.
        (None, None) if !kind.is_empty() => vec![convert_as(Node::root(item), &api_version, kind)],
        _ => convert_all(item),
    };
    items.iter().flat_map(convert_item).collect()
}

/// The API groups of the kinds, and what versions of them are known.
fn known(group: &str, kind: &str) -> Option<(Kind, &'static [&'static str])> {
    // `v1beta1` was never released, but objects are labelled so; they have the shape of some alpha.
    const SPLIT: &[&str] = &["v1alpha1", "v1alpha2", "v1alpha3", "v1alpha4", "v1beta1"];
    Some(match (group, kind) {
        ("", "Namespace") => (Kind::Namespace, &["v1"]),
        ("", "ServiceAccount") => (Kind::ServiceAccount, &["v1"]),
        ("", "Pod") => (Kind::Pod, &["v1"]),
        ("", "Service") => (Kind::Service, &["v1"]),
        ("discovery.k8s.io", "EndpointSlice") => (Kind::EndpointSlice, &["v1", "v1beta1"]),
        ("apps", "ReplicaSet") => (Kind::ReplicaSet, &["v1", "v1beta2"]),
        ("batch", "Job") => (Kind::Job, &["v1"]),
        ("access.smi-spec.io", "TrafficTarget") => (Kind::TrafficTarget, SPLIT),
        ("access.smi-spec.io", "IdentityBinding") => (Kind::IdentityBinding, SPLIT),
        ("specs.smi-spec.io", "HTTPRouteGroup") => (Kind::HTTPRouteGroup, SPLIT),
        ("specs.smi-spec.io", "TCPRoute") => (Kind::TCPRoute, SPLIT),
        ("specs.smi-spec.io", "UDPRoute") => (Kind::UDPRoute, SPLIT),
        ("split.smi-spec.io", "TrafficSplit") => (Kind::TrafficSplit, SPLIT),
        _ => return None,
    })
}

fn convert_as(root: Node<'_>, api_version: &str, kind: &str) -> Result<Converted, ConvertError> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let Some((kind, versions)) = known(group, kind) else {
        return unknown(group, api_version, kind);
    };
    let mut context = Context::open(root, version, kind)?;
    if !versions.contains(&version) {
        let field = Fault {
            field: "apiVersion".to_owned(),
            message: format!("{kind} has no version {version:?} that is known"),
            hint: None,
        };
        return Err(ConvertError::new(
            Some(context.object),
            field.hint(format!("known are {}", versions.join(", "))),
        ));
    }
    let read = match kind {
        Kind::Namespace => Ok(Object::Namespace(namespace::read(&mut context))),
        Kind::ServiceAccount => Ok(Object::ServiceAccount(ServiceAccount { key: context.key() })),
        Kind::Pod => pod::read(&mut context).map(Object::Pod),
        Kind::Service => service::read(&mut context).map(Object::Service),
        Kind::EndpointSlice => endpoint_slice::read(&mut context).map(Object::EndpointSlice),
        Kind::ReplicaSet => Ok(Object::ReplicaSet(owner::read(&mut context))),
        Kind::Job => Ok(Object::Job(owner::read(&mut context))),
        Kind::TrafficTarget => traffic_target::read(&mut context).map(Object::TrafficTarget),
        Kind::IdentityBinding => identity_binding::read(&mut context).map(Object::IdentityBinding),
        Kind::HTTPRouteGroup => http_route_group::read(&mut context).map(Object::HttpRouteGroup),
        Kind::TCPRoute => port_route::read(&mut context).map(Object::TcpRoute),
        Kind::UDPRoute => port_route::read(&mut context).map(Object::UdpRoute),
        Kind::TrafficSplit => traffic_split::read(&mut context).map(Object::TrafficSplit),
    };
    match read {
        Ok(object) => Ok(Converted::Object {
            object: Box::new(object),
            findings: context.findings,
        }),
        Err(fault) => Err(ConvertError::new(Some(context.object), fault)),
    }
}

/// A kind that is not ours, unless its group is SMI's: then it is one of ours, misspelt.
fn unknown(group: &str, api_version: &str, kind: &str) -> Result<Converted, ConvertError> {
    const GROUPS: [&str; 3] = ["access.smi-spec.io", "specs.smi-spec.io", "split.smi-spec.io"];
    if !GROUPS.contains(&group) {
        return Ok(Converted::Ignored {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
        });
    }
    let fault = Fault {
        field: "kind".to_owned(),
        message: format!("{group} has no kind {}", node::shorten(kind)),
        hint: None,
    };
    let home = GROUPS.into_iter().find(|other| known(other, kind).is_some());
    let fault = match home {
        Some(home) => fault.hint(format!("{kind} belongs to {home}")),
        None => {
            fault.hint("kinds are TrafficTarget, IdentityBinding, HTTPRouteGroup, TCPRoute, UDPRoute and TrafficSplit")
        }
    };
    Err(ConvertError::new(None, fault))
}
