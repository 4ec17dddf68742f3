//! `metadata.ownerReferences`: who made an object and keeps it. Only figures and logs are named by it; nothing is granted.
//!
//! Bias: a reference that can't be read costs a name in a metric and never the object.

use super::context::Context;
use super::node::{Fault, Node};
use crate::model::{Owned, Owner};

/// Longest kind that is taken over into a label, in bytes.
const KIND_MAX: usize = 63;

/// A ReplicaSet or a Job: its name and its controller, and nothing else of it.
pub(super) fn read(context: &mut Context<'_>) -> Owned {
    Owned {
        key: context.key(),
        owner: controller(context),
    }
}

/// The owner that is marked as the controller; the API server allows one at most.
pub(super) fn controller(context: &mut Context<'_>) -> Option<Owner> {
    const COST: &str = "the owner is left out";
    let owners = context
        .metadata_map("ownerReferences")
        .and_then(|node| node.map_or(Ok(Vec::new()), |node| node.list()));
    for node in context.part(owners, COST)? {
        let read = owner(&node);
        if let Some(owner) = context.part(read, COST).flatten() {
            return Some(owner);
        }
    }
    None
}

fn owner(node: &Node<'_>) -> Result<Option<Owner>, Fault> {
    let is_controller = match node.optional("controller")? {
        Some(controller) => controller.boolean()?,
        None => false,
    };
    if !is_controller {
        return Ok(None);
    }
    let kind = node.require("kind")?;
    let text = kind.text()?;
    let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && (1..=KIND_MAX).contains(&text.len());
    if !good {
        return Err(kind.fault("this is no kind"));
    }
    Ok(Some(Owner {
        kind: text.to_owned(),
        name: node.require("name")?.name()?.to_owned(),
    }))
}
