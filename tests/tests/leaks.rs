//! Many of everything: thousands of connections, pods that come and go. All are served, and nothing is left behind.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_tests::pins::Pins;
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::{Agent, Mesh, Pod, Session, Shop, eventually, netns, smi, wait};

/// A Service whose connections all go through the engine.
const ENGINE4: &str = "10.96.0.30";
/// Idle connections to servers that the engine may keep, and what the runtime opens on the way.
const SPARE: usize = 80;
/// Memory that allocators keep and pools grow to.
const SPARE_KIB: u64 = 12 * 1024;
/// Maps whose entries are counted in the kernel.
const MAPS: [&str; 7] = ["PODS", "PEERS", "POLICY", "SERVICES", "ORIGINS", "BUDGETS", "LISTENERS"];

/// What an agent holds.
#[derive(Clone, Debug)]
struct Held {
    descriptors: usize,
    memory_kib: u64,
    entries: Vec<usize>,
    links: usize,
}

impl Held {
    fn by(agent: &Agent, mesh: &Mesh) -> Result<Held> {
        let pins = Pins::of(&mesh.world);
        Ok(Held {
            descriptors: agent.descriptors()?,
            memory_kib: agent.memory_kib()?,
            entries: MAPS.iter().map(|map| pins.entries(map)).collect::<Result<_>>()?,
            links: pins.links()?.len(),
        })
    }

    /// Waits until no more is held than before.
    fn settles(&self, agent: &Agent, mesh: &Mesh, spare: usize) -> Result<()> {
        let now = wait::until(Duration::from_secs(15), || {
            let now = Held::by(agent, mesh)?;
            let entries = now.entries.iter().zip(&self.entries).all(|(now, before)| now <= before);
            if !entries || now.links > self.links || now.descriptors > self.descriptors + spare {
                bail!("{now:?} is more than {self:?}");
            }
            Ok(now)
        })?;
        assert!(
            now.memory_kib < self.memory_kib + SPARE_KIB,
            "{now:?} is more than {self:?}"
        );
        println!("before {self:?}\nafter  {now:?}");
        Ok(())
    }
}

#[test]
fn ten_thousand_connections_leave_nothing_behind() -> Result<()> {
    let shop = Shop::open()?;
    through_the_engine(&shop.mesh)?;
    let agent = shop.mesh.agent()?;
    let mut sessions = [shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.buyer)?];
    // As many before as after: what pools and allocators keep is there then, and a leak would be as large again.
    churn(&mut sessions, 1000)?;
    let pods = [&shop.buyer, &shop.store];
    let in_use = || pods.iter().map(|pod| sockets(pod)).sum::<Result<usize>>();
    let pins = Pins::of(&shop.mesh.world);
    let drained = || {
        eventually("no captured connection is still noted", || {
            Ok(pins.inner_entries("ORIGINS")? == 0)
        })
    };
    drained()?;
    let (before, sockets_before) = (Held::by(&agent, &shop.mesh)?, in_use()?);
    let took = Instant::now();
    // Five kinds, two clients.
    churn(&mut sessions, 1000)?;
    println!("10,000 connections in {} ms", took.elapsed().as_millis());
    before.settles(&agent, &shop.mesh, SPARE)?;
    drained()?;
    eventually("sockets in the pods are closed", || {
        Ok(in_use()? <= sockets_before + SPARE)
    })?;
    eventually("and the engine counts none", || {
        Ok(agent.metrics()?.sum("weir_engine_open", &[]) == 0.0)
    })?;
    Ok(())
}

#[test]
fn two_thousand_open_connections_through_the_engine_are_all_served() -> Result<()> {
    let shop = Shop::open()?;
    through_the_engine(&shop.mesh)?;
    let agent = shop.mesh.agent()?;
    let started = Held::by(&agent, &shop.mesh)?;
    hold_two_thousand(&shop, &agent)?;
    let held = agent.memory_kib()?.saturating_sub(started.memory_kib);
    println!("2,000 connections: {held} KiB");
    assert!(held < 2000 * 64, "{held} KiB for 2,000 connections");
    // The same again needs no more.
    let before = Held {
        memory_kib: agent.memory_kib()?,
        ..started
    };
    hold_two_thousand(&shop, &agent)?;
    before.settles(&agent, &shop.mesh, SPARE)
}

fn hold_two_thousand(shop: &Shop, agent: &Agent) -> Result<()> {
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let (http, tcp) = (
        Dial::to(STORE4, HTTP),
        Dial::to(ENGINE4.parse::<std::net::IpAddr>()?, WHOAMI),
    );
    let mut conns = Vec::new();
    for _ in 0..1000 {
        conns.push((buyer.must_open(&http)?, true));
        conns.push((buyer.must_open(&tcp)?, false));
    }
    // The store speaks first: each of these is with the server once its line has come.
    for (conn, _) in conns.iter().filter(|(_, http)| !http) {
        buyer.text(&Command::ReadLine(*conn))?;
    }
    for round in 0..2 {
        for (number, (conn, http)) in conns.iter().enumerate() {
            if *http {
                let response = buyer.http(*conn, &Request::get("/books"))?;
                assert_eq!(response.status, 200, "connection {number}, round {round}: {response:?}");
            } else {
                let text = format!("{number}\n");
                buyer.stream(&Command::Send {
                    conn: *conn,
                    text: text.clone(),
                })?;
                let echo = buyer.text(&Command::ReadLine(*conn))?;
                assert_eq!(echo.trim_end(), text.trim_end(), "connection {number}, round {round}");
            }
        }
        let open = agent.metrics()?.sum("weir_engine_open", &[]);
        assert_eq!(open, 2000.0, "round {round}");
    }
    drop(buyer);
    eventually("all are gone", || {
        Ok(agent.metrics()?.sum("weir_engine_open", &[]) == 0.0)
    })?;
    Ok(())
}

