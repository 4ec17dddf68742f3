//! Datagrams where policy ends: the outside, other protocols, false addresses, other nodes, changes, an agent that is gone.

use std::net::SocketAddr;
use std::process::Command as Process;

use anyhow::{Context, Result, bail};
use weir_tests::client::{EPERM, REFUSED};
use weir_tests::datagrams::counted;
use weir_tests::protocol::{Command, Udp};
use weir_tests::server::UDP;
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Datagrams, Mesh, Session, eventually, smi};

/// A number for experiments (RFC 3692).
const EXPERIMENT: u8 = 253;

#[test]
fn who_takes_no_part_answers_what_was_sent_and_reaches_nobody_unasked() -> Result<()> {
    let mut udp = Datagrams::new()?;
    udp.mesh.manifests.namespace("out", None)?;
    let outside = udp.mesh.server_in("outside", "out")?;
    let stranger = udp.mesh.world.pod("stranger")?;
    udp.mesh.serve(&stranger)?;
    let agent = udp.mesh.agent()?;
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    for other in [&outside, &stranger] {
        let mut theirs = udp.mesh.session(other)?;
        for (own, far) in [(udp.buyer.v4(), other.v4()), (udp.buyer.v6(), other.v6())] {
            let place = SocketAddr::new(far, UDP);
            let socket = buyer.udp(&Udp::of(own))?;
            buyer.udp_ask(socket, place, "not connected")?;
            let socket = buyer.udp(&Udp::to(place))?;
            buyer.udp_ask(socket, None, "connected")?;
            let silent = buyer.udp(&Udp::of(own).bound(own, 4300))?;
            let denied = counted(&agent, "arrive", "deny")?;
            let knocking = theirs.udp(&Udp::of(far))?;
            assert_eq!(theirs.udp_send(knocking, SocketAddr::new(own, 4300), "knock")?, 0);
            assert_eq!(buyer.udp_receive(silent, 200)?.errno, libc::EAGAIN, "{far}");
            assert_eq!(counted(&agent, "arrive", "deny")?, denied + 1.0);
            buyer = udp.mesh.session(&udp.buyer)?;
        }
    }
    Ok(())
}

#[test]
fn peers_of_another_node_are_judged_on_arrival() -> Result<()> {
    let mut udp = Datagrams::new()?;
    let remote = udp.mesh.world.remote("node-b")?;
    let far_buyer = udp.mesh.world.remote_pod(&remote, "far-buyer")?;
    udp.mesh.declare(&far_buyer, "shop", "buyer")?;
    let far_thief = udp.mesh.remote_client(&remote, "far-thief")?;
    let far_store = udp.mesh.world.remote_pod(&remote, "far-store")?;
    udp.mesh.declare(&far_store, "shop", "store")?;
    udp.mesh.serve(&far_store)?;
    let agent = udp.mesh.agent()?;
    let (mut buyer, mut thief) = (udp.mesh.session(&far_buyer)?, udp.mesh.session(&far_thief)?);
    let (mut near_buyer, mut near_thief) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.thief)?);
    for (ip, far) in [(udp.store.v4(), far_store.v4()), (udp.store.v6(), far_store.v6())] {
        let place = SocketAddr::new(ip, UDP);
        let socket = buyer.udp(&Udp::of(ip))?;
        buyer.udp_ask(socket, place, "granted")?;
        let denied = counted(&agent, "arrive", "deny")?;
        let socket = thief.udp(&Udp::of(ip))?;
        assert_eq!(thief.udp_send(socket, place, "not granted")?, 0, "nobody judges there");
        assert_eq!(thief.udp_receive(socket, 200)?.errno, libc::EAGAIN);
        assert_eq!(counted(&agent, "arrive", "deny")?, denied + 1.0);
        let place = SocketAddr::new(far, UDP);
        let socket = near_buyer.udp(&Udp::of(ip))?;
        near_buyer.udp_ask(socket, place, "to the other node")?;
        let socket = near_thief.udp(&Udp::of(ip))?;
        assert_eq!(near_thief.udp_send(socket, place, "no")?, REFUSED);
    }
    Ok(())
}

