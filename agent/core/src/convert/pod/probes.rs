//! The ports of a pod that the kubelet connects to.
//!
//! Bias: a probe whose port can't be told has none, and fails. What the kubelet sends elsewhere than to the pod's own
//! address (`host`) opens nothing. A name is that of a port of the same container, as the kubelet resolves it.

use super::super::context::Context;
use super::super::node::{Fault, Node};
use super::container_port;
use crate::model::Transport;

const COST: &str = "the kubelet's connections to it are refused";

/// Sorted, without repeats.
pub(super) fn ports(context: &mut Context<'_>, spec: Option<&Node<'_>>) -> Vec<u16> {
    let Some(spec) = spec else { return Vec::new() };
    let mut ports = Vec::new();
    let mut containers = context.part(spec.optional_list("containers"), COST).unwrap_or_default();
    for init in context
        .part(spec.optional_list("initContainers"), COST)
        .unwrap_or_default()
    {
        // Other init containers are through before anything is probed.
        if matches!(init.optional_text("restartPolicy"), Ok(Some("Always"))) {
            containers.push(init);
        }
    }
    for container in &containers {
        for (group, names) in [
            (None, ["livenessProbe", "readinessProbe", "startupProbe"].as_slice()),
            (Some("lifecycle"), ["postStart", "preStop"].as_slice()),
        ] {
            let holder = match group {
                None => Some(container.clone()),
                Some(group) => context.part(container.optional(group), COST).flatten(),
            };
            for name in names {
                let Some(holder) = &holder else { continue };
                let read = holder
                    .optional(name)
                    .and_then(|probe| probe.map_or(Ok(vec![]), |probe| of_handler(container, &probe)));
                ports.extend(context.part(read, COST).unwrap_or_default());
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A probe or a hook; `exec` has no port.
fn of_handler(container: &Node<'_>, handler: &Node<'_>) -> Result<Vec<u16>, Fault> {
    let mut ports = Vec::new();
    for action in ["httpGet", "tcpSocket", "grpc"] {
        let Some(action) = handler.optional(action)? else {
            continue;
        };
        if action.optional_text("host")?.is_some_and(|host| !host.is_empty()) {
            continue;
        }
        ports.push(number(container, &action.require("port")?)?);
    }
    Ok(ports)
}

fn number(container: &Node<'_>, port: &Node<'_>) -> Result<u16, Fault> {
    let Ok(name) = port.text() else { return port.port() };
    for declared in container.optional_list("ports")? {
        if let Ok(declared) = container_port(&declared)
            && declared.transport == Transport::Tcp
            && declared.name.as_deref() == Some(name)
        {
            return Ok(declared.port);
        }
    }
    // The kubelet takes digits in a text for a number.
    port.port()
        .map_err(|fault| fault.hint("a number, or the name of a TCP port of the same container"))
}
