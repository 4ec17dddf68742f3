//! The corpus of doubtful HTTP/1.1 through whole agents, on the way that real pods' bytes take.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_corpus::tape::{Got, Heard, Script};
use weir_corpus::{Ends, check};
use weir_tests::protocol::{Recorder, Talk};
use weir_tests::server::HTTP;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Agent, Mesh, exec, smi};

/// Anything but `/s…`, and `OPTIONS *`.
fn grant(mesh: &Mesh) -> Result<()> {
    let routes = smi::routes(
        "corpus",
        &[("paths", "/([^s]|$)", &["*"]), ("server", r"\*", &["OPTIONS"])],
    );
    let target = smi::target("corpus", "store", &["buyer"], &[("HTTPRouteGroup", "corpus", &[])]);
    mesh.manifests.write("corpus", &smi::documents(&[routes, target]))
}

#[test]
fn every_case_comes_out_right_on_one_node() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, store) = (mesh.client("buyer")?, mesh.client("store")?);
    mesh.service("store", "store", &[&STORE4.to_string()])?;
    grant(&mesh)?;
    let mut ends = Pods::start(&buyer, &store, STORE4)?;
    let _agent = mesh.agent()?;
    every_case(&mut ends)
}

#[test]
fn every_case_comes_out_right_from_a_peer_of_another_node() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let remote = mesh.world.remote("node-b")?;
    let (buyer, store) = (mesh.remote_client(&remote, "buyer")?, mesh.client("store")?);
    mesh.service("store", "store", &[&STORE4.to_string()])?;
    grant(&mesh)?;
    // The client's node has no agent that would know the Service: the server's judges what arrives.
    let mut ends = Pods::start(&buyer, &store, store.v4())?;
    let _agent = mesh.agent()?;
    every_case(&mut ends)
}

#[test]
fn every_case_comes_out_right_across_two_nodes() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let remote = mesh.world.remote("node-b")?;
    let (buyer, store) = (mesh.remote_client(&remote, "buyer")?, mesh.client("store")?);
    mesh.service("store", "store", &[&STORE4.to_string()])?;
    grant(&mesh)?;
    let mut ends = Pods::start(&buyer, &store, STORE4)?;
    let (far, near) = (mesh.agent_at(&remote)?, mesh.agent()?);
    every_case(&mut ends)?;
    // Both have read each message.
    let requests = |agent: &Agent| Ok::<_, anyhow::Error>(agent.metrics()?.sum("weir_engine_requests_total", &[]));
    let (far, near) = (requests(&far)?, requests(&near)?);
    ensure!(
        far > near && near > 100.0,
        "{far} requests at the client's agent, {near} at the server's"
    );
    Ok(())
}

fn every_case(ends: &mut Pods) -> Result<()> {
    let cases = weir_corpus::all();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = check(case, false, ends) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    ensure!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    Ok(())
}

/// A client and a recording server in their pods.
struct Pods {
    client: Process,
    server: Process,
    to: SocketAddr,
}

impl Pods {
    fn start(client: &Pod, server: &Pod, to: IpAddr) -> Result<Pods> {
        let address = format!("[::]:{HTTP}");
        let mut server = Process::start(server, &["record", &address])?;
        ensure!(server.line()? == "ready", "the recorder is not ready");
        Ok(Pods {
            client: Process::start(client, &["talk"])?,
            server,
            to: SocketAddr::new(to, HTTP),
        })
    }
}

impl Ends for Pods {
    fn script(&mut self, script: Script) {
        let () = self
            .server
            .ask(&Recorder::Script(script))
            .expect("the recorder answers");
    }

    fn talk(&mut self, wire: &[u8], pieces: usize, limit: Duration) -> Heard {
        let talk = Talk {
            to: self.to,
            wire: wire.to_vec(),
            pieces,
            limit_ms: limit.as_millis().try_into().expect("a short time"),
        };
        let heard: Option<Heard> = self.client.ask(&talk).expect("the client answers");
        heard.expect("a connection to the store")
    }

    fn got(&mut self) -> Got {
        self.server.ask(&Recorder::Got).expect("the recorder answers")
    }

    fn is_one_core(&self) -> bool {
        false
    }
}

/// A test application in a pod that answers lines. Ends with the value.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(pod: &Pod, args: &[&str]) -> Result<Process> {
        let mut command = pod.command(&exec::testapp()?)?;
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("{args:?} in pod {}", pod.name))?;
        let input = child.stdin.take().context("standard input")?;
        let output = BufReader::new(child.stdout.take().context("standard output")?);
        Ok(Process { child, input, output })
    }

    fn ask<A: DeserializeOwned>(&mut self, command: &impl Serialize) -> Result<A> {
        let line = serde_json::to_string(command)? + "\n";
        self.input.write_all(line.as_bytes()).context("the process is gone")?;
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| line.clone())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim_end().to_string())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
