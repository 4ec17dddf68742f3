//! TCPRoute and UDPRoute: no body (v1alpha1 to v1alpha3, all ports), or `spec.matches.ports` (v1alpha4).
//!
//! Bias: "all ports" is the answer to nothing being written, and to `ports: []`, as SMI says. It is never the answer to
//! something that can't be read: any field out of place and any bad port rejects the route, and who names it is
//! granted nothing.

use super::context::Context;
use super::node::{Fault, Node};
use crate::model::PortRoute;

pub(super) fn read(context: &mut Context<'_>) -> Result<PortRoute, Fault> {
    let root = context.root.clone();
    only(&root, &["apiVersion", "kind", "metadata", "spec", "status", "matches"])?;
    let under_spec = match root.get("spec")? {
        Some(spec) => {
            spec.entries()
                .map_err(|fault| fault.hint("write spec: {} for all ports"))?;
            only(&spec, &["matches"])?;
            spec.get("matches")?
        }
        None => None,
    };
    let matches = match (under_spec, root.get("matches")?) {
        (Some(_), Some(top)) => {
            return Err(top
                .fault("matches stand under spec and at top level")
                .hint("keep them under spec"));
        }
        (under_spec, at_top) => under_spec.or(at_top),
    };
    let mut route = PortRoute {
        key: context.key(),
        ports: Vec::new(),
    };
    match matches {
        Some(node) if node.is_list() => route.ports = listed(context, &node)?,
        Some(node) => route.ports = ports(&node)?.unwrap_or_default(),
        None => {}
    }
    route.ports.sort_unstable();
    route.ports.dedup();
    Ok(route)
}

fn only(node: &Node<'_>, known: &[&str]) -> Result<(), Fault> {
    match node.unknown_field(known) {
        Some(name) => {
            let fault = Fault {
                field: node.path_of(name),
                message: "is no field that this route has here".to_owned(),
                hint: None,
            };
            Err(fault.hint("ports are written as spec.matches.ports"))
        }
        None => Ok(()),
    }
}

fn ports(node: &Node<'_>) -> Result<Option<Vec<u16>>, Fault> {
    node.entries()?;
    only(node, &["name", "ports"])?;
    let Some(list) = node.get("ports")? else {
        return Ok(None);
    };
    list.list()?.iter().map(Node::port).collect::<Result<_, _>>().map(Some)
}

/// `matches` as a list, as HTTPRouteGroup has it. Each element has to name ports: only the object form may leave them out.
fn listed(context: &mut Context<'_>, node: &Node<'_>) -> Result<Vec<u16>, Fault> {
    context.warn(
        node.fault("is a list; its ports are taken together")
            .hint("matches of this kind is a mapping with ports"),
    );
    let mut all = Vec::new();
    for part in node.list()? {
        match ports(&part)? {
            Some(ports) if !ports.is_empty() => all.extend(ports),
            _ => {
                return Err(part
                    .missing("ports")
                    .hint("write matches as a mapping, without ports, for all ports"));
            }
        }
    }
    if all.is_empty() {
        return Err(node.fault("is an empty list").hint("leave matches out for all ports"));
    }
    Ok(all)
}
