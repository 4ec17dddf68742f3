//! How an agent starts and ends: what it takes over, what it tells, and what it leaves behind. What connections see of it
//! is in `restart.rs`, what keeps it from starting in `start.rs`.

use std::fs;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::pins::Pins;
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::tier::Tier;
use weir_tests::{Agent, Shop, eventually, exec, smi, wait};

/// At the pods' control group.
const CGROUP_HOOKS: usize = 10;

#[test]
fn the_next_agent_takes_over_every_pin_and_exchanges_the_programs() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let pins = Pins::of(&shop.mesh.world);
    agent.wait_log(&["inherited=false"])?;
    let (links, names) = (pins.links()?, pins.names()?);
    let maps = ["PODS", "PEERS", "POLICY", "SERVICES", "SLOTS"];
    let entries = || {
        maps.map(|map| pins.entries(map))
            .into_iter()
            .collect::<Result<Vec<_>>>()
    };
    let filled = entries()?;
    assert_eq!(links.len(), CGROUP_HOOKS + 3, "and one for each pod: {links:?}");
    assert!(filled.iter().all(|count| *count > 0), "{filled:?}");
    agent.kill()?;
    assert_eq!(pins.links()?, links, "a killed agent leaves its links");
    assert_eq!(entries()?, filled, "and its tables");
    agent.run()?;
    agent.wait_log(&["inherited=true"])?;
    let after = pins.links()?;
    assert_eq!(after.len(), links.len());
    for (name, link) in &links {
        assert_eq!(after[name].link, link.link, "{name} is the same link");
        assert_ne!(after[name].program, link.program, "{name} runs the new agent's program");
    }
    assert_eq!((entries()?, pins.names()?), (filled, names));
    Ok(())
}

#[test]
fn tables_of_other_sizes_neither_open_nor_refuse_anything_on_the_way() -> Result<()> {
    let mut tier = Tier::kernel()?;
    let thief = tier.mesh.client("thief")?;
    let mut agent = tier.mesh.agent()?;
    let (mut clerk, mut thief) = (tier.mesh.session(&tier.clerk)?, tier.mesh.session(&thief)?);
    let churn = Command::Churn {
        dial: tier.dial(WHOAMI),
        count: 6000,
        request: None,
    };
    let pins = Pins::of(&tier.mesh.world);
    for session in [&mut clerk, &mut thief] {
        session.begin(&churn)?;
    }
    agent.kill()?;
    for size in ["500", "70000"] {
        let mut other = tier.mesh.agent_with(&["--max-policy-entries", size])?;
        other.wait_log(&["pinned maps were made by another version or for other sizes"])?;
        let plan = other.plan()?;
        assert_eq!(plan["tables"]["POLICY"]["max_entries"].to_string(), size, "{plan}");
        other.kill()?;
    }
    agent.run()?;
    let (Answer::Churned { opened, error, .. }, Answer::Churned { opened: stolen, .. }) =
        (clerk.answer()?, thief.answer()?)
    else {
        panic!("not churns")
    };
    assert_eq!((opened, error), (6000, None), "no allowed connection failed");
    assert_eq!(stolen, 0, "no other one succeeded");
    let old: Vec<_> = pins.names()?.into_iter().filter(|name| name.contains("old")).collect();
    assert!(old.is_empty(), "the tables of before are gone: {old:?}");
    Ok(())
}

