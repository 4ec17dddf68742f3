//! Policy changes under open connections: what is no longer allowed ends, what still is goes on undisturbed.

use anyhow::{Context, Result};
use weir_tests::protocol::{Command, Dial, Pumped, Request};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::tier::Tier;
use weir_tests::{Session, Shop, eventually, on_both_tiers, shop, smi};

/// See `restart.rs`.
const GAP_MS: f64 = 400.0;

on_both_tiers! {
    a_revoked_transfer_ends_at_once_and_the_neighbours_goes_on
    a_revoked_port_ends_its_connections_and_no_others
    unrelated_changes_disturb_nothing
}

fn a_revoked_transfer_ends_at_once_and_the_neighbours_goes_on(tier: Tier) -> Result<()> {
    let agent = tier.mesh.agent()?;
    let (mut buyer, mut clerk) = (tier.mesh.session(&tier.buyer)?, tier.mesh.session(&tier.clerk)?);
    let (revoked, kept) = (pump(&tier, &mut buyer)?, pump(&tier, &mut clerk)?);
    tier.took_its_way(&agent)?;
    tier.mesh.manifests.remove("tcp-buyer")?;
    let took = eventually("the revoked connection ends", || Ok(buyer.pumped(revoked)?.ended != 0))?;
    println!("ended {} ms after the file was removed", took.as_millis());
    assert!(took.as_millis() < 1500, "at once: {took:?}");
    let ended = buyer.pumped(revoked)?.ended;
    assert!(
        ended != -1 && ended != libc::EAGAIN,
        "by a reset, not by a clean end or a silence: {ended}"
    );
    // Refused by the kernel, or, where only the engine knows the server, reset by it before a byte has come.
    let again = buyer.open(&tier.dial(WHOAMI))?;
    match again.conn {
        None => again.refused()?,
        Some(conn) => {
            let nothing = buyer.stream(&Command::Read { conn, len: None })?;
            assert_eq!((nothing.len, nothing.errno), (0, libc::ECONNRESET));
        }
    }
    untouched(&clerk.pumped(kept)?);
    Ok(())
}

fn a_revoked_port_ends_its_connections_and_no_others(tier: Tier) -> Result<()> {
    let _agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let revoked = pump(&tier, &mut buyer)?;
    let kept = buyer.must_open(&tier.dial(SINK))?;
    buyer.stream(&Command::SendPattern { conn: kept, len: 1000 })?;
    tier.mesh.grant_tcp("buyer", "store", &[SINK])?;
    eventually("the connection to the revoked port ends", || {
        Ok(buyer.pumped(revoked)?.ended != 0)
    })?;
    buyer.stream(&Command::SendPattern { conn: kept, len: 1000 })?;
    buyer.run(&Command::ShutdownWrite(kept))?;
    let line = buyer
        .text(&Command::ReadLine(kept))
        .context("the other port's connection goes on")?;
    assert!(line.contains("\"len\":2000"), "{line}");
    Ok(())
}

fn unrelated_changes_disturb_nothing(mut tier: Tier) -> Result<()> {
    let agent = tier.mesh.agent()?;
    let (mut buyer, mut clerk) = (tier.mesh.session(&tier.buyer)?, tier.mesh.session(&tier.clerk)?);
    let (one, two) = (pump(&tier, &mut buyer)?, pump(&tier, &mut clerk)?);
    let generation = || Ok::<_, anyhow::Error>(agent.plan()?["generation"].as_u64().unwrap_or(0));
    for round in 0..5 {
        let before = generation()?;
        tier.mesh.grant_tcp(&format!("somebody-{round}"), "nobody", &[])?;
        tier.mesh.client(&format!("newcomer-{round}"))?;
        eventually("a new plan is in force", || Ok(generation()? > before))?;
    }
    for (session, conn) in [(&mut buyer, one), (&mut clerk, two)] {
        untouched(&session.pumped(conn)?);
    }
    Ok(())
}

#[test]
fn a_route_that_is_removed_refuses_the_next_request_of_an_open_connection() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    assert_eq!(buyer.http(conn, &Request::get("/books"))?.status, 200);
    let routes = smi::routes("books", &[("files", "/(bytes|chunked)/", &["GET"])]);
    let target = smi::target("http-buyer", "store", &["buyer"], &[("HTTPRouteGroup", "books", &[])]);
    shop.mesh
        .manifests
        .write("http-buyer", &smi::documents(&[routes, target]))?;
    // Asked by others: a request that is under way at that moment is reset.
    eventually("new connections are refused it", || {
        let other = buyer.must_open(&Dial::to(STORE4, HTTP))?;
        Ok(buyer.http(other, &Request::get("/books"))?.status == 403)
    })?;
    assert_eq!(
        buyer.http(conn, &Request::get("/books"))?.status,
        403,
        "the open connection's next request is refused"
    );
    assert_eq!(
        buyer.http(conn, &Request::get("/bytes/5"))?.status,
        200,
        "the connection itself is not touched"
    );
    shop::grant_buyer(&shop.mesh)?;
    eventually("and served again", || {
        Ok(buyer.http(conn, &Request::get("/books"))?.status == 200)
    })?;
    Ok(())
}

