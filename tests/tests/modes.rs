//! Modes of a namespace: who passes, what is told, with and without an engine, and switching while connections are open.

use anyhow::{Context, Result};
use weir_tests::agent::Agent;
use weir_tests::protocol::{Command, Dial, Request, Seen};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, Shop, eventually, smi};

/// Asks for a page; the status of the answer.
fn page(session: &mut Session, dial: &Dial, path: &str) -> Result<u16> {
    Ok(session.get(dial, &Request::get(path))?.status)
}

/// Says hello to the TCP server; whom that saw.
fn hello(session: &mut Session, dial: &Dial) -> Result<Seen> {
    let conn = session.must_open(dial)?;
    let seen = serde_json::from_str(&session.text(&Command::ReadLine(conn))?)?;
    session.run(&Command::Close(conn))?;
    Ok(seen)
}

fn audited(agent: &Agent) -> usize {
    agent.log().matches("would be refused").count()
}

/// By pod address and by Service, both families.
fn ways(store: &Pod, port: u16) -> [Dial; 4] {
    [store.v4(), STORE4, store.v6(), STORE6].map(|ip| Dial::to(ip, port))
}

#[test]
fn in_audit_everything_passes_and_what_lacks_a_rule_is_told() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.manifests.namespace("shop", Some("audit"))?;
    let agent = shop.mesh.agent_with(&["--log-format", "json"])?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    for dial in ways(&shop.store, HTTP) {
        assert_eq!(page(&mut thief, &dial, "/admin")?, 200, "{dial:?}");
    }
    for dial in ways(&shop.store, WHOAMI) {
        let seen = hello(&mut thief, &dial).with_context(|| format!("{dial:?}"))?;
        assert!([shop.thief.v4(), shop.thief.v6()].contains(&seen.peer.ip().to_canonical()));
    }
    let line = agent.wait_log(&["would be refused", "/admin", "\"audit\":true"])?;
    for word in [
        "\"source_identity\":\"shop/thief\"",
        "\"destination_identity\":\"shop/store\"",
        "\"port\":80",
        "\"method\":\"GET\"",
        "no TrafficTarget allows shop/thief to reach shop/store",
    ] {
        assert!(line.contains(word), "{word} is not in {line}");
    }
    agent.wait_log(&[
        "would be refused",
        "\"by\":\"kernel\"",
        "\"port\":9000",
        "\"audit\":true",
    ])?;

    // What is granted is not told, whoever decides it; what a rule allows in part is told for the rest.
    let before = agent.log().len();
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    assert_eq!(page(&mut buyer, &Dial::to(STORE4, HTTP), "/books/1")?, 200);
    hello(&mut buyer, &Dial::to(STORE4, WHOAMI))?;
    assert_eq!(page(&mut buyer, &Dial::to(STORE4, HTTP), "/admin")?, 200);
    agent.wait_log(&["would be refused", "shop/buyer", "allows no GET /admin"])?;
    let lines = agent.log()[before..].matches("would be refused").count();
    assert_eq!(lines, 1, "{}", &agent.log()[before..]);
    let metrics = agent.metrics()?;
    assert_eq!(metrics.sum("weir_engine_audited_request_total", &[]), 5.0);
    assert_eq!(metrics.sum("weir_engine_refused_request_total", &[]), 0.0);
    let lenient = metrics.sum(
        "weir_kernel_verdicts_total",
        &["hook=\"sk_lookup\"", "outcome=\"lenient\""],
    );
    assert_eq!(lenient, 4.0, "bytes go straight to a server that declares them");
    Ok(())
}

#[test]
fn in_permissive_everything_passes_and_nothing_is_told() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.manifests.namespace("shop", Some("permissive"))?;
    let agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    for dial in ways(&shop.store, HTTP) {
        assert_eq!(page(&mut thief, &dial, "/admin")?, 200, "{dial:?}");
    }
    for dial in ways(&shop.store, WHOAMI) {
        hello(&mut thief, &dial).with_context(|| format!("{dial:?}"))?;
    }
    let requests = agent.metrics()?.sum("weir_engine_requests_total", &[]);
    assert_eq!(requests, 4.0, "requests are seen and counted all the same");
    assert_eq!((audited(&agent), agent.log().matches("refused").count()), (0, 0));
    Ok(())
}

