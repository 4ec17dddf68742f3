//! Full tables: what does not fit is refused and said, what fits works, nothing opens, and room that comes is used; the
//! column Full of docs/kernel.md, map by map. And a full log: counts stay exact, and others are still heard.

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_tests::pins::Pins;
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, PORTS, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::{Agent, Mesh, Pod, Session, Shop, eventually};

const OTHER4: &str = "10.96.0.11";

#[test]
fn grants_that_do_not_fit_are_refused_and_all_others_hold() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let store = mesh.server("store")?;
    let names = ["anna", "bert", "carl", "dora", "emil"];
    let pods: Vec<Pod> = names.iter().map(|name| mesh.client(name)).collect::<Result<_>>()?;
    // One entry each.
    for name in ["anna", "bert", "carl"] {
        mesh.grant_tcp(name, "store", &[])?;
    }
    mesh.grant_http("dora", "store", "/")?;
    let thief = mesh.client("thief")?;
    let agent = mesh.agent_with(&["--max-policy-entries", "3"])?;
    let mut sessions: Vec<Session> = pods.iter().map(|pod| mesh.session(pod)).collect::<Result<_>>()?;
    let mut thief = mesh.session(&thief)?;
    let mut served = |thief: &mut Session| -> Result<Vec<&str>> {
        let mut served = Vec::new();
        for (name, session) in names.iter().zip(&mut sessions) {
            if works(session, store.v4(), *name == "dora")? {
                served.push(*name);
            }
        }
        closed(thief, &store)?;
        Ok(served)
    };

    let first = served(&mut thief)?;
    assert_eq!(first.len(), 3, "as many as there is room for: {first:?}");
    full(&agent, &mesh, "POLICY", 3)?;
    // Tried again every second, and said once.
    let failures = agent
        .metrics()?
        .sum("weir_kernel_map_failures_total", &["map=\"POLICY\""]);
    eventually("it is tried again", || {
        Ok(agent
            .metrics()?
            .sum("weir_kernel_map_failures_total", &["map=\"POLICY\""])
            > failures)
    })?;
    assert_eq!(served(&mut thief)?, first, "the same ones");
    let lines = agent.log().lines().filter(|line| line.contains("map POLICY")).count();
    assert_eq!(lines, 1, "one line for all that time\n{}", agent.log());

    // A grant that goes is gone at once, however full the table is; its room is for the one that waits.
    let gone = first[0];
    mesh.manifests
        .remove(&format!("{}-{gone}", if gone == "dora" { "http" } else { "tcp" }))?;
    eventually("the one that waited is served", || {
        let now = served(&mut thief)?;
        Ok(now.len() == 3 && !now.contains(&gone))
    })?;
    eventually("and nothing is wrong any more", || {
        Ok(agent.plan()?["problems"] == serde_json::json!([]))
    })?;
    // One more than fits again, then room by another agent.
    mesh.grant_tcp("emil", "store", &[])?;
    eventually("full again", || {
        Ok(agent.plan()?["problems"].to_string().contains("POLICY"))
    })?;
    assert_eq!(served(&mut thief)?.len(), 3);
    drop(agent);
    let _agent = mesh.agent()?;
    assert_eq!(served(&mut thief)?.len(), 4);
    Ok(())
}

