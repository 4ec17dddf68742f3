//! IdentityBinding (access v1alpha4): `spec.schemes` as a mapping, or as a list of such mappings.
//!
//! Bias: a scheme that can't be read binds nobody. A selector that can only be read in part would bind too many, so it
//! is left out as a whole.

use super::context::{Context, selector};
use super::node::{Fault, Node, shorten};
use crate::model::{BindingScheme, IdentityBinding};

pub(super) fn read(context: &mut Context<'_>) -> Result<IdentityBinding, Fault> {
    let schemes = context.root.require("spec")?.require("schemes")?;
    let parts = if schemes.is_list() {
        schemes.list()?
    } else {
        vec![schemes]
    };
    let mut binding = IdentityBinding {
        key: context.key(),
        schemes: Vec::new(),
    };
    for part in parts {
        scheme(context, &part, &mut binding.schemes)?;
    }
    Ok(binding)
}

fn scheme(context: &mut Context<'_>, node: &Node<'_>, schemes: &mut Vec<BindingScheme>) -> Result<(), Fault> {
    const COST: &str = "it binds no pod";
    if let Some(name) = node.unknown_field(&["podLabelSelector", "serviceAccount", "spiffeIdentities"]) {
        let fault = Fault {
            field: node.path_of(name),
            message: "is no scheme".to_owned(),
            hint: None,
        };
        context.error(
            fault.hint("schemes are podLabelSelector, serviceAccount and spiffeIdentities"),
            COST,
        );
    }
    let labels = node.optional("podLabelSelector")?;
    let account = node.optional("serviceAccount")?;
    if let (Some(_), Some(account)) = (&labels, &account) {
        return Err(account
            .fault("podLabelSelector and serviceAccount exclude each other")
            .hint("make two IdentityBindings of it"));
    }
    if let Some(node) = labels
        && let Some(labels) = context.part(match_labels(&node), COST)
    {
        schemes.push(BindingScheme::PodLabels(labels));
    }
    if let Some(node) = account
        && let Some(name) = context.part(node.name(), COST)
    {
        schemes.push(BindingScheme::ServiceAccount(name.to_owned()));
    }
    for node in context
        .part(node.optional_list("spiffeIdentities"), COST)
        .unwrap_or_default()
    {
        if let Some(id) = context.part(spiffe(&node), COST) {
            schemes.push(BindingScheme::Spiffe(id));
        }
    }
    Ok(())
}

fn match_labels(node: &Node<'_>) -> Result<std::collections::BTreeMap<String, String>, Fault> {
    if let Some(name) = node.unknown_field(&["matchLabels"]) {
        let fault = Fault {
            field: node.path_of(name),
            message: "is not supported in a selector".to_owned(),
            hint: None,
        };
        return Err(fault.hint("use matchLabels"));
    }
    selector(&node.require("matchLabels")?)
}

/// A SPIFFE ID without its scheme: trust domain and path (SPIFFE-ID, sections 2.1 and 2.2).
fn spiffe(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.text()?;
    let id = text.strip_prefix("spiffe://").unwrap_or(text);
    let (domain, path) = id.split_once('/').unwrap_or((id, ""));
    let domain_char = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
    let path_char = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    let segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(path_char);
    if domain.is_empty() || !domain.bytes().all(domain_char) || !path.split('/').all(segment) || id.len() > 2048 {
        let fault = node.fault(format!("{} is no SPIFFE ID of a workload", shorten(text)));
        return Err(fault.hint("spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT"));
    }
    Ok(id.to_owned())
}
