//! Flows whose grant goes, on either side, and answers.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use weir_tests::client::{EPERM, REFUSED};
use weir_tests::datagrams::counted;
use weir_tests::protocol::Udp;
use weir_tests::server::UDP;
use weir_tests::shop::STORE4;
use weir_tests::{Datagrams, Mesh, eventually, smi};

use super::drain;

#[test]
fn a_revoked_grant_ends_flows_of_every_kind_at_once_and_no_others() -> Result<()> {
    let mut udp = Datagrams::new()?;
    let clerk = udp.mesh.client("clerk")?;
    udp.mesh.grant_udp("clerk", "store", &[UDP])?;
    // A client that takes no part itself: only the server's side judges it.
    udp.mesh.manifests.namespace("out", None)?;
    let guest = udp.mesh.world.pod("guest")?;
    udp.mesh.declare(&guest, "out", "guest")?;
    grant_guest(&udp.mesh)?;
    let _agent = udp.mesh.agent()?;
    let (mut buyer, mut clerk) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&clerk)?);
    let mut guest = udp.mesh.session(&guest)?;
    let direct = SocketAddr::new(udp.store.v4(), UDP);
    let service = SocketAddr::new(STORE4, UDP);
    let mut flows = Vec::new();
    for (kind, to) in [
        (Udp::to(direct), None),
        (Udp::to(service), None),
        (Udp::default(), Some(direct)),
        (Udp::default(), Some(service)),
    ] {
        let socket = buyer.udp(&kind)?;
        buyer.udp_ask(socket, to, "before")?;
        flows.push((socket, to));
    }
    let kept = clerk.udp(&Udp::to(service))?;
    clerk.udp_ask(kept, None, "before")?;
    let guests = guest.udp(&Udp::to(direct))?;
    guest.udp_ask(guests, None, "before")?;
    for file in ["udp-buyer", "udp-guest"] {
        udp.mesh.manifests.remove(file)?;
    }
    eventually("a connected socket is refused", || {
        Ok(buyer.udp_send(flows[0].0, None, "after")? != 0)
    })?;
    for (socket, to) in &flows {
        let errno = buyer.udp_send(*socket, *to, "after")?;
        assert!([EPERM, REFUSED].contains(&errno), "{to:?}: {errno}");
    }
    eventually("what arrives is refused", || {
        drain(&mut guest, guests)?;
        assert_eq!(guest.udp_send(guests, None, "after")?, 0, "nobody judges there");
        Ok(guest.udp_receive(guests, 100)?.errno == libc::EAGAIN)
    })?;
    for _ in 0..20 {
        assert_eq!(guest.udp_send(guests, None, "again")?, 0);
        assert_eq!(guest.udp_receive(guests, 20)?.errno, libc::EAGAIN, "and stays so");
        clerk.udp_ask(kept, None, "goes on")?;
    }
    udp.mesh.grant_udp("buyer", "store", &[UDP])?;
    eventually("granted again, the same socket is served", || {
        drain(&mut buyer, flows[0].0)?;
        Ok(buyer.udp_ask(flows[0].0, None, "once more").is_ok())
    })?;
    Ok(())
}

#[test]
fn answers_end_with_the_grant_of_the_question() -> Result<()> {
    let udp = Datagrams::new()?;
    let remote = udp.mesh.world.remote("node-b")?;
    let far = udp.mesh.world.remote_pod(&remote, "far-store")?;
    udp.mesh.declare(&far, "shop", "store")?;
    let agent = udp.mesh.agent()?;
    let (mut buyer, mut server) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&far)?);
    let serving = server.udp(&Udp::default().bound(far.v4(), UDP))?;
    let place = SocketAddr::new(far.v4(), UDP);
    for kind in [Udp::default(), Udp::to(place)] {
        udp.mesh.grant_udp("buyer", "store", &[UDP])?;
        let asking = buyer.udp(&Udp::default())?;
        eventually("granted", || Ok(buyer.udp_send(asking, place, "x")? == 0))?;
        drain(&mut server, serving)?;
        let connected = kind.connect.is_some();
        let asking = buyer.udp(&kind)?;
        assert_eq!(buyer.udp_send(asking, (!connected).then_some(place), "question")?, 0);
        let from = server.udp_receive(serving, 1000)?.from.context("the question")?;
        server.udp_send(serving, from, "answer")?;
        assert_eq!(buyer.udp_receive(asking, 1000)?.text, "answer");
        udp.mesh.manifests.remove("udp-buyer")?;
        let other = buyer.udp(&Udp::default())?;
        eventually("revoked", || Ok(buyer.udp_send(other, place, "x")? == REFUSED))?;
        let denied = counted(&agent, "arrive", "deny")?;
        server.udp_send(serving, from, "another answer")?;
        assert_eq!(buyer.udp_receive(asking, 200)?.errno, libc::EAGAIN, "{kind:?}");
        assert_eq!(counted(&agent, "arrive", "deny")?, denied + 1.0);
    }
    Ok(())
}

