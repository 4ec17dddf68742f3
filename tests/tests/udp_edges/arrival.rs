//! Who takes no part, other nodes, other protocols, false addresses, and a pod that sends to everybody.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use weir_tests::Datagrams;
use weir_tests::client::{EPERM, REFUSED};
use weir_tests::datagrams::counted;
use weir_tests::protocol::{Command, Udp};
use weir_tests::server::UDP;
use weir_tests::world::Pod;

use super::ping;

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
