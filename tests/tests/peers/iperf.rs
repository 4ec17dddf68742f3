//! iperf3: many bytes both ways, decided in the kernel or through the engine.

use std::path::Path;

use anyhow::{Context, Result};
use weir_tests::manifests::Service;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Script, smi};

use crate::fixture::Peers;

/// Port of iperf3.
const IPERF: u16 = 5201;

/// iperf3 both ways, decided in the kernel or through the engine.
fn iperf(outcome: &str, engine: bool) -> Result<()> {
    let peers = Peers::new()?;
    let port: &[(&str, u16, u16)] = if engine {
        &[("a", IPERF, IPERF)]
    } else {
        &[("tcp", IPERF, IPERF)]
    };
    for (name, ips) in [("leaf", &[][..]), ("store", &[STORE4.to_string().as_str()][..])] {
        peers.mesh.manifests.service(&Service {
            name,
            ips,
            selector: &[("app", "store")],
            ports: port,
        })?;
    }
    if engine {
        peers
            .mesh
            .manifests
            .write("split", &smi::split("split", "store", &[("leaf", 1)]))?;
    }
    peers.mesh.grant_tcp("buyer", "store", &[IPERF])?;
    let _server = Script::start(&peers.store, Path::new("/usr/bin/iperf3"), &["-s"])?;
    peers.listens(IPERF)?;
    let agent = peers.mesh.agent()?;
    let run = |pod: &Pod, more: &[&str]| -> Result<serde_json::Value> {
        let mut iperf = pod.command(Path::new("/usr/bin/iperf3"))?;
        iperf
            .args(["-c", &STORE4.to_string(), "-J", "--connect-timeout", "5000"])
            .args(more);
        Ok(serde_json::from_slice(&iperf.output()?.stdout)?)
    };
    // The server tells the two streams of --bidir apart by which is accepted first, and a captured connect() succeeds
    // before the server is reached: through the engine the second may overtake the first.
    let both: &[&str] = if engine {
        &["-n", "200M", "-R"]
    } else {
        &["-n", "50M", "--bidir"]
    };
    for more in [
        &["-n", "200M"][..],
        &["-n", "200M", "-R"],
        both,
        &["-n", "50M", "-P", "4"],
    ] {
        let result = run(&peers.buyer, more)?;
        assert_eq!(result["error"], serde_json::Value::Null, "{more:?}: {result}");
        let received = result["end"]["sum_received"]["bytes"]
            .as_u64()
            .context("bytes received")?;
        // With `-n` the last of it may still be on the way when the client says that it is enough.
        let wanted = if more[1] == "200M" { 150 << 20 } else { 1 << 20 };
        assert!(received > wanted, "{more:?}: {received} bytes: {}", result["end"]);
    }
    let error = run(&peers.thief, &["-n", "1M"])?["error"].to_string();
    assert!(
        error.contains("onnection refused") || error.contains("reset"),
        "{error}"
    );
    let metrics = agent.metrics()?;
    let count = metrics.sum("weir_kernel_verdicts_total", &["hook=\"connect\"", outcome]);
    assert!(count >= 10.0, "{count} connections were {outcome}");
    Ok(())
}

#[test]
fn iperf3_measures_in_the_kernel_tier() -> Result<()> {
    iperf("outcome=\"allow\"", false)
}

#[test]
fn iperf3_measures_through_the_engine() -> Result<()> {
    iperf("outcome=\"l7\"", true)
}
