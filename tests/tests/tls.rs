//! TLS that workloads bring (openssl on both sides): bytes to Weir, under the rules for bytes.

use std::path::Path;

use anyhow::{Context, Result};
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Mesh, Script, exec, smi};

/// A port that no Service of these tests names HTTP.
const PORT: u16 = 9000;
const OPENSSL: &str = "/usr/bin/openssl";

/// `openssl s_server` in a pod, with a certificate of its own that names the pod. It echoes lines reversed.
fn server(mesh: &Mesh, pod: &Pod) -> Result<Script> {
    let file = |end: &str| {
        mesh.world
            .dir()
            .join(format!("{}.{end}", pod.name))
            .display()
            .to_string()
    };
    let (key, certificate) = (file("key"), file("crt"));
    let mut make = std::process::Command::new(OPENSSL);
    make.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ]);
    make.args(["-days", "2", "-subj", &format!("/CN={}", pod.name)]);
    make.args(["-keyout", &key, "-out", &certificate]);
    exec::run(&mut make)?;
    let port = PORT.to_string();
    let args = [
        "s_server",
        "-accept",
        &port,
        "-key",
        &key,
        "-cert",
        &certificate,
        "-rev",
        "-quiet",
    ];
    Script::start(pod, Path::new(OPENSSL), &args)
}

/// `openssl s_client` that asks for this name.
fn client(pod: &Pod, name: &str) -> Result<Script> {
    let to = format!("{STORE4}:{PORT}");
    let args = ["s_client", "-connect", &to, "-servername", name, "-nocommands"];
    Script::start(pod, Path::new(OPENSSL), &args)
}

/// A buyer, and one TLS server behind Service `store`, whose ports say nothing of their protocol.
fn open() -> Result<(Mesh, Pod, Pod, Script)> {
    let mut mesh = Mesh::new()?;
    let (buyer, store) = (mesh.client("buyer")?, mesh.client("store")?);
    let server = server(&mesh, &store)?;
    mesh.service_to_detect("store", "store", &[&STORE4.to_string()])?;
    Ok((mesh, buyer, store, server))
}

fn echo(client: &mut Script) -> Result<()> {
    client.say("hello")?;
    client.hear("olleh").map(drop)
}

#[test]
fn tls_passes_under_a_rule_for_bytes_and_ends_with_it() -> Result<()> {
    let (mesh, buyer, _store, _server) = open()?;
    mesh.grant_tcp("buyer", "store", &[PORT])?;
    let _agent = mesh.agent()?;
    let mut client = client(&buyer, "store.shop")?;
    client.hear("CN = store")?;
    echo(&mut client)?;
    mesh.grant_tcp("somebody", "nobody", &[])?;
    echo(&mut client)?;
    mesh.manifests.remove("tcp-buyer")?;
    // s_client says so when its connection fails.
    client.hear("errno=").map(drop)
}

#[test]
fn tls_is_refused_where_only_http_is_granted() -> Result<()> {
    let (mesh, buyer, _store, _server) = open()?;
    mesh.grant_http("buyer", "store", "/")?;
    let agent = mesh.agent()?;
    let client = client(&buyer, "store.shop")?;
    client.hear("errno=")?;
    agent.wait_log(&["refused", "this is not http"])?;
    assert!(agent.metrics()?.sum("weir_engine_refused_protocol_total", &[]) >= 1.0);
    Ok(())
}

#[test]
fn tls_is_split_connection_by_connection_and_its_names_are_seen() -> Result<()> {
    let (mut mesh, buyer, _store, _server) = open()?;
    let next = mesh.client("store-next")?;
    let _next = server(&mesh, &next)?;
    for (service, app) in [("store-v1", "store"), ("store-v2", "store-next")] {
        mesh.service_to_detect(service, app, &[])?;
    }
    mesh.grant_tcp("buyer", "store", &[PORT])?;
    let rules: &[(&str, &str, &[&str])] = &[("TCPRoute", "ports-for-buyer", &[])];
    mesh.manifests
        .write("tcp-next", &smi::target("tcp-next", "store-next", &["buyer"], rules))?;
    let split = smi::split("store", "store", &[("store-v1", 1), ("store-v2", 1)]);
    mesh.manifests.write("split", &split)?;
    let agent = mesh.agent_with(&["--threads", "1", "--access-log", "all"])?;
    let mut seen = Vec::new();
    for number in 0..6 {
        let mut client = client(&buyer, &format!("name-{number}.shop"))?;
        let line = client.hear("subject=")?;
        seen.push(line.rsplit(' ').next().context("no subject")?.to_owned());
        echo(&mut client)?;
    }
    seen.sort();
    assert_eq!(
        seen,
        ["store", "store", "store", "store-next", "store-next", "store-next"]
    );
    assert_eq!(agent.metrics()?.sum("weir_engine_tls_relayed_total", &[]), 6.0);
    for number in 0..6 {
        agent.wait_log(&["tls", &format!("name-{number}.shop")])?;
    }
    Ok(())
}
