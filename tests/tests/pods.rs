//! Pods come and go: addresses get other owners, namespaces end, and no right outlives its pod.

use anyhow::{Context, Result};
use weir_tests::protocol::{Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::{Shop, eventually};

#[test]
fn an_address_that_gets_another_owner_has_only_the_new_ones_rights() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let number = shop.buyer.number;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    buyer.must_open(&Dial::to(STORE4, WHOAMI))?;
    drop(buyer);
    shop.mesh.manifests.remove("pod-buyer")?;
    shop.mesh.world.remove(&shop.buyer)?;

    // First without a manifest, as a node may see it for a moment, then as somebody else's.
    let heir = shop.mesh.world.pod_with_address_of("heir", number)?;
    assert_eq!(heir.ip4, shop.buyer.ip4);
    let mut session = shop.mesh.session(&heir)?;
    let dials = [
        Dial::to(shop.store.v4(), HTTP),
        Dial::to(shop.store.v6(), HTTP),
        Dial::to(shop.store.v4(), WHOAMI),
    ];
    for dial in &dials {
        eventually("refused without a manifest", || {
            Ok(session.open(dial)?.errno == libc::ECONNREFUSED)
        })?;
    }
    shop.mesh.declare(&heir, "shop", "thief")?;
    for dial in dials.iter().chain([&Dial::to(STORE4, HTTP), &Dial::to(STORE4, WHOAMI)]) {
        eventually("refused as the thief's", || {
            Ok(session.open(dial)?.errno == libc::ECONNREFUSED)
        })?;
    }
    // And the other way round: the buyer is the buyer wherever it runs.
    shop.mesh.declare(&heir, "shop", "buyer")?;
    eventually("served as the buyer's", || Ok(session.open(&dials[2])?.errno == 0))?;
    eventually("HTTP too", || {
        let called = session.call(&dials[0], &Request::get("/books"), 1)?;
        Ok(called.responses.first().is_some_and(|response| response.status == 200))
    })?;
    Ok(())
}

#[test]
fn an_address_of_another_node_that_gets_another_owner_loses_its_open_connections() -> Result<()> {
    let shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far = shop.mesh.world.remote_pod(&remote, "far")?;
    shop.mesh.declare(&far, "shop", "buyer")?;
    let _agent = shop.mesh.agent()?;
    let mut session = shop.mesh.session(&far)?;
    let dial = Dial::to(shop.store.v4(), WHOAMI);
    let conn = session.must_open(&dial)?;
    session.text(&Command::ReadLine(conn))?;
    session.run(&Command::Pump(conn))?;
    shop.mesh.declare(&far, "shop", "thief")?;
    eventually("the new owner is refused", || {
        Ok(session.open(&dial)?.errno == libc::ECONNREFUSED)
    })?;
    eventually("what was open ends", || Ok(session.pumped(conn)?.ended != 0))?;
    session.open(&Dial::to(shop.store.v4(), HTTP))?.refused()
}

#[test]
fn a_server_pod_that_goes_takes_its_listeners_and_endpoints_with_it() -> Result<()> {
    let mut shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    let before = agent.descriptors()?;
    let entries = || Ok::<_, anyhow::Error>(agent.metrics()?.sum("weir_kernel_map_entries", &["map=\"PODS\""]));
    assert_eq!(entries()?, 3.0);

    let store = shop.store.clone();
    shop.mesh.stop_server(&store);
    shop.mesh.manifests.remove("pod-store")?;
    shop.mesh.world.remove(&store)?;
    eventually("the pod's entry goes", || Ok(entries()? == 2.0))?;
    eventually("its sockets and links are closed", || Ok(agent.descriptors()? < before))?;
    eventually("its Service has nobody", || {
        Ok(buyer.open(&Dial::to(STORE4, WHOAMI))?.errno == libc::ECONNREFUSED)
    })?;

    // The next version of it, elsewhere, is found.
    let next = shop.mesh.world.pod("store-next")?;
    shop.mesh.serve(&next)?;
    shop.mesh.manifests.pod(&weir_tests::manifests::PodManifest {
        pod: &next,
        namespace: "shop",
        account: "store",
        labels: &[("app", "store")],
        ports: weir_tests::mesh::CONTAINER_PORTS,
    })?;
    eventually("the Service is served by the next pod", || {
        let called = buyer.call(&Dial::to(STORE4, HTTP), &Request::get("/books"), 1)?;
        Ok(called
            .responses
            .first()
            .is_some_and(|response| response.server() == "store-next"))
    })?;
    eventually("and as many descriptors are open as before", || {
        Ok(agent.descriptors()? <= before + 4)
    })?;
    Ok(())
}

#[test]
fn a_pod_that_comes_while_the_agent_runs_is_enrolled() -> Result<()> {
    let mut shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let clerk = shop.mesh.client("clerk")?;
    shop.mesh.grant_tcp("clerk", "store", &[WHOAMI])?;
    let mut clerk = shop.mesh.session(&clerk)?;
    eventually("the clerk is served", || {
        Ok(clerk.open(&Dial::to(STORE4, WHOAMI))?.errno == 0)
    })?;
    clerk.open(&Dial::to(STORE4, HTTP))?.refused()?;
    let depot = shop.mesh.server("depot")?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    eventually("a new server is closed", || {
        Ok(thief.open(&Dial::to(depot.v4(), WHOAMI))?.errno != 0)
    })?;
    Ok(())
}

#[test]
fn a_pod_whose_namespace_comes_late_is_enrolled_then_and_holds_nobody_up() -> Result<()> {
    let shop = Shop::open()?;
    let late = shop.mesh.world.pod("late")?;
    shop.mesh.declare(&late, "shop", "thief")?;
    shop.mesh.world.remove(&late)?;
    let agent = shop.mesh.agent()?;
    assert!(
        agent.plan()?.to_string().contains("late"),
        "the missing namespace is reported"
    );
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    let late = shop.mesh.world.pod_with_address_of("late", late.number)?;
    let mut late = shop.mesh.session(&late)?;
    // Known by its ClusterIP only once it is captured.
    eventually("captured", || {
        Ok(late.open(&Dial::to(STORE4, WHOAMI).timeout_ms(500))?.errno == libc::ECONNREFUSED)
    })?;
    late.open(&Dial::to(shop.store.v4(), HTTP))?.refused()
}

#[test]
fn a_pod_that_is_made_anew_under_the_same_name_is_captured_again() -> Result<()> {
    let mut shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    for _ in 0..3 {
        let (name, number) = (shop.thief.name.clone(), shop.thief.number);
        shop.mesh.world.remove(&shop.thief)?;
        shop.thief = shop.mesh.world.pod_with_address_of(&name, number)?;
        shop.mesh.declare(&shop.thief, "shop", "buyer")?;
        shop.mesh.declare(&shop.thief, "shop", "thief")?;
        let mut thief = shop.mesh.session(&shop.thief)?;
        let dial = Dial::to(STORE4, WHOAMI).timeout_ms(500);
        eventually("captured", || Ok(thief.open(&dial)?.errno == libc::ECONNREFUSED)).context("the new namespace")?;
        thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    }
    Ok(())
}
