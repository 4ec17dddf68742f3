//! Service: its addresses, its ports, and who stands behind it.

use std::net::IpAddr;

use super::context::{Context, selector};
use super::names;
use super::node::{Fault, Node, shorten};
use super::pod::transport;
use crate::model::{Service, ServicePort, TargetPort};

pub(super) fn read(context: &mut Context<'_>) -> Result<Service, Fault> {
    let spec = context.root.require("spec")?;
    let mut service = Service {
        key: context.key(),
        cluster_ips: Vec::new(),
        selector: None,
        ports: Vec::new(),
    };
    if spec.optional_text("type")? == Some("ExternalName") {
        // A name in DNS: neither addresses nor endpoints.
        return Ok(service);
    }
    service.cluster_ips = cluster_ips(context, &spec);
    // An empty selector chooses no pods: endpoints then come from slices alone, as without one.
    service.selector = spec
        .optional("selector")?
        .map(|node| selector(&node))
        .transpose()?
        .filter(|labels| !labels.is_empty());
    for node in spec.optional_list("ports")? {
        let port = context.part(port(&node), "the port is left out");
        service.ports.extend(port);
    }
    Ok(service)
}

/// `clusterIPs`, then `clusterIP`, without repeats; `None` and empty are no address.
fn cluster_ips(context: &mut Context<'_>, spec: &Node<'_>) -> Vec<IpAddr> {
    const COST: &str = "the address is left out";
    let mut ips = Vec::new();
    let mut nodes = context.part(spec.optional_list("clusterIPs"), COST).unwrap_or_default();
    nodes.extend(context.part(spec.optional("clusterIP"), COST).flatten());
    for node in nodes {
        if matches!(node.text(), Ok("" | "None")) {
            continue;
        }
        if let Some(address) = context.part(node.address(), COST)
            && !ips.contains(&address)
        {
            ips.push(address);
        }
    }
    ips
}

fn port(node: &Node<'_>) -> Result<ServicePort, Fault> {
    let port = node.require("port")?.port()?;
    Ok(ServicePort {
        name: node.optional_text("name")?.unwrap_or_default().to_owned(),
        port,
        target_port: node
            .optional("targetPort")?
            .map_or(Ok(TargetPort::Number(port)), |node| target_port(&node, port))?,
        transport: transport(node)?,
        app_protocol: node.optional_text("appProtocol")?.map(str::to_owned),
    })
}

/// A number, digits in text, or a container port's name. 0 and empty text are what clients write for "the same".
fn target_port(node: &Node<'_>, port: u16) -> Result<TargetPort, Fault> {
    match node.number_text()?.as_str() {
        "" | "0" => Ok(TargetPort::Number(port)),
        text if names::is_label(text) && text.bytes().any(|c| c.is_ascii_lowercase()) => {
            Ok(TargetPort::Name(text.to_owned()))
        }
        text if text.bytes().all(|c| c.is_ascii_digit()) => node.port().map(TargetPort::Number),
        text => Err(node.fault(format!("{} is neither a port number nor a port's name", shorten(text)))),
    }
}
