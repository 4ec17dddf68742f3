//! The harness on its own: what a world does without the agent. A fault here would make every other suite lie.

use std::path::Path;

use anyhow::{Context, Result};
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, RESET, SINK, SOURCE, WHOAMI};
use weir_tests::{Mesh, World, exec, netns, pattern, world};

#[test]
fn pods_reach_each_other_over_both_families_and_see_real_addresses() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    for (dial, address) in [
        (Dial::to(server.v4(), HTTP), client.v4()),
        (Dial::to(server.v6(), HTTP), client.v6()),
        (Dial::to(server.v4(), HTTP).mapped(), client.v4()),
        (Dial::to(server.v4(), HTTP).nonblocking(), client.v4()),
        (Dial::to(server.v4(), HTTP).bind(client.v4(), 4000), client.v4()),
        (Dial::to(server.v4(), HTTP).device("eth0"), client.v4()),
        (Dial::to(server.v4(), HTTP).mptcp(), client.v4()),
    ] {
        let seen = session.get(&dial, &Request::get("/a?b=c"))?.seen()?;
        assert_eq!(seen.path, "/a?b=c");
        assert_eq!(seen.peer.ip().to_canonical(), address, "{dial:?}");
        assert_eq!(seen.accepted, seen.peer);
    }
    Ok(())
}

#[test]
fn bodies_arrive_whole_both_ways() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    let dial = Dial::to(server.v4(), HTTP);
    let expected = pattern::sum(3_000_001);
    for request in [
        Request::new("POST", "/").body(expected.len),
        Request::new("POST", "/").body(expected.len).chunked(),
        Request {
            expect: true,
            ..Request::new("POST", "/").body(expected.len)
        },
    ] {
        let response = session.get(&dial, &request)?;
        let seen = response.seen()?;
        assert_eq!((seen.len, seen.sum), (expected.len, expected.sum));
        assert_eq!(response.interim, if request.expect { vec![100] } else { vec![] });
    }
    for path in ["/bytes/3000001", "/chunked/3000001"] {
        let response = session.get(&dial, &Request::get(path))?;
        assert_eq!((response.len, response.sum), (expected.len, expected.sum), "{path}");
    }
    let head = session.get(&dial, &Request::new("HEAD", "/bytes/7"))?;
    assert_eq!((head.header("content-length"), head.len), (Some("7"), 0));
    Ok(())
}

#[test]
fn plain_tcp_servers_tell_ends_from_resets() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    let sink = session.must_open(&Dial::to(server.v4(), SINK))?;
    let sent = session.stream(&Command::SendPattern {
        conn: sink,
        len: 100_000,
    })?;
    session.run(&Command::ShutdownWrite(sink))?;
    let answer: weir_tests::protocol::Stream = serde_json::from_str(&session.text(&Command::ReadLine(sink))?)?;
    assert_eq!((answer.len, answer.sum, answer.fin), (100_000, sent.sum, true));

    let source = session.must_open(&Dial::to(server.v4(), SOURCE))?;
    session.stream(&Command::Send {
        conn: source,
        text: "100000\n".to_string(),
    })?;
    let received = session.stream(&Command::Read {
        conn: source,
        len: None,
    })?;
    assert_eq!((received.sum, received.fin), (sent.sum, true));

    let reset = session.must_open(&Dial::to(server.v4(), RESET))?;
    session.stream(&Command::Send {
        conn: reset,
        text: "x\n".to_string(),
    })?;
    let received = session.stream(&Command::Read { conn: reset, len: None })?;
    assert_eq!((received.fin, received.errno), (false, libc::ECONNRESET));

    let whoami = session.must_open(&Dial::to(server.v4(), WHOAMI))?;
    session.text(&Command::ReadLine(whoami))?;
    session.run(&Command::Reset(whoami))?;
    assert_eq!(mesh.server_of(&server)?.wait_ended("whoami")?.errno, libc::ECONNRESET);
    Ok(())
}

