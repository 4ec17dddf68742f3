//! Datagrams where policy ends: the outside, other protocols, false addresses, other nodes, changes, an agent that is gone.

mod arrival;
mod names;
mod over_time;
mod revoked;

use std::net::SocketAddr;
use std::process::Command as Process;

use anyhow::{Context, Result, bail};
use weir_tests::Session;
use weir_tests::protocol::Udp;
use weir_tests::world::Pod;

/// A flow to the Service that has gone to this server.
fn on(session: &mut Session, place: SocketAddr, connect: bool, name: &str) -> Result<usize> {
    for _ in 0..64 {
        let (kind, to) = if connect {
            (Udp::to(place), None)
        } else {
            (Udp::default(), Some(place))
        };
        let socket = session.udp(&kind)?;
        if session.udp_ask(socket, to, "who?")?.0.name == name {
            return Ok(socket);
        }
    }
    bail!("64 flows, and none of them to {name}");
}

fn drain(session: &mut Session, socket: usize) -> Result<()> {
    while session.udp_receive(socket, 1)?.errno == 0 {}
    Ok(())
}

fn ping(pod: &Pod, place: SocketAddr) -> Result<()> {
    let mut command: Process = pod.command("/usr/bin/ping".as_ref())?;
    command.args(["-c", "1", "-W", "2", &place.ip().to_string()]);
    let output = command.output().context("ping (Debian's iputils-ping)")?;
    if !output.status.success() {
        bail!("ping {}: {}", place.ip(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
