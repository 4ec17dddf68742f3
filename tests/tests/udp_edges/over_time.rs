//! Endpoints that go, an agent that is gone, other modes, and addresses that change hands.

use std::net::SocketAddr;

use anyhow::Result;
use weir_tests::client::{EPERM, REFUSED};
use weir_tests::datagrams::counted;
use weir_tests::protocol::Udp;
use weir_tests::server::UDP;
use weir_tests::shop::STORE4;
use weir_tests::{Datagrams, Mesh, eventually, smi};

use super::{drain, on};

#[test]
fn flows_leave_an_endpoint_that_is_gone() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let buyer = mesh.client("buyer")?;
    for name in ["one", "two"] {
        mesh.server(name)?;
        mesh.udp_service(name, name, &[])?;
        let target = smi::target(name, name, &["buyer"], &[("UDPRoute", name, &[])]);
        let grant = smi::documents(&[smi::udp_route(name, &[UDP]), target]);
        mesh.manifests.write(&format!("udp-{name}"), &grant)?;
    }
    mesh.udp_service("store", "nobody", &[&STORE4.to_string()])?;
    mesh.manifests
        .write("split", &smi::split("split", "store", &[("one", 1), ("two", 1)]))?;
    let agent = mesh.agent()?;
    let mut session = mesh.session(&buyer)?;
    let place = SocketAddr::new(STORE4, UDP);
    let (free, connected) = (
        on(&mut session, place, false, "one")?,
        on(&mut session, place, true, "one")?,
    );
    let (kept, kept_connected) = (
        on(&mut session, place, false, "two")?,
        on(&mut session, place, true, "two")?,
    );
    mesh.manifests.remove("pod-one")?;
    eventually("the free flow picks again", || {
        drain(&mut session, free)?;
        Ok(session
            .udp_ask(free, place, "where?")
            .is_ok_and(|(echo, from)| echo.name == "two" && from == place))
    })?;
    assert_eq!(
        session.udp_send(connected, None, "x")?,
        EPERM,
        "a connected one hears of it"
    );
    assert!(counted(&agent, "leave", "gone")? >= 1.0);
    let again = session.udp(&Udp::to(place))?;
    assert_eq!(session.udp_ask(again, None, "again")?.0.name, "two");
    assert_eq!(session.udp_ask(kept, place, "kept")?.0.name, "two");
    assert_eq!(session.udp_ask(kept_connected, None, "kept")?.0.name, "two");
    Ok(())
}

#[test]
fn the_kernel_goes_on_without_the_agent() -> Result<()> {
    let udp = Datagrams::new()?;
    let mut agent = udp.mesh.agent()?;
    let (mut buyer, mut thief) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.thief)?);
    let place = SocketAddr::new(STORE4, UDP);
    let old = buyer.udp(&Udp::to(place))?;
    buyer.udp_ask(old, None, "before")?;
    agent.kill()?;
    let denied = thief.udp(&Udp::default())?;
    for round in 0..2 {
        buyer.udp_ask(old, None, "the old one")?;
        let socket = buyer.udp(&Udp::default())?;
        buyer.udp_ask(socket, place, "a new one")?;
        assert_eq!(thief.udp_send(denied, place, "no")?, REFUSED);
        if round == 0 {
            agent.run()?;
        }
    }
    Ok(())
}

