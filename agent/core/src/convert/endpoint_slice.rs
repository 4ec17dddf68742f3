//! EndpointSlice (discovery.k8s.io/v1): endpoints of a Service.

use super::context::Context;
use super::node::{Fault, Node};
use super::pod::transport;
use crate::model::{Endpoint, EndpointPort, EndpointSlice};

/// The label that names the Service.
const SERVICE: &str = "kubernetes.io/service-name";

pub(super) fn read(context: &mut Context<'_>) -> Result<EndpointSlice, Fault> {
    let label = context
        .metadata_map("labels")?
        .map_or(Ok(None), |labels| labels.optional(SERVICE))?;
    let Some(label) = label else {
        let field = format!("metadata.labels[{SERVICE:?}]");
        return Err(Fault {
            field,
            message: "is missing".to_owned(),
            hint: Some("the label names the Service of the endpoints".to_owned()),
        });
    };
    let service = label.label()?.to_owned();
    let address_type = context.root.optional_text("addressType")?;
    if address_type.is_some_and(|kind| kind != "IPv4" && kind != "IPv6") {
        let fault = context
            .root
            .require("addressType")?
            .fault("endpoints have to be IPv4 or IPv6 addresses");
        return Err(fault);
    }
    let mut slice = EndpointSlice {
        key: context.key(),
        service,
        endpoints: Vec::new(),
        ports: Vec::new(),
    };
    for node in context.root.optional_list("endpoints")? {
        if let Some(ready) = context.part(ready(&node), "the endpoint is left out") {
            let addresses = context
                .part(node.optional_list("addresses"), "the endpoint is left out")
                .unwrap_or_default();
            let addresses = addresses
                .iter()
                .filter_map(|node| context.part(node.address(), "the address is left out"))
                .collect();
            slice.endpoints.push(Endpoint { addresses, ready });
        }
    }
    for node in context.root.optional_list("ports")? {
        let port = context.part(port(&node), "the port is left out");
        slice.ports.extend(port);
    }
    Ok(slice)
}

/// `conditions.ready`; unknown is ready, as the API says.
fn ready(node: &Node<'_>) -> Result<bool, Fault> {
    let Some(conditions) = node.optional("conditions")? else {
        return Ok(true);
    };
    conditions.optional("ready")?.map_or(Ok(true), |ready| ready.boolean())
}

fn port(node: &Node<'_>) -> Result<EndpointPort, Fault> {
    Ok(EndpointPort {
        name: node.optional_text("name")?.unwrap_or_default().to_owned(),
        port: node.require("port")?.port()?,
        transport: transport(node)?,
    })
}