#[test]
fn clients_that_nobody_knows_reach_a_lenient_pod_and_no_other() -> Result<()> {
    for (mode, passes) in [("permissive", true), ("audit", true), ("enforce", false)] {
        let shop = Shop::open()?;
        let world = &shop.mesh.world;
        let stranger = world.remote_pod(&world.remote("far")?, "stranger")?;
        shop.mesh.manifests.namespace("shop", Some(mode))?;
        let agent = shop.mesh.agent()?;
        let mut stranger = shop.mesh.session(&stranger)?;
        for ip in [shop.store.v4(), shop.store.v6()] {
            if passes {
                assert_eq!(page(&mut stranger, &Dial::to(ip, HTTP), "/admin")?, 200, "{mode}");
                hello(&mut stranger, &Dial::to(ip, WHOAMI)).context(mode)?;
            } else {
                stranger.open(&Dial::to(ip, HTTP))?.refused()?;
                stranger.open(&Dial::to(ip, WHOAMI))?.refused()?;
            }
        }
        if mode == "audit" {
            agent.wait_log(&["would be refused", "/admin", "the source is no pod that is known"])?;
            agent.wait_log(&[
                "would be refused",
                "by=\"kernel\"",
                "the source is no pod that is known",
            ])?;
        }
    }
    Ok(())
}

#[test]
fn a_stranger_keeps_its_connection_while_unrelated_things_change() -> Result<()> {
    let shop = Shop::open()?;
    let world = &shop.mesh.world;
    let stranger = world.remote_pod(&world.remote("far")?, "stranger")?;
    shop.mesh.manifests.namespace("shop", Some("audit"))?;
    let agent = shop.mesh.agent()?;
    let mut stranger = shop.mesh.session(&stranger)?;
    let conn = stranger.must_open(&Dial::to(shop.store.v4(), HTTP))?;
    assert_eq!(stranger.http(conn, &Request::get("/a"))?.status, 200);
    let generation = agent.plan()?["generation"].as_u64();
    shop.mesh.manifests.namespace("other", None)?;
    eventually("a new plan", || Ok(agent.plan()?["generation"].as_u64() != generation))?;
    assert_eq!(stranger.http(conn, &Request::get("/b"))?.status, 200);
    // Enforced, it is somebody without any grant.
    shop.mesh.manifests.namespace("shop", Some("enforce"))?;
    eventually("the stranger's connection ends", || {
        Ok(stranger.http(conn, &Request::get("/c"))?.errno != 0)
    })?;
    Ok(())
}

#[test]
fn the_mode_of_the_server_counts_and_not_that_of_the_client() -> Result<()> {
    let mut mesh = Mesh::new()?;
    for mode in ["enforce", "audit", "permissive"] {
        mesh.manifests.namespace(mode, Some(mode))?;
    }
    let mut pods = Vec::new();
    for mode in ["enforce", "audit", "permissive"] {
        let server = mesh.server_in(&format!("at-{mode}"), mode)?;
        pods.push((mode, server));
    }
    let _agent = mesh.agent()?;
    for (client_mode, client) in &pods {
        let mut session = mesh.session(client)?;
        for (server_mode, server) in pods.iter().filter(|(mode, _)| mode != client_mode) {
            for port in [HTTP, WHOAMI] {
                let opened = session.open(&Dial::to(server.v4(), port))?;
                let what = format!("{client_mode} to {server_mode}:{port}");
                match *server_mode {
                    "enforce" => opened.refused().context(what)?,
                    _ => assert!(opened.conn.is_some(), "{what}: {opened:?}"),
                }
            }
        }
    }
    Ok(())
}

#[test]
fn without_an_agent_a_lenient_namespace_is_reached_and_an_enforced_one_is_not() -> Result<()> {
    for mode in ["audit", "permissive"] {
        let shop = Shop::open()?;
        let world = &shop.mesh.world;
        let stranger = world.remote_pod(&world.remote("far")?, "stranger")?;
        shop.mesh.manifests.namespace("shop", Some(mode))?;
        let mut agent = shop.mesh.agent()?;
        agent.kill()?;
        let mut thief = shop.mesh.session(&shop.thief)?;
        for dial in ways(&shop.store, HTTP) {
            assert_eq!(page(&mut thief, &dial, "/admin")?, 200, "{mode}, {dial:?}");
        }
        for dial in ways(&shop.store, WHOAMI) {
            hello(&mut thief, &dial).with_context(|| format!("{mode}, {dial:?}"))?;
        }
        // Partly granted HTTP, too, which only the engine could judge.
        let mut buyer = shop.mesh.session(&shop.buyer)?;
        assert_eq!(page(&mut buyer, &Dial::to(STORE4, HTTP), "/books/1")?, 200, "{mode}");
        let mut stranger = shop.mesh.session(&stranger)?;
        assert_eq!(
            page(&mut stranger, &Dial::to(shop.store.v4(), HTTP), "/")?,
            200,
            "{mode}"
        );
        agent.run()?;
        shop.mesh.manifests.namespace("shop", Some("enforce"))?;
        eventually("the mode is in force", || {
            Ok(thief.open(&Dial::to(shop.store.v4(), HTTP))?.conn.is_none())
        })?;
        agent.kill()?;
        thief.open(&Dial::to(shop.store.v4(), HTTP))?.refused()?;
        stranger.open(&Dial::to(shop.store.v4(), HTTP))?.refused()?;
    }
    Ok(())
}

