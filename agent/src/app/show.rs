//! The plan in force as `/plan` shows it. The shape is a promise to scripts: fields are added, never renamed.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use weir_core::finding::Finding;
use weir_core::plan::Plan;
use weir_core::snapshot::Root;

use crate::cluster::manifests::Batch;
use crate::publish::Report;

/// A plan in force and what came of it.
pub struct Shown {
    /// The plan.
    pub plan: Arc<Plan>,
    /// What is wrong with objects.
    pub findings: Vec<Finding>,
    /// What is wrong with files.
    pub batch: Batch,
    /// Entries and room of each table.
    pub tables: [(&'static str, usize, u32); 5],
    /// How it went.
    pub report: Report,
}

impl Shown {
    /// Everything about the plan, for people and scripts.
    pub fn render(&self) -> Value {
        render(self)
    }
}

fn render(shown: &Shown) -> Value {
    let Shown {
        plan,
        findings,
        batch,
        tables,
        report,
    } = shown;
    let snapshot = &plan.snapshot;
    let identities: Vec<Value> = snapshot
        .identities
        .iter()
        .map(|(number, info)| {
            json!({
                "identity": number.to_string(),
                "name": info.to_string(),
                "namespace": info.namespace,
                "account": info.account,
                "bindings": info.bindings,
            })
        })
        .collect();
    let pods: Vec<Value> = snapshot
        .local
        .iter()
        .map(|(cookie, pod)| {
            json!({
                "pod": pod.pod.to_string(),
                "netns_cookie": cookie,
                "identity": pod.identity.to_string(),
                "account": pod.info.to_string(),
                "ips": pod.ips,
            })
        })
        .collect();
    let services = show_services(&snapshot.roots);
    let udp_services = show_services(&snapshot.udp_roots);
    let sizes: serde_json::Map<String, Value> = tables
        .iter()
        .map(|(name, entries, room)| (name.to_string(), json!({ "entries": entries, "max_entries": room })))
        .collect();
    json!({
        "generation": plan.generation,
        "identities": identities,
        "pods": pods,
        "known_addresses": snapshot.peers.len(),
        "services": services,
        "udp_services": udp_services,
        "tables": sizes,
        "rejected": findings,
        "files": { "problems": batch.problems, "rejected": batch.findings },
        "problems": report.problems,
        "publish_micros": report.micros,
    })
}

fn show_services(roots: &HashMap<SocketAddr, Arc<Root>>) -> Vec<Value> {
    let mut roots: Vec<_> = roots.iter().collect();
    roots.sort_by_key(|(address, _)| **address);
    let show =
        |(address, root): (&SocketAddr, &Arc<Root>)| json!({ "address": address.to_string(), "root": show_root(root) });
    roots.into_iter().map(show).collect()
}

fn show_root(root: &Root) -> Value {
    let routes: Vec<Value> = root
        .routes
        .iter()
        .map(|route| {
            let backends: Vec<Value> = route
                .backends
                .iter()
                .map(|backend| {
                    json!({
                        "service": backend.service.to_string(),
                        "weight": backend.weight,
                        "endpoints": backend.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    })
                })
                .collect();
            json!({
                "split": route.split.as_ref().map(ToString::to_string),
                "matches": route.matches.is_some(),
                "backends": backends,
            })
        })
        .collect();
    json!({ "service": root.service.to_string(), "port": root.port, "protocol": root.protocol, "routes": routes })
}