#[test]
fn a_file_that_is_broken_when_the_agent_starts_gives_no_pod_up() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let pins = Pins::of(&shop.mesh.world);
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let links = pins.links()?.len();
    for name in ["namespace-shop", "pod-store", "pod-thief", "tcp-buyer"] {
        let good = fs::read_to_string(shop.mesh.manifests.path(name))?;
        agent.kill()?;
        shop.mesh
            .manifests
            .write(name, &good.replacen("metadata:", "metadata: [}", 1))?;
        agent.run()?;
        for dial in ways(&shop) {
            thief
                .open(&dial)?
                .refused()
                .with_context(|| format!("{name} is broken: {dial:?}"))?;
        }
        assert_eq!(pins.links()?.len(), links, "{name} is broken: every pod keeps its link");
        assert_eq!(agent.metrics()?.sum("weir_manifest_problems", &[]), 1.0);
        let plan = agent.plan()?;
        assert!(
            plan["files"]["problems"].to_string().contains(&format!("{name}.yaml")),
            "{plan}"
        );
        shop.mesh.manifests.write(name, &good)?;
        eventually("mended, the buyer is served again", || {
            Ok(buyer.open(&Dial::to(STORE4, WHOAMI))?.errno == 0
                && buyer
                    .call(&Dial::to(STORE4, HTTP), &Request::get("/books"), 1)?
                    .responses
                    .first()
                    .map(|r| r.status)
                    == Some(200))
        })
        .with_context(|| name.to_string())?;
        for dial in ways(&shop) {
            thief
                .open(&dial)?
                .refused()
                .with_context(|| format!("{name} is mended: {dial:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn probes_tell_alive_from_ready_and_an_agent_that_is_gone() -> Result<()> {
    let shop = Shop::open()?;
    // Enough to read that the first plan takes longer than a probe.
    let documents: Vec<String> = (0..4000)
        .map(|number| {
            smi::target(
                &format!("t{number}"),
                "nobody",
                &[&format!("s{number}")],
                &[("TCPRoute", "none", &[])],
            )
        })
        .collect();
    shop.mesh.manifests.write("many", &smi::documents(&documents))?;
    let mut agent = Agent::stopped(&shop.mesh.world, shop.mesh.dir(), &[]);
    agent.spawn()?;
    let (status, body) = wait::until(Duration::from_secs(10), || agent.admin("/readyz"))?;
    assert_eq!(status, 503, "before the first plan: {body}");
    assert!(body.contains("plan"), "why it is not ready: {body}");
    assert_eq!(agent.admin("/livez")?.0, 200, "alive, though not ready");
    eventually("the first plan is in force", || Ok(agent.admin("/readyz")?.0 == 200))?;
    assert_eq!((agent.admin("/livez")?.0, agent.admin("/nothing")?.0), (200, 404));
    agent.kill()?;
    for path in ["/livez", "/readyz"] {
        assert!(agent.admin(path).is_err(), "{path} of an agent that is gone");
    }
    agent.run()?;
    assert_eq!(agent.admin("/livez")?.0, 200);
    Ok(())
}

#[test]
fn weir_uninstall_says_what_it_did_and_everything_flows_as_before() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    agent.terminate()?;
    for dial in ways(&shop) {
        thief.open(&dial)?.refused()?;
    }
    let said = |output: Output| String::from_utf8_lossy(&output.stdout).into_owned();
    let first = said(exec::run(&mut agent.uninstall_command()?)?);
    assert!(first.contains("removed"), "{first}");
    let second = said(exec::run(&mut agent.uninstall_command()?)?);
    assert!(second.contains("nothing"), "{second}");
    assert_eq!(Pins::of(&shop.mesh.world).names()?, [""; 0]);
    assert!(!fs::exists(shop.mesh.world.bpffs())?, "the folder is gone too");
    // The kernel lets go of an unpinned link a little later (RCU).
    eventually("the thief gets in", || {
        Ok(thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno == 0)
    })?;
    let called = thief.call(&Dial::to(shop.store.v4(), HTTP), &Request::get("/admin"), 1)?;
    let seen = called.responses.first().context("no response")?.seen()?;
    assert_eq!(
        Some(seen.peer.port()),
        called.opened.local.map(|local| local.port()),
        "straight to the store"
    );
    // And an agent starts as on a fresh node.
    agent.run()?;
    for dial in ways(&shop) {
        thief.open(&dial)?.refused()?;
    }
    Ok(())
}

/// Plain TCP and HTTP of the store, by both addresses.
fn ways(shop: &Shop) -> Vec<Dial> {
    let addresses = [shop.store.v4(), shop.store.v6(), STORE4];
    addresses
        .iter()
        .flat_map(|ip| [WHOAMI, HTTP].map(|port| Dial::to(*ip, port)))
        .collect()
}
