//! What is counted between workloads is what clients did, in namespaces: exactly, and for as long as the workloads are there.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use weir_tests::Agent;
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::{STORE4, STORE6, Shop};
use weir_tests::{Mesh, eventually, smi};

const BUYER: &str = "source_workload=\"buyer\"";
const STORE: &str = "destination_workload=\"store\"";

/// Waits until so many requests have been counted.
fn counted(agent: &Agent, requests: f64) -> Result<()> {
    let all = || Ok(agent.metrics()?.sum("weir_requests_total", &[]) == requests);
    eventually("all requests are counted", all).map(drop)
}

#[test]
fn requests_refusals_and_bytes_are_counted_as_they_were() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent_with(&["--access-log", "all", "--log-format", "json"])?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let dial = Dial::to(shop.store.v4(), HTTP);
    buyer.call(&dial, &Request::get("/books/1"), 40)?;
    buyer.call(&dial, &Request::get("/admin"), 7)?;
    counted(&agent, 47.0)?;
    let metrics = agent.metrics()?;
    let of = |name: &str, more: &[&str]| metrics.sum(name, &[&[BUYER, STORE, "side=\"both\""], more].concat());
    assert_eq!(of("weir_requests_total", &["class=\"2xx\""]), 40.0);
    assert_eq!(of("weir_requests_total", &["class=\"4xx\""]), 7.0);
    assert_eq!(
        of("weir_refused_total", &["reason=\"no_route\"", "mode=\"enforce\""]),
        7.0
    );
    assert_eq!(of("weir_request_duration_seconds_count", &[]), 47.0);
    assert_eq!(
        of("weir_transferred_bytes_total", &["direction=\"up\""]),
        metrics.sum("weir_engine_bytes_from_clients_total", &[])
    );
    let (status, open) = agent.admin("/debug/connections?pod=shop/buyer")?;
    assert_eq!(status, 200, "{open}");
    let open: serde_json::Value = serde_json::from_str(&open)?;
    assert_eq!(open["matching"], open["connections"].as_array().context("rows")?.len());
    Ok(())
}

#[test]
fn split_decisions_are_those_that_the_servers_saw() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let buyer = mesh.client("buyer")?;
    for version in ["store-v1", "store-v2"] {
        mesh.server(version)?;
        mesh.service(version, version, &[])?;
        let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", "all", &[])];
        let grant = smi::target(&format!("http-{version}"), version, &["buyer"], rules);
        mesh.manifests.write(&format!("grant-{version}"), &grant)?;
    }
    mesh.service("store", "none-has-this", &[&STORE4.to_string(), &STORE6.to_string()])?;
    mesh.manifests
        .write("routes", &smi::routes("all", &[("all", "/.*", &["*"])]))?;
    let split = smi::split("store", "store", &[("store-v1", 3), ("store-v2", 1)]);
    mesh.manifests.write("split", &split)?;
    let agent = mesh.agent()?;
    let mut buyer = mesh.session(&buyer)?;
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for ip in [STORE4, STORE6] {
        for response in buyer.call(&Dial::to(ip, HTTP), &Request::get("/"), 100)?.responses {
            *seen.entry(response.server().to_owned()).or_default() += 1;
        }
    }
    counted(&agent, 200.0)?;
    let metrics = agent.metrics()?;
    for (server, count) in &seen {
        let labels = ["service=\"store\"", "split=\"store\"", &format!("backend=\"{server}\"")];
        assert_eq!(
            metrics.sum("weir_split_decisions_total", &labels),
            f64::from(*count),
            "{server}"
        );
    }
    assert_eq!(seen.values().sum::<u32>(), 200);
    Ok(())
}

#[test]
fn a_workload_is_named_by_its_owner_and_forgotten_when_it_is_gone() -> Result<()> {
    let shop = Shop::open()?;
    let path = shop.mesh.manifests.path("pod-buyer");
    let declared = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let owner = "{apiVersion: apps/v1, kind: ReplicaSet, name: front-5d4f, uid: u, controller: true}";
    let owned = declared
        .replacen("  uid:", &format!("  ownerReferences: [{owner}]\n  uid:"), 1)
        .replacen("  labels:\n", "  labels:\n    pod-template-hash: 5d4f\n", 1);
    shop.mesh.manifests.write("pod-buyer", &owned)?;
    let agent = shop.mesh.agent_with(&["--limit", "forget-time=1s"])?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    buyer.call(&Dial::to(shop.store.v4(), HTTP), &Request::get("/books/1"), 5)?;
    buyer.must_open(&Dial::to(shop.store.v4(), WHOAMI))?;
    counted(&agent, 5.0)?;
    let front = ["source_kind=\"Deployment\"", "source_workload=\"front\"", STORE];
    assert_eq!(agent.metrics()?.sum("weir_requests_total", &front), 5.0);
    shop.mesh.manifests.remove("pod-buyer")?;
    let forgotten = || Ok(!agent.metrics()?.has("weir_requests_total"));
    eventually("the numbers go with the pod", forgotten).map(drop)
}