#[test]
fn a_split_works_in_lenient_namespaces_with_and_without_an_engine() -> Result<()> {
    for mode in ["audit", "permissive"] {
        let mut mesh = Mesh::new()?;
        let thief = mesh.client("thief")?;
        for version in ["store-v1", "store-v2"] {
            mesh.server(version)?;
            mesh.service(version, version, &[])?;
        }
        mesh.service("store", "nobody", &[&STORE4.to_string()])?;
        let backends = [("store-v1", 50), ("store-v2", 50)];
        mesh.manifests
            .write("split", &smi::split("store", "store", &backends))?;
        mesh.manifests.namespace("shop", Some(mode))?;
        let mut agent = mesh.agent()?;
        let mut session = mesh.session(&thief)?;
        for engine in [true, false] {
            if !engine {
                agent.kill()?;
            }
            let called = session.call_fresh(&Dial::to(STORE4, HTTP), &Request::get("/x"), 60)?;
            assert!(called.responses.iter().all(|response| response.status == 200));
            let first = called
                .responses
                .iter()
                .filter(|response| response.server() == "store-v1");
            let first = first.count();
            assert!(
                (10..=50).contains(&first),
                "{mode}, engine {engine}: {first} of 60 to the first"
            );
        }
    }
    Ok(())
}

#[test]
fn switching_to_enforce_ends_what_no_rule_allows_and_nothing_else() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.manifests.namespace("shop", Some("permissive"))?;
    let _agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for at in 0..50 {
        // By turns the kernel's and the engine's.
        let (port, path) = if at % 2 == 0 { (SINK, "") } else { (HTTP, "/books/1") };
        for (session, conns) in [(&mut buyer, &mut kept), (&mut thief, &mut lost)] {
            let conn = session.must_open(&Dial::to(shop.store.v4(), port))?;
            if port == HTTP {
                assert_eq!(session.http(conn, &Request::get(path))?.status, 200);
            } else {
                session.stream(&Command::SendPattern { conn, len: 100 })?;
            }
            conns.push((port, conn));
        }
    }
    // Enforce and back, and what is allowed sees nothing of either.
    for mode in ["enforce", "audit", "enforce", "permissive"] {
        shop.mesh.manifests.namespace("shop", Some(mode))?;
        eventually("the mode is in force", || {
            let opened = thief.open(&Dial::to(shop.store.v4(), WHOAMI))?;
            if let Some(conn) = opened.conn {
                thief.run(&Command::Close(conn))?;
            }
            Ok(opened.conn.is_none() == (mode == "enforce"))
        })?;
        if mode == "enforce" {
            for (port, conn) in lost.drain(..) {
                let what = format!("the thief's connection to {port} ends");
                eventually(&what, || {
                    Ok(match port {
                        HTTP => thief.http(conn, &Request::get("/books/1"))?.errno != 0,
                        _ => thief
                            .stream(&Command::SendPattern { conn, len: 100 })
                            .map_or(true, |stream| stream.errno != 0),
                    })
                })?;
            }
        }
        for (port, conn) in &kept {
            match *port {
                HTTP => assert_eq!(buyer.http(*conn, &Request::get("/books/2"))?.status, 200, "{mode}"),
                _ => {
                    let sent = buyer.stream(&Command::SendPattern { conn: *conn, len: 100 })?;
                    assert_eq!(sent.errno, 0, "{mode}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn switching_to_audit_disturbs_nothing_and_lets_pass_at_once() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let page = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    assert_eq!(buyer.http(page, &Request::get("/admin"))?.status, 403);
    let sink = buyer.must_open(&Dial::to(STORE4, SINK))?;
    buyer.run(&Command::Pump(sink))?;
    thief.open(&Dial::to(STORE4, HTTP))?.refused()?;
    shop.mesh.manifests.namespace("shop", Some("audit"))?;
    eventually("the mode is in force", || {
        Ok(thief.open(&Dial::to(STORE4, HTTP))?.conn.is_some())
    })?;
    assert_eq!(
        buyer.http(page, &Request::get("/admin"))?.status,
        200,
        "the same connection"
    );
    assert_eq!(buyer.pumped(sink)?.ended, 0);
    agent.wait_log(&["would be refused", "shop/buyer"])?;
    Ok(())
}
