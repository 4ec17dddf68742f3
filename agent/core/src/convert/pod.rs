//! Pod: where it runs, who it is, where it is reached.
//!
//! Bias: a pod that is rejected would not be captured, so next to nothing rejects one. A part that can't be read is
//! left out, and with it what that part would have given: no address, no port, no account, never another one.

mod probes;

use super::context::Context;
use super::node::{Fault, Node, shorten};
use super::owner;
use crate::model::{ContainerPort, Pod, Transport};

/// Annotation: path of the pod's network namespace.
const NETNS: &str = "weir.dev/netns";

pub(super) fn read(context: &mut Context<'_>) -> Result<Pod, Fault> {
    let spec = section(context, "spec");
    let status = section(context, "status");
    let text = |context: &mut Context<'_>, name: &str| {
        let read = spec.as_ref().map_or(Ok(None), |spec| spec.optional_text(name));
        context
            .part(read, "it is left out")
            .flatten()
            .unwrap_or_default()
            .to_owned()
    };
    let netns = context
        .metadata_map("annotations")
        .and_then(|map| map.map_or(Ok(None), |map| map.optional_text(NETNS)));
    let host_network = spec
        .as_ref()
        .and_then(|spec| spec.optional("hostNetwork").transpose())
        .map_or(Ok(false), |node| node?.boolean());
    let phase = status.as_ref().map_or(Ok(None), |status| status.optional_text("phase"));
    let ready = status.as_ref().map_or(Ok(true), ready);
    Ok(Pod {
        key: context.key(),
        uid: context.metadata_text("uid").unwrap_or_default(),
        labels: context.labels(),
        node: text(context, "nodeName"),
        account: account(context, spec.as_ref()),
        ips: addresses(context, status.as_ref()),
        ports: ports(context, spec.as_ref()),
        probe_ports: probes::ports(context, spec.as_ref()),
        host_network: context
            .part(host_network, "the pod is taken to have its own network")
            .unwrap_or(false),
        netns: context
            .part(netns, "the pod can't be captured")
            .flatten()
            .map(str::to_owned),
        ready: context.part(ready, "the pod is taken not to be ready").unwrap_or(false)
            && !context.metadata_has("deletionTimestamp"),
        owner: owner::controller(context),
        finished: matches!(
            context.part(phase, "it is left out").flatten(),
            Some("Succeeded" | "Failed")
        ),
    })
}

fn section<'a>(context: &mut Context<'a>, name: &str) -> Option<Node<'a>> {
    let read = context
        .root
        .optional(name)
        .and_then(|node| node.map_or(Ok(None), |node| node.entries().map(|_| Some(node))));
    context.part(read, "it is left out").flatten()
}

/// `default` only where no account is named. One that can't be read is nobody's: its name is empty, which nothing can name.
fn account(context: &mut Context<'_>, spec: Option<&Node<'_>>) -> String {
    let read = |name| match spec.map_or(Ok(None), |spec| spec.optional(name))? {
        Some(node) if node.text()?.is_empty() => Ok(None),
        Some(node) => node.name().map(Some),
        None => Ok(None),
    };
    // `serviceAccount` is the deprecated spelling, which the API server still fills in.
    let read =
        read("serviceAccountName").and_then(|name| name.map_or_else(|| read("serviceAccount"), |name| Ok(Some(name))));
    match context.part(read, "the pod has no account, and nothing is granted to it by account") {
        Some(name) => name.unwrap_or("default").to_owned(),
        None => String::new(),
    }
}

/// `status.podIPs`, then `status.podIP`, without repeats.
fn addresses(context: &mut Context<'_>, status: Option<&Node<'_>>) -> Vec<std::net::IpAddr> {
    const COST: &str = "the address is left out";
    let Some(status) = status else { return Vec::new() };
    let mut ips = Vec::new();
    let mut nodes = context.part(status.optional_list("podIPs"), COST).unwrap_or_default();
    nodes.extend(context.part(status.optional("podIP"), COST).flatten());
    for node in nodes {
        let address = match node.text() {
            Ok("") => continue,
            Ok(_) => node.address(),
            // The API's form is `[{ip: …}]`; plain text is what people write by hand.
            Err(_) => node.require("ip").and_then(|ip| ip.address()),
        };
        if let Some(address) = context.part(address, COST)
            && !ips.contains(&address)
        {
            ips.push(address);
        }
    }
    ips
}

fn ports(context: &mut Context<'_>, spec: Option<&Node<'_>>) -> Vec<ContainerPort> {
    const COST: &str = "the port is left out";
    let containers = spec.map_or(Ok(Vec::new()), |spec| spec.optional_list("containers"));
    let mut ports = Vec::new();
    for container in context.part(containers, "its ports are left out").unwrap_or_default() {
        for node in context.part(container.optional_list("ports"), COST).unwrap_or_default() {
            ports.extend(context.part(container_port(&node), COST));
        }
    }
    ports
}

fn container_port(node: &Node<'_>) -> Result<ContainerPort, Fault> {
    Ok(ContainerPort {
        name: node.optional_text("name")?.map(str::to_owned),
        port: node.require("containerPort")?.port()?,
        transport: transport(node)?,
    })
}

/// `protocol`, TCP where absent.
pub(super) fn transport(node: &Node<'_>) -> Result<Transport, Fault> {
    match node.optional("protocol")? {
        None => Ok(Transport::Tcp),
        Some(node) => match node.text()? {
            "" | "TCP" => Ok(Transport::Tcp),
            "UDP" => Ok(Transport::Udp),
            "SCTP" => Ok(Transport::Sctp),
            other => Err(node
                .fault(format!("{} is no protocol", shorten(other)))
                .hint("TCP, UDP or SCTP, in capitals")),
        },
    }
}

/// Condition `Ready`; a pod without conditions, as a file describes it, is ready.
fn ready(status: &Node<'_>) -> Result<bool, Fault> {
    let conditions = status.optional_list("conditions")?;
    if conditions.is_empty() {
        return Ok(true);
    }
    for condition in conditions {
        if condition.require("type")?.text()? == "Ready" {
            return Ok(condition.require("status")?.text()? == "True");
        }
    }
    Ok(false)
}