#[test]
fn an_address_that_does_not_fit_is_nobodys_and_refuses_everybody() -> Result<()> {
    let shop = Shop::open()?;
    let manifest = fs::read_to_string(shop.mesh.manifests.path("pod-store"))?;
    shop.mesh.manifests.remove("pod-store")?;
    // Two addresses each of buyer and thief, and one of the store's.
    let agent = shop.mesh.agent_with(&["--max-peers", "5"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    shop.mesh.manifests.write("pod-store", &manifest)?;
    full(&agent, &shop.mesh, "PEERS", 5)?;
    let by_address = [
        works(&mut buyer, shop.store.v4(), false)?,
        works(&mut buyer, shop.store.v6(), false)?,
    ];
    assert_ne!(by_address[0], by_address[1], "one address fits");
    closed(&mut thief, &shop.store)?;
    shop.mesh.manifests.remove("pod-thief")?;
    eventually("with room for both all is served", || {
        all_served(&mut buyer, &shop.store)
    })?;
    closed(&mut thief, &shop.store)
}

#[test]
fn a_pod_that_does_not_fit_is_not_captured_and_servers_refuse_it() -> Result<()> {
    let shop = Shop::open()?;
    let thief_manifest = fs::read_to_string(shop.mesh.manifests.path("pod-thief"))?;
    shop.mesh.manifests.remove("pod-thief")?;
    let agent = shop.mesh.agent_with(&["--max-pods", "2"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    closed(&mut thief, &shop.store).context("unknown")?;
    shop.mesh.manifests.write("pod-thief", &thief_manifest)?;
    full(&agent, &shop.mesh, "PODS", 2)?;
    closed(&mut thief, &shop.store).context("known, without room")?;
    assert!(all_served(&mut buyer, &shop.store)?, "those that fit");
    shop.mesh.manifests.remove("pod-buyer")?;
    eventually("the room is used", || {
        Ok(agent.plan()?["problems"] == serde_json::json!([]))
    })?;
    closed(&mut thief, &shop.store).context("known, with room")
}

#[test]
fn a_server_that_does_not_fit_is_judged_on_arrival_all_the_same() -> Result<()> {
    let shop = Shop::open()?;
    let manifest = fs::read_to_string(shop.mesh.manifests.path("pod-store"))?;
    shop.mesh.manifests.remove("pod-store")?;
    let agent = shop.mesh.agent_with(&["--max-pods", "2"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    shop.mesh.manifests.write("pod-store", &manifest)?;
    full(&agent, &shop.mesh, "PODS", 2)?;
    closed(&mut thief, &shop.store)?;
    for ip in [STORE4, shop.store.v4(), shop.store.v6()] {
        assert!(works(&mut buyer, ip, false)?, "what is granted, at {ip}");
    }
    shop.mesh.manifests.remove("pod-thief")?;
    eventually("with room it serves", || all_served(&mut buyer, &shop.store))?;
    closed(&mut thief, &shop.store)
}

#[test]
fn a_service_that_does_not_fit_is_not_translated_and_opens_nothing() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.service("other", "store", &[OTHER4])?;
    // Six ports, three addresses: two of them fit.
    let agent = shop.mesh.agent_with(&["--max-services", "12"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    full(&agent, &shop.mesh, "SERVICES", 12)?;
    assert_eq!(reached(&mut buyer)?, 12, "as many as there is room for");
    assert!(works(&mut buyer, shop.store.v4(), false)? && works(&mut buyer, shop.store.v4(), true)?);
    closed(&mut thief, &shop.store)?;
    shop.mesh.manifests.remove("service-other")?;
    eventually("with room it is translated", || all_served(&mut buyer, &shop.store))?;
    closed(&mut thief, &shop.store)
}

#[test]
fn a_service_whose_endpoints_do_not_fit_refuses() -> Result<()> {
    let shop = Shop::open()?;
    shop.mesh.service("other", "store", &[OTHER4])?;
    // One endpoint each for six ports on three addresses.
    let agent = shop.mesh.agent_with(&["--max-endpoints", "12"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    full(&agent, &shop.mesh, "SLOTS", 12)?;
    assert_eq!(reached(&mut buyer)?, 12, "as many as there is room for");
    assert!(works(&mut buyer, shop.store.v4(), false)? && works(&mut buyer, shop.store.v4(), true)?);
    closed(&mut thief, &shop.store)?;
    shop.mesh.manifests.remove("service-other")?;
    eventually("with room it serves", || all_served(&mut buyer, &shop.store))?;
    closed(&mut thief, &shop.store)
}

#[test]
fn a_flood_of_refusals_is_counted_exactly_and_hides_nobody_elses() -> Result<()> {
    let mut shop = Shop::open()?;
    let other = shop.mesh.client("other-thief")?;
    let agent = shop.mesh.agent()?;
    let (mut thief, mut other) = (shop.mesh.session(&shop.thief)?, shop.mesh.session(&other)?);
    let start = Instant::now();
    let flood = |dial: Dial, count| Command::Churn {
        dial,
        count,
        request: None,
    };
    // The same again and again, and every time another port, which is another kind of line.
    thief.begin(&flood(Dial::to(shop.store.v4(), WHOAMI), 6000))?;
    for port in 10_000..12_000 {
        thief.begin(&flood(Dial::to(shop.store.v6(), port), 1))?;
    }
    other.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    agent.wait_log(&["refused", "source_pod=\"shop/other-thief\"", "port=9000"])?;
    for _ in 0..2001 {
        let Answer::Churned {
            opened: 0,
            error: Some(_),
            ..
        } = thief.answer()?
        else {
            panic!("a refused connection opened")
        };
    }
    let metrics = agent.metrics()?;
    let denied = metrics.sum("weir_kernel_verdicts_total", &["hook=\"connect\"", "outcome=\"deny\""]);
    assert_eq!(denied, 8001.0, "counted exactly");
    assert!(
        metrics.sum("weir_kernel_verdicts_total", &["outcome=\"suppressed\""]) > 0.0,
        "it was a flood"
    );
    // What was held back comes with the next report, once the pod may report again.
    thread::sleep(Duration::from_millis(1100));
    thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    eventually("the log knows of every one", || {
        Ok(agent.metrics()?.sum("weir_refusals_total", &[]) == 8002.0)
    })
    .with_context(|| {
        format!(
            "{}",
            agent
                .metrics()
                .map_or(0.0, |metrics| metrics.sum("weir_refusals_total", &[]))
        )
    })?;
    let lines = agent.log().lines().filter(|line| line.contains("shop/thief")).count() as u64;
    let bound = 64 * (start.elapsed().as_secs() + 2);
    assert!(
        lines <= bound,
        "{lines} lines of one pod in {} s",
        start.elapsed().as_secs()
    );
    Ok(())
}

/// Whether the client gets in; an error where it neither is served nor refused at once.
fn works(session: &mut Session, ip: IpAddr, http: bool) -> Result<bool> {
    if !http {
        let opened = session.open(&Dial::to(ip, WHOAMI))?;
        if opened.errno != 0 {
            opened.refused()?;
        }
        return Ok(opened.errno == 0);
    }
    let called = session.call(&Dial::to(ip, HTTP), &Request::get("/books"), 1)?;
    match called.responses.first() {
        None => called.opened.refused().map(|()| false),
        Some(response) => Ok(response.status == 200),
    }
}

/// By both addresses of the store and by its Service, plain TCP and HTTP.
fn all_served(buyer: &mut Session, store: &Pod) -> Result<bool> {
    for ip in [store.v4(), store.v6(), STORE4] {
        for port in [WHOAMI, HTTP] {
            if buyer.open(&Dial::to(ip, port).timeout_ms(300))?.errno != 0 {
                return Ok(false);
            }
        }
    }
    works(buyer, STORE4, true)
}

/// How many addresses and ports of the Services let the client in.
fn reached(buyer: &mut Session) -> Result<usize> {
    let mut reached = 0;
    for ip in [STORE4, STORE6, OTHER4.parse()?] {
        for (_, port) in PORTS {
            reached += usize::from(buyer.open(&Dial::to(ip, *port).timeout_ms(300))?.errno == 0);
        }
    }
    Ok(reached)
}

/// A client without a grant gets nowhere, by pod address at once.
fn closed(thief: &mut Session, store: &Pod) -> Result<()> {
    for port in [WHOAMI, HTTP] {
        for ip in [store.v4(), store.v6()] {
            thief
                .open(&Dial::to(ip, port))?
                .refused()
                .with_context(|| format!("the thief at {ip}:{port}"))?;
        }
        let dial = Dial::to(STORE4, port).timeout_ms(100);
        if thief.open(&dial)?.errno == 0 {
            bail!("the thief got in by the Service's port {port}");
        }
    }
    Ok(())
}

/// Waits until the agent says by `/plan`, metrics and log that this map is full; it holds `entries` then.
fn full(agent: &Agent, mesh: &Mesh, map: &str, entries: usize) -> Result<()> {
    let setting = match map {
        "PODS" => "--max-pods",
        "PEERS" => "--max-peers",
        "POLICY" => "--max-policy-entries",
        "SERVICES" => "--max-services",
        _ => "--max-endpoints",
    };
    let line = agent.wait_log(&["ERROR", &format!("map {map}"), "full", setting])?;
    eventually(&format!("{map} is said to be full"), || {
        let problems = agent.plan()?["problems"].to_string();
        Ok(problems.contains(&format!("map {map}")) && problems.contains("full"))
    })
    .context(line)?;
    let failed = agent
        .metrics()?
        .sum("weir_kernel_map_failures_total", &[&format!("map=\"{map}\"")]);
    assert!(failed >= 1.0, "{map} failed {failed} times");
    thread::sleep(Duration::from_millis(10));
    assert_eq!(Pins::of(&mesh.world).entries(map)?, entries, "{map} holds what fits");
    assert_eq!(agent.plan()?["tables"][map]["entries"], entries, "and /plan says so");
    Ok(())
}