#[test]
fn a_syn_by_hand_is_answered_as_the_port_says() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    for (from, to) in [(client.v4(), server.v4()), (client.v6(), server.v6())] {
        for (port, expected) in [(HTTP, "syn-ack"), (81, "rst")] {
            let syn = Command::Syn {
                from: (from, 4001).into(),
                to: (to, port).into(),
                wait_ms: 1000,
            };
            assert_eq!(session.text(&syn)?, expected, "{to}:{port}");
        }
    }
    Ok(())
}

#[test]
fn pods_of_another_node_are_reached_through_it() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let server = mesh.server("server")?;
    let remote = mesh.world.remote("node-b")?;
    let client = mesh.remote_client(&remote, "far")?;
    let mut session = mesh.session(&client)?;
    for (to, from) in [(server.v4(), client.v4()), (server.v6(), client.v6())] {
        let seen = session.get(&Dial::to(to, HTTP), &Request::get("/"))?.seen()?;
        assert_eq!(seen.peer.ip().to_canonical(), from);
    }
    Ok(())
}

#[test]
fn another_sk_lookup_program_takes_connections_to_any_port() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    let closed = Dial::to(server.v4(), 81);
    assert_eq!(session.open(&closed)?.errno, libc::ECONNREFUSED);
    mesh.server_of(&server)?.hijack("http")?;
    assert_eq!(session.get(&closed, &Request::get("/"))?.status, 200);
    Ok(())
}

#[test]
fn a_pump_counts_and_a_churn_closes() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (client, server) = (mesh.client("client")?, mesh.server("server")?);
    let mut session = mesh.session(&client)?;
    let conn = session.must_open(&Dial::to(server.v4(), WHOAMI))?;
    session.text(&Command::ReadLine(conn))?;
    session.run(&Command::Pump(conn))?;
    weir_tests::eventually("the pump runs", || Ok(session.pumped(conn)?.rounds > 10))?;
    mesh.stop_server(&server);
    weir_tests::eventually("the pump ends with its server", || Ok(session.pumped(conn)?.ended != 0))?;

    mesh.serve(&server)?;
    let churn = Command::Churn {
        dial: Dial::to(server.v4(), HTTP),
        count: 100,
        request: Some(Request::get("/")),
    };
    let Answer::Churned { opened, served, error } = session.run(&churn)? else {
        panic!("not a churn")
    };
    assert_eq!((opened, served, error), (100, 100, None));
    Ok(())
}

#[test]
fn nothing_is_left_of_a_world() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let pod = mesh.server("server")?;
    let id = mesh.world.id().to_string();
    let group = pod.cgroup.clone();
    let pid = mesh.session(&pod)?.pid();
    drop(mesh);
    assert_eq!(netns::list(&format!("{id}-"))?, Vec::<String>::new());
    assert!(!group.exists() && !Path::new("/proc").join(pid.to_string()).exists());
    assert!(!world::janitor::worlds()?.contains(&id));
    Ok(())
}

#[test]
fn the_janitor_removes_the_worlds_of_a_process_that_was_killed() -> Result<()> {
    let mut child = std::process::Command::new(weir_tests::exec::testapp()?)
        .arg("hold")
        .spawn()?;
    let prefix = format!("{}{}-", world::PREFIX, child.id());
    weir_tests::eventually("the child has its world", || Ok(netns::list(&prefix)?.len() == 2))?;
    child.kill()?;
    child.wait()?;
    weir_tests::eventually("the janitor has cleaned up", || {
        Ok(netns::list(&prefix)?.is_empty() && world::cgroup::list(&prefix)?.is_empty())
    })?;
    Ok(())
}

#[test]
fn a_process_of_a_pod_blocks_no_signals_whatever_its_parent_blocks() -> Result<()> {
    let world = World::new()?;
    let pod = world.pod("pod")?;
    let output = std::thread::spawn(move || {
        // SAFETY: an all-zero sigset_t is a valid value; it lives through the calls. The mask is this thread's only.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigaddset(&mut set, libc::SIGTERM);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        }
        exec::run(pod.command(Path::new("/bin/cat"))?.arg("/proc/self/status"))
    });
    let output = output.join().expect("the thread")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let blocked = text
        .lines()
        .find_map(|line| line.strip_prefix("SigBlk:"))
        .context("SigBlk")?;
    assert_eq!(blocked.trim(), "0000000000000000");
    Ok(())
}
