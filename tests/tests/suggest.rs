//! From mode audit to policy: what was let pass is written down by `weir suggest`, and enforced it allows just that.

use std::process::Stdio;

use anyhow::{Context, Result};
use weir_tests::agent::Agent;
use weir_tests::protocol::{Command, Dial, Request};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, eventually, exec};

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
