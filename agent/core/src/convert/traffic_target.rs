//! TrafficTarget, in three shapes:
//!
//! - v1alpha1: `destination {…, port}`, `specs` and `sources` at top level;
//! - v1alpha2: `spec {destination {…, port}, rules, sources}`;
//! - v1alpha3 and 4: the same without `port`; subjects may be IdentityBindings.
//!
//! Any of them is read under any version. `port` narrows, so it holds wherever it stands. Bias: sources are OR'd, so a
//! broken one is left out. Rules are AND'd across kinds (port and route), so a broken one must stay, as a rule that
//! names nothing: left out, it would take its half of the condition with it.

use super::context::Context;
use super::names;
use super::node::{Fault, Node, shorten};
use super::subject;
use crate::model::{RuleKind, Subject, TargetPortRef, TargetRule, TrafficTarget};

pub(super) fn read(context: &mut Context<'_>) -> Result<TrafficTarget, Fault> {
    let body = body(context)?;
    if let Some(name) = body.unknown_field(&[
        "destination",
        "rules",
        "specs",
        "sources",
        "apiVersion",
        "kind",
        "metadata",
        "spec",
        "status",
    ]) {
        let known = "destination, rules (v1alpha1: specs) and sources";
        context.warn(Fault {
            field: body.path_of(name),
            message: "is no field of a TrafficTarget".to_owned(),
            hint: Some(format!("the fields are {known}")),
        });
    }
    let own = context.key().namespace;
    let (destination, port) = match body.optional("destination")? {
        Some(node) => (Some(subject::read(&node, &own)?), port(context, &node)?),
        None => (None, None),
    };
    let rules = match (body.optional("rules")?, body.optional("specs")?) {
        (Some(rules), Some(_)) => {
            return Err(rules
                .fault("both rules and specs are given")
                .hint("specs is v1alpha1's name of rules; keep one"));
        }
        (rules, specs) => rules.or(specs),
    };
    let rules = rules
        .map_or(Ok(Vec::new()), |node| node.list())?
        .iter()
        .map(|node| rule(context, node))
        .collect();
    let mut sources = Vec::new();
    for node in body.optional_list("sources")? {
        sources.extend(source(context, &node, &own));
    }
    Ok(TrafficTarget {
        key: context.key(),
        destination,
        port,
        rules,
        sources,
    })
}

/// What holds `destination`, rules and sources: `spec`, or the object itself, never both.
fn body<'a>(context: &Context<'a>) -> Result<Node<'a>, Fault> {
    let root = context.root.clone();
    let mut at_top = None;
    for name in ["destination", "rules", "specs", "sources"] {
        at_top = at_top.or(root.optional(name)?);
    }
    match (root.optional("spec")?, at_top) {
        (Some(spec), None) => spec.entries().map(|_| spec),
        (None, _) => Ok(root),
        (Some(spec), Some(_)) if spec.entries()?.is_empty() => Ok(root),
        (Some(_), Some(field)) => Err(field
            .fault("stands at top level beside a spec")
            .hint("v1alpha1 has it at top level, all later versions under spec; keep one")),
    }
}

/// `destination.port`. Every other field that is not known may have been meant to narrow, so it refuses the object.
fn port(context: &mut Context<'_>, destination: &Node<'_>) -> Result<Option<TargetPortRef>, Fault> {
    if let Some(name) = destination.unknown_field(&["kind", "name", "namespace", "group", "port"]) {
        let fault = Fault {
            field: destination.path_of(name),
            message: "is no field of a destination".to_owned(),
            hint: None,
        };
        return Err(fault.hint("the fields are kind, name, namespace and (v1alpha1, v1alpha2) port"));
    }
    let Some(node) = destination.get("port")? else {
        return Ok(None);
    };
    let text = match node.text() {
        Ok(text) => text,
        Err(_) => return numbered(context, &node),
    };
    let is_name = text.len() <= 15 && names::is_label(text) && text.bytes().any(|c| c.is_ascii_lowercase());
    if is_name {
        version_note(context, &node);
        return Ok(Some(TargetPortRef::Name(text.to_owned())));
    }
    numbered(context, &node)
}

fn numbered(context: &mut Context<'_>, node: &Node<'_>) -> Result<Option<TargetPortRef>, Fault> {
    let hint = "a port is a number from 1 to 65535 or the name of a container's port; leave port out for all ports";
    let port = node.port().map_err(|fault| fault.hint(hint))?;
    version_note(context, node);
    Ok(Some(TargetPortRef::Number(port)))
}

fn version_note(context: &mut Context<'_>, node: &Node<'_>) {
    if !matches!(context.version, "v1alpha1" | "v1alpha2") {
        let fault = node.fault(format!(
            "{} has no port here; it is obeyed all the same",
            context.version
        ));
        context.warn(fault.hint("from v1alpha3 on, name ports in a TCPRoute"));
    }
}

fn source(context: &mut Context<'_>, node: &Node<'_>, own: &str) -> Option<Subject> {
    let source = context.part(subject::read(node, own), "this source is left out")?;
    if let Some(name) = node.unknown_field(&["kind", "name", "namespace", "group"]) {
        let fault = Fault {
            field: node.path_of(name),
            message: "has no effect on a source".to_owned(),
            hint: None,
        };
        context.warn(fault.hint("the fields are kind, name and namespace"));
    }
    Some(source)
}

fn rule(context: &mut Context<'_>, node: &Node<'_>) -> TargetRule {
    let kind = node.require("kind").and_then(|kind| kind.text());
    let kind = match &kind {
        Ok(kind) => rule_kind(kind),
        Err(_) => RuleKind::Unknown(String::new()),
    };
    match context.part(rule_body(node), "the rule grants nothing") {
        Some((name, matches)) => TargetRule { kind, name, matches },
        None => TargetRule {
            kind,
            name: String::new(),
            matches: None,
        },
    }
}

/// SMI's kinds of routes.
pub(super) fn rule_kind(kind: &str) -> RuleKind {
    match kind {
        "HTTPRouteGroup" => RuleKind::HttpRouteGroup,
        "TCPRoute" => RuleKind::TcpRoute,
        "UDPRoute" => RuleKind::UdpRoute,
        other => RuleKind::Unknown(other.to_owned()),
    }
}

fn rule_body(node: &Node<'_>) -> Result<(String, Option<Vec<String>>), Fault> {
    let kind = node.require("kind")?.text()?;
    if let Some(name) = node.unknown_field(&["kind", "name", "matches"]) {
        let fault = Fault {
            field: node.path_of(name),
            message: "is no field of a rule".to_owned(),
            hint: None,
        };
        return Err(fault.hint("the fields are kind, name and matches"));
    }
    let name = node.require("name")?.name()?.to_owned();
    let Some(list) = node.get("matches")? else {
        return Ok((name, None));
    };
    let hint = "a list of names of matches of that HTTPRouteGroup; leave it out for all of them";
    let mut matches = Vec::new();
    for item in list.list().map_err(|fault| fault.hint(hint))? {
        match item.text().map_err(|fault| fault.hint(hint))? {
            "" => return Err(item.fault("is an empty name").hint(hint)),
            text => matches.push(text.to_owned()),
        }
    }
    if !matches.is_empty() && kind != "HTTPRouteGroup" {
        let fault = list.fault(format!(
            "a {} has no matches to choose from",
            shorten(kind).trim_matches('"')
        ));
        return Err(fault.hint("name ports in the route itself"));
    }
    // An empty list is what clients write for "absent".
    Ok((name, Some(matches).filter(|matches| !matches.is_empty())))
}