#[test]
fn other_protocols_pass_between_no_enforced_pods_and_echo_does() -> Result<()> {
    let udp = Datagrams::new()?;
    udp.mesh.grant_udp("buyer", "store", &[])?;
    let stranger = udp.mesh.world.pod("stranger")?;
    let agent = udp.mesh.agent()?;
    let (mut buyer, mut store) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.store)?);
    let mut other = udp.mesh.session(&stranger)?;
    for v6 in [false, true] {
        let of = |pod: &Pod| SocketAddr::new(if v6 { pod.v6() } else { pod.v4() }, 0);
        let raw = Udp {
            v6,
            raw: true,
            proto: Some(EXPERIMENT.into()),
            ..Udp::default()
        };
        let (sending, receiving, strange) = (buyer.udp(&raw)?, store.udp(&raw)?, other.udp(&raw)?);
        assert_eq!(
            buyer.udp_send(sending, of(&udp.store), "raw")?,
            EPERM,
            "refused where it leaves"
        );
        assert_eq!(
            other.udp_send(strange, of(&udp.store), "raw")?,
            0,
            "nobody judges there"
        );
        assert_eq!(
            store.udp_receive(receiving, 200)?.errno,
            libc::EAGAIN,
            "refused where it arrives"
        );
        // To who takes no part it goes, and what it is answered with returns.
        assert_eq!(buyer.udp_send(sending, of(&stranger), "raw")?, 0);
        assert!(other.udp_receive(strange, 1000)?.text.contains("raw"));
        assert_eq!(other.udp_send(strange, of(&udp.buyer), "answer")?, 0);
        assert!(buyer.udp_receive(sending, 1000)?.text.contains("answer"));
        ping(&udp.buyer, of(&udp.store))?;
        ping(&udp.thief, of(&udp.store))?;
        // What ping asks the kernel first (see `ROUTE_PROBE` in the programs) lets nothing through.
        let mut thief = udp.mesh.session(&udp.thief)?;
        let probe = thief.udp(&Udp::to(SocketAddr::new(of(&udp.store).ip(), 1025)))?;
        assert_eq!(thief.udp_send(probe, None, "x")?, EPERM);
    }
    assert!(counted(&agent, "leave", "protocol")? >= 2.0 && counted(&agent, "arrive", "protocol")? >= 2.0);
    agent.wait_log(&["refused", "no rule can allow IP protocol 253"])?;
    // UDP-Lite, where the kernel has it.
    let lite = Udp {
        proto: Some(136),
        ..Udp::default()
    };
    if let Ok(socket) = buyer.udp(&lite) {
        let place = SocketAddr::new(udp.store.v4(), UDP);
        assert_eq!(buyer.udp_send(socket, place, "lite")?, REFUSED);
    }
    Ok(())
}

#[test]
fn a_pod_sends_from_its_own_address_only() -> Result<()> {
    let udp = Datagrams::new()?;
    let stranger = udp.mesh.world.pod("stranger")?;
    let agent = udp.mesh.agent()?;
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    let socket = buyer.udp(&Udp::of(udp.buyer.v4()).bound(udp.buyer.v4(), 4400))?;
    buyer.udp_ask(socket, SocketAddr::new(udp.store.v4(), UDP), "as usual")?;
    let allowed = counted(&agent, "arrive", "allow")?;
    for pod in [&udp.thief, &stranger] {
        let mut session = udp.mesh.session(pod)?;
        for (from, to) in [(udp.buyer.v4(), udp.store.v4()), (udp.buyer.v6(), udp.store.v6())] {
            for proto in [17, EXPERIMENT, 6] {
                let forged = Command::Forge {
                    from: SocketAddr::new(from, 4400),
                    to: SocketAddr::new(to, UDP),
                    proto,
                    // For TCP: a segment with RST, which an ordinary socket would never get past its own state.
                    text: "\u{0}\u{1}\u{2}\u{3}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}P\u{4}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}".to_owned(),
                };
                assert_eq!(session.sent(&forged)?.0, EPERM, "{} {from} {proto}", pod.name);
            }
        }
    }
    assert_eq!(counted(&agent, "leave", "source")?, 12.0);
    assert_eq!(counted(&agent, "arrive", "allow")?, allowed, "none of it has arrived");
    // An address that nobody has is not the pod's either.
    let mut thief = udp.mesh.session(&udp.thief)?;
    let forged = Command::Forge {
        from: "192.0.2.1:53".parse()?,
        to: SocketAddr::new(udp.store.v4(), UDP),
        proto: 17,
        text: "x".to_owned(),
    };
    assert_eq!(thief.sent(&forged)?.0, EPERM);
    let line = agent.wait_log(&["refused", "the source address is not the pod's own"])?;
    assert!(line.contains("source_identity=\"shop/thief\""), "{line}");
    Ok(())
}

