//! Python and Node ask each other and themselves.

use std::net::IpAddr;
use std::path::Path;
use std::process::Output;

use anyhow::{Result, ensure};
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Agent, Script};

use crate::fixture::Peers;

/// A server, a client and a look at both.
fn pair(server: (&str, &[&str]), client: (&str, &[&str])) -> Result<()> {
    let peers = Peers::new()?;
    peers.http()?;
    let www = peers.www.to_string_lossy().into_owned();
    let args = [server.1, &[&www]].concat();
    let _server = Script::start(&peers.store, Path::new(server.0), &args)?;
    peers.listens(80)?;
    let ask = |pod: &Pod, to: IpAddr| -> Result<Output> {
        let mut command = pod.command(Path::new(client.0))?;
        Ok(command.args(client.1).arg(to.to_string()).output()?)
    };
    let said = |output: Output| -> Result<String> {
        ensure!(output.status.success(), "{output:?}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let plain = said(ask(&peers.buyer, peers.store.v4())?)?;
    ensure!(plain.lines().count() == 8, "the client says {plain}");
    let agent = peers.mesh.agent()?;
    for to in [STORE4, peers.store.v4(), peers.store.v6()] {
        assert_eq!(said(ask(&peers.buyer, to)?)?, plain, "to {to}");
        let output = ask(&peers.thief, to)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && errors.contains("ECONNREFUSED"),
            "{output:?}"
        );
    }
    went_through(&agent)
}

fn went_through(agent: &Agent) -> Result<()> {
    let requests = agent.metrics()?.sum("weir_engine_requests_total", &[]);
    ensure!(requests >= 24.0, "only {requests} requests went through the engine");
    Ok(())
}

const PYTHON: &str = "/usr/bin/python3";
const NODE: &str = "/usr/bin/node";
const PYTHON_CLIENT: &[&str] = &["-c", include_str!("client.py")];
const PYTHON_SERVER: &[&str] = &["-c", include_str!("server.py")];
const NODE_CLIENT: &[&str] = &["-e", include_str!("client.js")];
const NODE_SERVER: &[&str] = &["-e", include_str!("server.js")];

#[test]
fn python_asks_python() -> Result<()> {
    pair((PYTHON, PYTHON_SERVER), (PYTHON, PYTHON_CLIENT))
}

#[test]
fn node_asks_python() -> Result<()> {
    pair((PYTHON, PYTHON_SERVER), (NODE, NODE_CLIENT))
}

#[test]
fn python_asks_node() -> Result<()> {
    pair((NODE, NODE_SERVER), (PYTHON, PYTHON_CLIENT))
}

#[test]
fn node_asks_node() -> Result<()> {
    pair((NODE, NODE_SERVER), (NODE, NODE_CLIENT))
}