#[test]
fn a_lenient_namespace_lets_datagrams_pass_and_audit_tells_of_them() -> Result<()> {
    let udp = Datagrams::new()?;
    let stranger = udp.mesh.world.pod("stranger")?;
    udp.mesh.manifests.namespace("shop", Some("audit"))?;
    let agent = udp.mesh.agent()?;
    let (mut thief, mut other) = (udp.mesh.session(&udp.thief)?, udp.mesh.session(&stranger)?);
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    for place in [SocketAddr::new(udp.store.v4(), UDP), SocketAddr::new(STORE4, UDP)] {
        for (kind, to) in [(Udp::default(), Some(place)), (Udp::to(place), None)] {
            let socket = thief.udp(&kind)?;
            thief.udp_ask(socket, to, "not granted")?;
        }
    }
    let socket = other.udp(&Udp::default())?;
    other.udp_ask(socket, SocketAddr::new(udp.store.v4(), UDP), "unknown")?;
    let line = agent.wait_log(&[
        "would be refused",
        "audit=true",
        "source_pod=\"shop/thief\"",
        "protocol=\"udp\"",
    ])?;
    assert!(line.contains("no TrafficTarget with a UDPRoute"), "{line}");
    let reported = counted(&agent, "arrive", "lenient")?;
    let socket = buyer.udp(&Udp::default())?;
    buyer.udp_ask(socket, SocketAddr::new(udp.store.v4(), UDP), "granted")?;
    assert_eq!(
        counted(&agent, "arrive", "lenient")?,
        reported,
        "neither it nor its answer lacks a rule"
    );
    assert_eq!(
        counted(&agent, "send", "deny")? + counted(&agent, "arrive", "deny")?,
        0.0
    );
    udp.mesh.manifests.namespace("shop", Some("enforce"))?;
    let socket = thief.udp(&Udp::default())?;
    eventually("enforced", || {
        Ok(thief.udp_send(socket, SocketAddr::new(udp.store.v4(), UDP), "x")? == REFUSED)
    })?;
    udp.mesh.manifests.namespace("shop", Some("permissive"))?;
    eventually("permissive", || {
        drain(&mut thief, socket)?;
        Ok(thief.udp_ask(socket, SocketAddr::new(udp.store.v4(), UDP), "x").is_ok())
    })?;
    Ok(())
}

#[test]
fn an_address_that_changes_hands_takes_no_flow_along() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, store) = (mesh.client("buyer")?, mesh.client("store")?);
    mesh.grant_udp("buyer", "store", &[UDP])?;
    let _agent = mesh.agent()?;
    let mut session = mesh.session(&buyer)?;
    let asking = session.udp(&Udp::of(buyer.v4()).bound(buyer.v4(), 4500))?;
    assert_eq!(
        session.udp_send(asking, SocketAddr::new(store.v4(), UDP), "who are you?")?,
        0
    );
    mesh.world.remove(&store)?;
    mesh.manifests.remove("pod-store")?;
    let heir = mesh.world.pod_with_address_of("heir", store.number)?;
    mesh.declare(&heir, "shop", "heir")?;
    // Its own grant makes it known which account the kernel takes it for.
    mesh.grant_udp("heir", "buyer", &[4501])?;
    let mut theirs = mesh.session(&heir)?;
    let free = theirs.udp(&Udp::of(heir.v4()))?;
    eventually("the heir is known", || {
        Ok(theirs.udp_send(free, SocketAddr::new(buyer.v4(), 4501), "hello")? == 0)
    })?;
    let serving = theirs.udp(&Udp::of(heir.v4()).bound(heir.v4(), UDP))?;
    assert_ne!(
        theirs.udp_send(serving, SocketAddr::new(buyer.v4(), 4500), "your answer")?,
        0
    );
    assert_eq!(session.udp_receive(asking, 200)?.errno, libc::EAGAIN);
    Ok(())
}

#[test]
fn a_stranger_that_gets_a_strangers_address_does_not_get_its_answers() -> Result<()> {
    let mut mesh = Mesh::new()?;
    mesh.manifests.namespace("out", None)?;
    let buyer = mesh.client("buyer")?;
    let guest = mesh.world.pod("guest")?;
    mesh.declare(&guest, "out", "guest")?;
    let agent = mesh.agent()?;
    let mut session = mesh.session(&buyer)?;
    let asking = session.udp(&Udp::of(buyer.v4()).bound(buyer.v4(), 4800))?;
    assert_eq!(
        session.udp_send(asking, SocketAddr::new(guest.v4(), 53), "who are you?")?,
        0
    );
    mesh.world.remove(&guest)?;
    let before = agent.plan()?["generation"].as_u64();
    mesh.manifests.remove("pod-guest")?;
    let heir = mesh.world.pod_with_address_of("heir", guest.number)?;
    mesh.declare(&heir, "out", "heir")?;
    eventually("the heir is known", || {
        Ok(agent.plan()?["generation"].as_u64() > before && agent.plan()?["known_addresses"] == 4)
    })?;
    let mut theirs = mesh.session(&heir)?;
    let serving = theirs.udp(&Udp::of(heir.v4()).bound(heir.v4(), 53))?;
    assert_eq!(
        theirs.udp_send(serving, SocketAddr::new(buyer.v4(), 4800), "your answer")?,
        0
    );
    assert_eq!(session.udp_receive(asking, 200)?.errno, libc::EAGAIN);
    Ok(())
}