#[test]
fn an_answer_after_the_grant_is_gone_lets_nothing_in() -> Result<()> {
    let mut udp = Datagrams::new()?;
    udp.mesh.manifests.namespace("out", None)?;
    let guest = udp.mesh.world.pod("guest")?;
    udp.mesh.declare(&guest, "out", "guest")?;
    udp.mesh.stop_server(&udp.store.clone());
    grant_guest(&udp.mesh)?;
    let _agent = udp.mesh.agent()?;
    let (mut store, mut guest_session) = (udp.mesh.session(&udp.store)?, udp.mesh.session(&guest)?);
    let place = SocketAddr::new(udp.store.v4(), UDP);
    let serving = store.udp(&Udp::default().bound(udp.store.v4(), UDP))?;
    let asking = guest_session.udp(&Udp::default().bound(guest.v4(), 4600))?;
    assert_eq!(guest_session.udp_send(asking, place, "question")?, 0);
    let from = store.udp_receive(serving, 1000)?.from.context("the question")?;
    udp.mesh.manifests.remove("udp-guest")?;
    let probing = guest_session.udp(&Udp::default().bound(guest.v4(), 4601))?;
    eventually("the grant is gone", || {
        drain(&mut store, serving)?;
        guest_session.udp_send(probing, place, "probe")?;
        Ok(store.udp_receive(serving, 50)?.errno == libc::EAGAIN)
    })?;
    assert_eq!(
        store.udp_send(serving, from, "the answer")?,
        0,
        "to who takes no part it goes"
    );
    assert_eq!(guest_session.udp_receive(asking, 1000)?.text, "the answer");
    assert_eq!(guest_session.udp_send(asking, place, "another question")?, 0);
    assert_eq!(store.udp_receive(serving, 200)?.errno, libc::EAGAIN, "it was not asked");
    Ok(())
}

#[test]
fn a_servers_connected_socket_is_closed_to_a_client_that_lost_its_grant() -> Result<()> {
    let mut udp = Datagrams::new()?;
    udp.mesh.manifests.namespace("out", None)?;
    let guest = udp.mesh.world.pod("guest")?;
    udp.mesh.declare(&guest, "out", "guest")?;
    udp.mesh.stop_server(&udp.store.clone());
    grant_guest(&udp.mesh)?;
    let _agent = udp.mesh.agent()?;
    let (mut store, mut session) = (udp.mesh.session(&udp.store)?, udp.mesh.session(&guest)?);
    let asking = session.udp(&Udp::to(SocketAddr::new(udp.store.v4(), UDP)).bound(guest.v4(), 4700))?;
    let serving = store.udp(&Udp::to(SocketAddr::new(guest.v4(), 4700)).bound(udp.store.v4(), UDP))?;
    assert_eq!(session.udp_send(asking, None, "before")?, 0);
    assert_eq!(store.udp_receive(serving, 1000)?.text, "before");
    udp.mesh.manifests.remove("udp-guest")?;
    eventually("nothing arrives any more", || {
        drain(&mut store, serving)?;
        session.udp_send(asking, None, "after")?;
        Ok(store.udp_receive(serving, 100)?.errno == libc::EAGAIN)
    })?;
    Ok(())
}

#[test]
fn a_refused_connect_leaves_a_servers_connected_socket_what_it_was() -> Result<()> {
    let mut udp = Datagrams::new()?;
    udp.mesh.manifests.namespace("out", None)?;
    let guest = udp.mesh.world.pod("guest")?;
    udp.mesh.declare(&guest, "out", "guest")?;
    udp.mesh.stop_server(&udp.store.clone());
    grant_guest(&udp.mesh)?;
    let _agent = udp.mesh.agent()?;
    let (mut store, mut session) = (udp.mesh.session(&udp.store)?, udp.mesh.session(&guest)?);
    let asking = session.udp(&Udp::to(SocketAddr::new(udp.store.v4(), UDP)).bound(guest.v4(), 4700))?;
    let serving = store.udp(&Udp::to(SocketAddr::new(guest.v4(), 4700)).bound(udp.store.v4(), UDP))?;
    assert_eq!(session.udp_send(asking, None, "before")?, 0);
    assert_eq!(store.udp_receive(serving, 1000)?.text, "before");
    let elsewhere = SocketAddr::new(udp.thief.v4(), 4701);
    assert_eq!(store.udp_connect(serving, elsewhere)?, REFUSED);
    udp.mesh.manifests.remove("udp-guest")?;
    eventually("nothing arrives any more", || {
        drain(&mut store, serving)?;
        session.udp_send(asking, None, "after")?;
        Ok(store.udp_receive(serving, 100)?.errno == libc::EAGAIN)
    })?;
    Ok(())
}

/// The guest, of a namespace that takes no part, may send to the store: file `udp-guest`.
fn grant_guest(mesh: &Mesh) -> Result<()> {
    let target = smi::target("udp-guest", "store", &["guest"], &[("UDPRoute", "udp-guest", &[])]);
    let text = smi::documents(&[
        smi::udp_route("udp-guest", &[UDP]),
        target.replace(
            "    name: guest\n    namespace: shop",
            "    name: guest\n    namespace: out",
        ),
    ]);
    mesh.manifests.write("udp-guest", &text)
}