#[test]
fn two_hundred_pods_that_come_and_go_leave_nothing_behind() -> Result<()> {
    let mut shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let before = Held::by(&agent, &shop.mesh)?;
    for round in 0..10 {
        // The same twenty addresses each time, in new namespaces, with other identities.
        let account = if round % 2 == 0 { "buyer" } else { "thief" };
        let pods = (0..20)
            .map(|number| {
                let pod = shop
                    .mesh
                    .world
                    .pod_with_address_of(&format!("p{number}"), 100 + number)?;
                shop.mesh.declare(&pod, "shop", account)?;
                Ok(pod)
            })
            .collect::<Result<Vec<Pod>>>()?;
        let pins = Pins::of(&shop.mesh.world);
        eventually("all pods are captured", || {
            Ok(pins.entries("PODS")? == 23 && pins.links()?.len() == before.links + 20)
        })?;
        let mut session = shop.mesh.session(&pods[19])?;
        let opened = session.open(&Dial::to(STORE4, HTTP))?;
        if account == "buyer" {
            eventually("a pod of this round is served", || {
                let called = session.call(&Dial::to(STORE4, HTTP), &Request::get("/books"), 1)?;
                Ok(called.responses.first().is_some_and(|response| response.status == 200))
            })?;
        } else {
            opened.refused().with_context(|| format!("round {round}"))?;
        }
        drop(session);
        for pod in &pods {
            shop.mesh.stop_server(pod);
            if round % 3 == 0 {
                shop.mesh.world.remove(pod)?;
                shop.mesh.manifests.remove(&format!("pod-{}", pod.name))?;
            } else {
                shop.mesh.manifests.remove(&format!("pod-{}", pod.name))?;
                shop.mesh.world.remove(pod)?;
            }
        }
        eventually("all are gone", || {
            Ok(pins.entries("PODS")? == 3 && pins.links()?.len() == before.links)
        })?;
    }
    before.settles(&agent, &shop.mesh, 8)
}

/// Service `any` on [`ENGINE4`]: its protocol has to be found out and its endpoint picked per connection.
fn through_the_engine(mesh: &Mesh) -> Result<()> {
    mesh.service_to_detect("leaf", "store", &[])?;
    mesh.service_to_detect("any", "store", &[ENGINE4])?;
    mesh.manifests
        .write("split", &smi::split("split", "any", &[("leaf", 1)]))
}

/// `count` connections of each of five kinds by each of the clients, all of which have to open.
fn churn(sessions: &mut [Session], count: u32) -> Result<()> {
    let engine: std::net::IpAddr = ENGINE4.parse()?;
    let kinds = [
        (Dial::to(STORE4, WHOAMI), None),
        (Dial::to(STORE6, WHOAMI), None),
        (Dial::to(engine, WHOAMI), None),
        (Dial::to(STORE4, HTTP), Some(Request::get("/books"))),
        (Dial::to(STORE6, HTTP), Some(Request::get("/books"))),
    ];
    for (dial, request) in &kinds {
        for session in &mut *sessions {
            session.begin(&Command::Churn {
                dial: dial.clone(),
                count,
                request: request.clone(),
            })?;
        }
    }
    for (dial, request) in &kinds {
        for session in &mut *sessions {
            let Answer::Churned { opened, served, error } = session.answer()? else {
                bail!("not a churn")
            };
            let wanted = if request.is_some() { count } else { 0 };
            assert_eq!((opened, served, error), (count, wanted, None), "{dial:?}");
        }
    }
    Ok(())
}

/// TCP sockets of a pod's namespace that are not closed, TIME-WAIT aside.
fn sockets(pod: &Pod) -> Result<usize> {
    let text = netns::within(&pod.netns, || {
        ["sockstat", "sockstat6"]
            .map(|file| fs::read_to_string(format!("/proc/thread-self/net/{file}")).context(file))
            .into_iter()
            .collect::<Result<String>>()
    })?;
    let counts = text
        .lines()
        .filter_map(|line| line.strip_prefix("TCP: inuse ").or(line.strip_prefix("TCP6: inuse ")));
    let counts: Vec<usize> = counts.filter_map(|rest| rest.split(' ').next()?.parse().ok()).collect();
    if counts.len() != 2 {
        bail!("not as sockstat was: {text}");
    }
    Ok(counts.iter().sum())
}