#[test]
fn a_pod_that_sends_to_very_many_addresses_hurts_only_itself() -> Result<()> {
    let udp = Datagrams::new()?;
    let outside = udp.mesh.world.pod("outside")?;
    let agent = udp.mesh.agent_with(&["--max-udp-flows", "512"])?;
    let (mut buyer, mut thief) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.thief)?);
    let mut far = udp.mesh.session(&outside)?;
    let answering = far.udp(&Udp::of(outside.v4()).bound(outside.v4(), 53))?;
    let place = SocketAddr::new(outside.v4(), 53);
    let mut asking = Vec::new();
    for session in [&mut buyer, &mut thief] {
        let socket = session.udp(&Udp::default())?;
        assert_eq!(session.udp_send(socket, place, "question")?, 0);
        let from = far.udp_receive(answering, 1000)?.from.context("a question")?;
        asking.push((socket, from));
    }
    let flooding = thief.udp(&Udp::default())?;
    for first in ["172.20.0.0:9", "172.24.0.0:9"] {
        thief.sent(&Command::UdpFlood {
            socket: flooding,
            first: first.parse()?,
            count: 100_000,
        })?;
    }
    for (_, from) in &asking {
        assert_eq!(far.udp_send(answering, *from, "answer")?, 0);
    }
    assert_eq!(
        buyer.udp_receive(asking[0].0, 1000)?.text,
        "answer",
        "the neighbour's flow is there"
    );
    assert_eq!(
        thief.udp_receive(asking[1].0, 200)?.errno,
        libc::EAGAIN,
        "its own was pushed out"
    );
    assert!(counted(&agent, "arrive", "deny")? >= 1.0);
    let socket = buyer.udp(&Udp::default())?;
    buyer.udp_ask(socket, SocketAddr::new(udp.store.v4(), UDP), "goes on")?;
    Ok(())
}

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

#[test]
fn names_resolve_by_the_resolvers_cluster_ip() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, thief) = (mesh.client("buyer")?, mesh.client("thief")?);
    mesh.manifests.namespace("out", None)?;
    let (inside, outside) = (mesh.client("dns")?, mesh.world.pod("open-dns")?);
    mesh.declare(&outside, "out", "open-dns")?;
    for (name, pod, namespace, ip) in [
        ("kube-dns", "dns", "shop", "10.96.0.53"),
        ("open", "open-dns", "out", "10.96.0.54"),
    ] {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: {namespace}\nspec:\n  clusterIP: {ip}\n  \
             selector:\n    app: {pod}\n  ports:\n  - name: dns\n    port: 53\n    targetPort: 5353\n    protocol: UDP\n"
        );
        mesh.manifests.write(&format!("service-{name}"), &text)?;
    }
    mesh.grant_udp("buyer", "dns", &[5353])?;
    let _agent = mesh.agent()?;
    let mut servers = Vec::new();
    for pod in [&inside, &outside] {
        let mut command = pod.command("/usr/sbin/dnsmasq".as_ref())?;
        command.args([
            "--keep-in-foreground",
            "--no-resolv",
            "--no-hosts",
            "--port=5353",
            "--user=root",
            "--conf-file=/dev/null",
        ]);
        command.args(["--address=/store.shop.svc/10.96.0.10", "--pid-file="]);
        servers.push(Ended(command.spawn().context("dnsmasq (Debian's dnsmasq-base)")?));
    }
    eventually("the resolver answers", || {
        Ok(dig(&buyer, "10.96.0.53")?.trim() == "10.96.0.10")
    })?;
    for pod in [&buyer, &thief] {
        assert_eq!(
            dig(pod, "10.96.0.54")?.trim(),
            "10.96.0.10",
            "one that takes no part, to {}",
            pod.name
        );
    }
    let refused = dig(&thief, "10.96.0.53")?;
    assert!(!refused.contains("10.96.0.10"), "{refused}");
    Ok(())
}

/// A process that ends with the value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn dig(pod: &Pod, server: &str) -> Result<String> {
    let mut command = pod.command("/usr/bin/dig".as_ref())?;
    command.args([
        &format!("@{server}"),
        "+short",
        "+time=1",
        "+tries=1",
        "store.shop.svc",
        "A",
    ]);
    let output = command.output().context("dig (Debian's bind9-dnsutils)")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A flow to the Service that has gone to this server.
fn on(session: &mut Session, place: SocketAddr, connect: bool, name: &str) -> Result<usize> {
    for _ in 0..64 {
        let (kind, to) = if connect {
            (Udp::to(place), None)
        } else {
            (Udp::default(), Some(place))
        };
        let socket = session.udp(&kind)?;
        if session.udp_ask(socket, to, "who?")?.0.name == name {
            return Ok(socket);
        }
    }
    bail!("64 flows, and none of them to {name}");
}

fn drain(session: &mut Session, socket: usize) -> Result<()> {
    while session.udp_receive(socket, 1)?.errno == 0 {}
    Ok(())
}

fn ping(pod: &Pod, place: SocketAddr) -> Result<()> {
    let mut command: Process = pod.command("/usr/bin/ping".as_ref())?;
    command.args(["-c", "1", "-W", "2", &place.ip().to_string()]);
    let output = command.output().context("ping (Debian's iputils-ping)")?;
    if !output.status.success() {
        bail!("ping {}: {}", place.ip(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