#[test]
fn a_client_without_any_rule_left_loses_its_http_connection() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    assert_eq!(buyer.http(conn, &Request::get("/books"))?.status, 200);
    shop.mesh.manifests.remove("http-buyer")?;
    eventually("new connections are refused", || {
        Ok(buyer.open(&Dial::to(STORE4, HTTP))?.errno != 0)
    })?;
    let response = buyer.http(conn, &Request::get("/books"))?;
    assert!(response.status == 403 || response.error.is_some(), "{response:?}");
    Ok(())
}

#[test]
fn a_peer_of_another_node_loses_its_connection_when_it_is_revoked() -> Result<()> {
    let shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far = shop.mesh.world.remote_pod(&remote, "far")?;
    shop.mesh.declare(&far, "shop", "buyer")?;
    let _agent = shop.mesh.agent()?;
    let mut far = shop.mesh.session(&far)?;
    let conn = far.must_open(&Dial::to(shop.store.v4(), WHOAMI))?;
    far.text(&Command::ReadLine(conn))?;
    far.run(&Command::Pump(conn))?;
    shop.mesh.manifests.remove("tcp-buyer")?;
    eventually("the connection ends", || Ok(far.pumped(conn)?.ended != 0))?;
    assert_eq!(far.pumped(conn)?.ended, libc::ECONNRESET);
    Ok(())
}

#[test]
fn a_connection_made_before_the_agent_came_is_judged_too() -> Result<()> {
    let shop = Shop::open()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let dial = Dial::to(shop.store.v4(), WHOAMI);
    let mut conns = Vec::new();
    for session in [&mut buyer, &mut thief] {
        let conn = session.must_open(&dial)?;
        session.text(&Command::ReadLine(conn))?;
        session.run(&Command::Pump(conn))?;
        conns.push(conn);
    }
    let _agent = shop.mesh.agent()?;
    eventually("the thief's connection ends", || Ok(thief.pumped(conns[1])?.ended != 0))?;
    untouched(&buyer.pumped(conns[0])?);
    Ok(())
}

#[test]
fn a_namespace_whose_label_goes_is_left_alone_and_one_that_gets_it_back_is_not() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    let dial = Dial::to(shop.store.v4(), WHOAMI);
    thief.open(&dial)?.refused()?;
    shop.mesh.manifests.namespace("shop", None)?;
    eventually("the thief gets in", || Ok(thief.open(&dial)?.errno == 0))?;
    let conn = thief.must_open(&dial)?;
    thief.text(&Command::ReadLine(conn))?;
    thief.run(&Command::Pump(conn))?;
    shop.mesh.manifests.namespace("shop", Some("enforce"))?;
    eventually("the thief is refused again", || {
        Ok(thief.open(&dial)?.errno == libc::ECONNREFUSED)
    })?;
    eventually("what it had open ends", || Ok(thief.pumped(conn)?.ended != 0))?;
    Ok(())
}

#[test]
fn removing_a_namespace_object_without_its_pods_opens_nothing_else() -> Result<()> {
    // The Namespace says who takes part: without it the pods are left alone, as the label says. Everybody else stays.
    let shop = Shop::open()?;
    shop.mesh.manifests.namespace("other", Some("enforce"))?;
    let mut shop = shop;
    let vault = shop.mesh.server_in("vault", "other")?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    shop.mesh.manifests.remove("namespace-shop")?;
    eventually("the shop is left alone", || {
        Ok(thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno == 0)
    })?;
    thief.open(&Dial::to(vault.v4(), WHOAMI))?.refused()
}

fn pump(tier: &Tier, session: &mut Session) -> Result<usize> {
    let (conn, _) = tier.hello(session)?;
    session.run(&Command::Pump(conn))?;
    eventually("the pump runs", || Ok(session.pumped(conn)?.rounds > 3))?;
    Ok(conn)
}

fn untouched(pumped: &Pumped) {
    assert_eq!(pumped.ended, 0, "the connection ended: {pumped:?}");
    assert!(
        pumped.longest_ms < GAP_MS && pumped.idle_ms < GAP_MS,
        "a gap: {pumped:?}"
    );
}
