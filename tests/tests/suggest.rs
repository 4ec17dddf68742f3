//! From mode audit to policy: what was let pass is written down by `weir suggest`, and enforced it allows just that.

use std::net::SocketAddr;
use std::process::Stdio;

use anyhow::{Context, Result};
use weir_tests::agent::Agent;
use weir_tests::protocol::{Command, Dial, Request, Udp};
use weir_tests::server::{HTTP, OTHER_UDP, SINK, UDP, WHOAMI};
use weir_tests::world::Pod;
use weir_tests::{Datagrams, Mesh, Session, eventually, exec};

/// What is asked in audit, and has to pass again when it is enforced.
const ASKED: &[(&str, &str)] = &[
    ("GET", "/books/1"),
    ("HEAD", "/books/1"),
    ("POST", "/orders(new)"),
    ("GET", "/a.b/c"),
];
/// What was not asked, and must not pass.
const NOT_ASKED: &[(&str, &str)] = &[
    ("DELETE", "/books/1"),
    ("GET", "/books/2"),
    ("GET", "/books/1/2"),
    ("GET", "/orders(new)"),
    ("GET", "/axb/c"),
    ("GET", "/"),
];

fn status(session: &mut Session, store: &Pod, (method, path): (&str, &str)) -> Result<u16> {
    Ok(session
        .get(&Dial::to(store.v4(), HTTP), &Request::new(method, path))?
        .status)
}

/// The policy that the log suggests.
fn suggested(agent: &Agent) -> Result<String> {
    let mut command = std::process::Command::new(exec::weir()?);
    command.arg("suggest").arg(agent.log_file()).stderr(Stdio::piped());
    let output = exec::run(&mut command)?;
    String::from_utf8(output.stdout).context("UTF-8")
}

fn round_trip(args: &[&str]) -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, thief, store) = (mesh.client("buyer")?, mesh.client("thief")?, mesh.server("store")?);
    mesh.service("store", "store", &["10.96.0.10"])?;
    mesh.manifests.namespace("shop", Some("audit"))?;
    let agent = mesh.agent_with(args)?;
    let (mut buyer, mut thief) = (mesh.session(&buyer)?, mesh.session(&thief)?);
    for asked in ASKED {
        assert_eq!(status(&mut buyer, &store, *asked)?, 200, "{asked:?}");
    }
    let conn = buyer.must_open(&Dial::to(store.v4(), WHOAMI))?;
    buyer.text(&Command::ReadLine(conn))?;
    let lines = ASKED.len() + 1;
    let told = || {
        let log = agent.log();
        let of_buyer = |line: &&str| line.contains("would be refused") && line.contains("shop/buyer");
        log.lines().filter(of_buyer).count()
    };
    eventually("all of it is in the log", || Ok(told() == lines))?;

    let policy = suggested(&agent)?;
    println!("{policy}");
    mesh.manifests.write("suggested", &policy)?;
    mesh.manifests.namespace("shop", Some("enforce"))?;
    eventually("the mode is in force", || {
        Ok(thief.open(&Dial::to(store.v4(), WHOAMI))?.conn.is_none())
    })?;
    assert!(
        !agent.log().contains("something is wrong") && !agent.log().contains("hardly as meant"),
        "{}",
        agent.log()
    );
    for asked in ASKED {
        assert_eq!(status(&mut buyer, &store, *asked)?, 200, "{asked:?}");
    }
    for not_asked in NOT_ASKED {
        assert_eq!(status(&mut buyer, &store, *not_asked)?, 403, "{not_asked:?}");
    }
    let conn = buyer.must_open(&Dial::to(store.v4(), WHOAMI))?;
    buyer.text(&Command::ReadLine(conn))?;
    buyer.open(&Dial::to(store.v4(), SINK))?.refused()?;
    for port in [HTTP, WHOAMI, SINK] {
        thief.open(&Dial::to(store.v4(), port))?.refused()?;
    }
    // What is allowed now is not told any more.
    assert_eq!(told(), lines);
    Ok(())
}

#[test]
fn policy_made_from_a_json_log_allows_just_what_was_let_pass() -> Result<()> {
    round_trip(&["--log-format", "json"])
}

#[test]
fn policy_made_from_a_text_log_allows_just_what_was_let_pass() -> Result<()> {
    round_trip(&["--log-format", "text"])
}

#[test]
fn datagrams_that_audit_let_pass_are_allowed_by_what_it_suggests_and_no_others() -> Result<()> {
    let udp = Datagrams::new()?;
    udp.mesh.manifests.namespace("shop", Some("audit"))?;
    let agent = udp.mesh.agent()?;
    let mut thief = udp.mesh.session(&udp.thief)?;
    let place = SocketAddr::new(udp.store.v4(), UDP);
    let socket = thief.udp(&Udp::of(place.ip()))?;
    thief.udp_ask(socket, Some(place), "hello").context("in audit")?;
    agent.wait_log(&["would be refused", "shop/thief", "udp"])?;
    let policy = suggested(&agent)?;
    assert!(policy.contains("kind: UDPRoute"), "{policy}");
    udp.mesh.manifests.write("suggested", &policy)?;
    udp.mesh.manifests.namespace("shop", Some("enforce"))?;
    let other = SocketAddr::new(udp.store.v4(), OTHER_UDP);
    eventually("the mode is in force", || {
        Ok(thief.udp_open(&Udp::to(other))?.conn.is_none())
    })?;
    let socket = thief.udp(&Udp::of(place.ip()))?;
    thief.udp_ask(socket, Some(place), "again").context("enforced")?;
    thief.open(&Dial::to(udp.store.v4(), UDP))?.refused()?;
    Ok(())
}
