//! Who a TrafficTarget speaks of: `destination` and each of `sources`.

use super::node::{Fault, Node, shorten};
use crate::model::{Key, Subject};

/// The group of `kind: IdentityBinding` (access v1alpha4).
const ACCESS: &str = "access.smi-spec.io";

/// Reads kind, name and namespace. The namespace is the object's own where none is written.
pub(super) fn read(node: &Node<'_>, own_namespace: &str) -> Result<Subject, Fault> {
    let kind = node.require("kind")?;
    let name = node.require("name")?.name()?;
    let namespace = match node.optional("namespace")? {
        Some(node) if node.text()?.is_empty() => own_namespace,
        Some(node) => node.label()?,
        None => own_namespace,
    };
    let key = Key::new(namespace, name);
    match kind.text()? {
        "ServiceAccount" => Ok(Subject::ServiceAccount(key)),
        "IdentityBinding" => match node.optional("group")? {
            Some(group) if group.text()? != ACCESS => Err(group
                .fault(format!("{} has no kind IdentityBinding", shorten(group.text()?)))
                .hint(format!("write group: {ACCESS}"))),
            _ => Ok(Subject::IdentityBinding(key)),
        },
        other => Err(kind
            .fault(format!("{} is no kind of subject", shorten(other)))
            .hint("ServiceAccount or IdentityBinding")),
    }
}
