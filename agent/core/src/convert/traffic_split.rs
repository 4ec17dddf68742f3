//! TrafficSplit: root, backends with weights, and from v1alpha3 on `matches`.
//!
//! v1alpha1 has quantities for weights, later versions whole numbers; both forms are read under any version. Bias: a
//! share depends on all weights together, so one that can't be read rejects the split, and traffic goes to the root
//! as if there were none.

use super::context::Context;
use super::node::{Fault, Node, shorten};
use super::quantity;
use super::traffic_target::rule_kind;
use crate::model::{RouteRef, SplitBackend, TrafficSplit};

pub(super) fn read(context: &mut Context<'_>) -> Result<TrafficSplit, Fault> {
    let spec = context.root.require("spec")?;
    if let Some(name) = spec.unknown_field(&["service", "backends", "matches"]) {
        let fault = Fault {
            field: spec.path_of(name),
            message: "is no field of a TrafficSplit".to_owned(),
            hint: None,
        };
        return Err(fault.hint("the fields are service, backends and matches"));
    }
    let service = spec.require("service")?.name()?.to_owned();
    let mut backends = Vec::new();
    for node in spec.require("backends")?.list()? {
        backends.push(backend(&node)?);
    }
    let matches = match spec.get("matches")? {
        Some(list) => list.list()?.iter().map(route_ref).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let created = context.metadata_text("creationTimestamp").unwrap_or_default();
    Ok(TrafficSplit {
        key: context.key(),
        service,
        backends,
        matches,
        created,
    })
}

fn backend(node: &Node<'_>) -> Result<SplitBackend, Fault> {
    if let Some(name) = node.unknown_field(&["service", "weight"]) {
        let fault = Fault {
            field: node.path_of(name),
            message: "is no field of a backend".to_owned(),
            hint: None,
        };
        return Err(fault.hint("the fields are service and weight"));
    }
    let weight = node.require("weight")?;
    let text = weight.number_text()?;
    let weight_millis = quantity::parse_millis(&text).map_err(|wrong| {
        let fault = weight.fault(format!("weight {} {wrong}", shorten(&text)));
        fault.hint("a weight is a number from 0 to 1000000000; v1alpha1 also has quantities, 500m")
    })?;
    Ok(SplitBackend {
        service: node.require("service")?.name()?.to_owned(),
        weight_millis,
    })
}

/// One of `matches`. One that can't be read rejects the split: left out, it could leave none, which means every request.
fn route_ref(node: &Node<'_>) -> Result<RouteRef, Fault> {
    Ok(RouteRef {
        kind: rule_kind(node.require("kind")?.text()?),
        name: node.require("name")?.name()?.to_owned(),
    })
}
