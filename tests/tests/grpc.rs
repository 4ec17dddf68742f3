//! gRPC through the engine: the interoperability client and server of grpc-go, in pods of one node and of two.

use std::net::IpAddr;

use anyhow::{Context, Result};
use weir_tests::manifests::Service;
use weir_tests::shop::STORE4;
use weir_tests::tool::{self, Daemon};
use weir_tests::{Pod, Shop};

/// Port of the gRPC server.
const GRPC: u16 = 10000;

/// Every case of the interoperability tests that needs neither TLS nor somebody's cloud.
const CASES: &[&str] = &[
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "timeout_on_sleeping_server",
    "cancel_after_begin",
    "cancel_after_first_response",
    "status_code_and_message",
    "special_status_message",
    "custom_metadata",
    "unimplemented_method",
    "unimplemented_service",
];

/// The shop with a gRPC server, of which the buyer may call everything and the clerk one method.
fn open() -> Result<(Shop, Pod, Daemon)> {
    let mut shop = Shop::open()?;
    let clerk = shop.mesh.client("clerk")?;
    shop.mesh.grant_http("buyer", "store", "/grpc.testing.")?;
    shop.mesh
        .grant_http("clerk", "store", "/grpc.testing.TestService/EmptyCall$")?;
    let server = Daemon::start(&shop.store, "grpc-server", &["--port", &GRPC.to_string()], GRPC)?;
    shop.mesh.manifests.service(&Service {
        name: "store",
        ips: &[&STORE4.to_string()],
        selector: &[("app", "store")],
        ports: &[("grpc", GRPC, GRPC)],
    })?;
    Ok((shop, clerk, server))
}

/// Runs a case from a pod; an error with its output if it fails.
fn case(pod: &Pod, to: IpAddr, case: &str) -> Result<String> {
    let mut command = pod.command(&tool::built("grpc-client")?)?;
    command.args([
        "--server_host",
        &to.to_string(),
        "--server_port",
        &GRPC.to_string(),
        "--test_case",
        case,
    ]);
    tool::run(&mut command).with_context(|| format!("{case} from {}", pod.name))
}

#[test]
fn every_interoperability_case_passes_on_one_node() -> Result<()> {
    let (shop, _clerk, _server) = open()?;
    let agent = shop.mesh.agent()?;
    for name in CASES {
        case(&shop.buyer, STORE4, name)?;
    }
    let requests = agent.metrics()?.sum("weir_engine_requests_total", &[]);
    assert!(
        requests >= CASES.len() as f64,
        "they went another way: {requests} requests"
    );
    Ok(())
}

#[test]
fn every_interoperability_case_passes_from_another_node() -> Result<()> {
    let (shop, _clerk, _server) = open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let buyer = shop.mesh.world.remote_pod(&remote, "far-buyer")?;
    shop.mesh.declare(&buyer, "shop", "buyer")?;
    let _agent = shop.mesh.agent()?;
    for name in CASES {
        case(&buyer, shop.store.v4(), name)?;
    }
    Ok(())
}

#[test]
fn a_call_that_no_rule_allows_is_permission_denied_for_the_clients_library() -> Result<()> {
    let (shop, clerk, _server) = open()?;
    let _agent = shop.mesh.agent()?;
    case(&clerk, STORE4, "empty_unary")?;
    let error = format!(
        "{:#}",
        case(&clerk, STORE4, "large_unary").err().context("it is allowed")?
    );
    assert!(error.contains("PermissionDenied"), "{error}");
    assert!(error.contains("shop/http-clerk"), "{error}");
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_unavailable_for_the_clients_library() -> Result<()> {
    let (shop, _clerk, server) = open()?;
    let _agent = shop.mesh.agent()?;
    drop(server);
    let error = format!(
        "{:#}",
        case(&shop.buyer, STORE4, "empty_unary").err().context("it answers")?
    );
    assert!(error.contains("Unavailable"), "{error}");
    Ok(())
}
