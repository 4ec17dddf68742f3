//! Datagrams: who may send, what the sender sees, where a Service leads, and which answers return.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::client::REFUSED;
use weir_tests::datagrams::counted;
use weir_tests::protocol::{Burst, Command, Udp};
use weir_tests::server::{OTHER_UDP, UDP};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::{Datagrams, Mesh, smi};

#[test]
fn a_granted_client_is_served_over_every_kind_of_socket_and_sees_whom_it_asked() -> Result<()> {
    let udp = Datagrams::new()?;
    let agent = udp.mesh.agent()?;
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    for place in udp.places() {
        let own = if place.is_ipv4() {
            udp.buyer.v4()
        } else {
            udp.buyer.v6()
        };
        for (kind, connected) in [
            (Udp::of(place.ip()), false),
            (Udp::of(place.ip()).v6(), false),
            (Udp::to(place), true),
            (Udp::to(place).v6(), true),
            (Udp::of(place.ip()).bound(own, 4000), false),
        ] {
            let opened = buyer.udp_open(&kind)?;
            let socket = opened.conn.with_context(|| format!("{kind:?}: {opened:?}"))?;
            if connected {
                let peer = opened.peer.context("getpeername")?;
                assert_eq!((peer.ip().to_canonical(), peer.port()), (place.ip(), UDP), "{kind:?}");
            }
            for round in 0..3 {
                let to = (!connected).then_some(place);
                let (echo, from) = buyer
                    .udp_ask(socket, to, &format!("{round}"))
                    .context(format!("{kind:?}"))?;
                assert_eq!(echo.peer.ip().to_canonical(), own, "the store sees the pod");
                assert_eq!((from.ip().to_canonical(), from.port()), (place.ip(), UDP), "{kind:?}");
            }
            if kind.bind.is_some() {
                // So that the next one can bind the port.
                buyer = udp.mesh.session(&udp.buyer)?;
            }
        }
    }
    assert!(counted(&agent, "send", "allow")? > 0.0);
    assert!(counted(&agent, "recvmsg", "shown")? > 0.0);
    assert_eq!(
        counted(&agent, "arrive", "deny")? + counted(&agent, "leave", "deny")?,
        0.0
    );
    Ok(())
}

#[test]
fn a_client_without_a_grant_gets_an_errno_at_once_and_is_counted_and_named() -> Result<()> {
    let udp = Datagrams::new()?;
    let agent = udp.mesh.agent()?;
    let mut thief = udp.mesh.session(&udp.thief)?;
    let mut tries = 0.0;
    for place in udp.places() {
        for v6 in [place.is_ipv6(), true] {
            let socket = thief.udp(&Udp { v6, ..Udp::default() })?;
            let (errno, ms) = thief.sent(&Command::UdpSend {
                socket,
                to: Some(place),
                text: "x".to_owned(),
            })?;
            assert_eq!(errno, REFUSED, "{place} {v6}");
            assert!(ms < 500.0, "{ms}");
            let opened = thief.udp_open(&Udp { v6, ..Udp::to(place) })?;
            opened.refused().with_context(|| format!("{place} {v6}"))?;
            tries += 2.0;
        }
    }
    assert_eq!(counted(&agent, "send", "deny")?, tries);
    let line = agent.wait_log(&["refused", "udp", "shop/thief", "no TrafficTarget with a UDPRoute"])?;
    assert!(line.contains("shop/store"), "{line}");
    Ok(())
}

#[test]
fn a_grant_holds_for_its_ports_and_says_nothing_about_tcp() -> Result<()> {
    let udp = Datagrams::new()?;
    udp.mesh.grant_tcp("thief", "store", &[])?;
    let _agent = udp.mesh.agent()?;
    let (mut buyer, mut thief) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.thief)?);
    let (allowed, other) = (
        SocketAddr::new(udp.store.v4(), UDP),
        SocketAddr::new(udp.store.v4(), OTHER_UDP),
    );
    let socket = buyer.udp(&Udp::default())?;
    buyer.udp_ask(socket, allowed, "a")?;
    assert_eq!(buyer.udp_send(socket, other, "b")?, REFUSED);
    for port in [UDP, 80, 9000] {
        buyer
            .open(&weir_tests::protocol::Dial::to(udp.store.v4(), port))?
            .refused()?;
    }
    let socket = thief.udp(&Udp::default())?;
    assert_eq!(thief.udp_send(socket, allowed, "c")?, REFUSED, "a TCPRoute is none");
    Ok(())
}

#[test]
fn a_split_gives_each_backend_its_share_of_the_flows_and_keeps_each_flow() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let buyer = mesh.client("buyer")?;
    for name in ["one", "two"] {
        mesh.server(name)?;
        mesh.udp_service(name, name, &[])?;
        mesh.manifests.write(
            &format!("udp-{name}"),
            &smi::documents(&[
                smi::udp_route(name, &[UDP]),
                smi::target(name, name, &["buyer"], &[("UDPRoute", name, &[])]),
            ]),
        )?;
    }
    mesh.udp_service("store", "nobody", &[&STORE4.to_string(), &STORE6.to_string()])?;
    mesh.manifests
        .write("split", &smi::split("split", "store", &[("one", 3), ("two", 1)]))?;
    let _agent = mesh.agent()?;
    let mut session = mesh.session(&buyer)?;
    for (ip, connect) in [(STORE4, false), (STORE4, true), (STORE6, false), (STORE6, true)] {
        let burst = session.udp_burst(SocketAddr::new(ip, UDP), 400, connect)?;
        let Burst {
            answers,
            refused: 0,
            lost: 0,
            strange: 0,
        } = &burst
        else {
            panic!("{ip} {connect}: {burst:?}")
        };
        // 100 of 400; five standard deviations are 43.
        let two = answers["two"];
        assert!((57..=143).contains(&two), "{ip} {connect}: {burst:?}");
    }
    let to = SocketAddr::new(STORE4, UDP);
    for _ in 0..20 {
        let socket = session.udp(&Udp::default())?;
        let (first, _) = session.udp_ask(socket, to, "first")?;
        for _ in 0..5 {
            let (next, _) = session.udp_ask(socket, to, "next")?;
            assert_eq!(next.name, first.name, "a flow stays where it is");
        }
    }
    Ok(())
}

#[test]
fn one_socket_keeps_the_flows_of_many_services_apart() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let buyer = mesh.client("buyer")?;
    let mut services = Vec::new();
    for number in 0..8 {
        let name = format!("store-{number}");
        mesh.server(&name)?;
        let ip: IpAddr = format!("10.96.1.{number}").parse()?;
        mesh.udp_service(&name, &name, &[&ip.to_string()])?;
        mesh.manifests.write(
            &format!("udp-{name}"),
            &smi::documents(&[
                smi::udp_route(&name, &[UDP]),
                smi::target(&name, &name, &["buyer"], &[("UDPRoute", &name, &[])]),
            ]),
        )?;
        services.push((name, SocketAddr::new(ip, UDP)));
    }
    let _agent = mesh.agent()?;
    let mut session = mesh.session(&buyer)?;
    let socket = session.udp(&Udp::default())?;
    for round in 0..3 {
        for (name, place) in &services {
            let (echo, from) = session.udp_ask(socket, *place, &format!("{round} {name}"))?;
            assert_eq!((&echo.name, from), (name, *place));
        }
    }
    Ok(())
}

#[test]
fn a_service_without_endpoints_refuses() -> Result<()> {
    let udp = Datagrams::new()?;
    udp.mesh.udp_service("empty", "nobody", &["10.96.0.99"])?;
    let agent = udp.mesh.agent()?;
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    let place: SocketAddr = "10.96.0.99:7000".parse()?;
    let socket = buyer.udp(&Udp::default())?;
    assert_eq!(buyer.udp_send(socket, place, "x")?, REFUSED);
    buyer.udp_open(&Udp::to(place))?.refused()?;
    assert_eq!(counted(&agent, "send", "no_endpoint")?, 2.0);
    agent.wait_log(&["refused", "udp", "Service shop/empty", "no ready endpoint"])?;
    Ok(())
}

#[test]
fn a_server_does_not_reach_a_client_that_has_not_asked() -> Result<()> {
    let udp = Datagrams::new()?;
    let agent = udp.mesh.agent_with(&["--udp-idle-seconds", "2"])?;
    let mut buyer = udp.mesh.session(&udp.buyer)?;
    let mut store = udp.mesh.session(&udp.store)?;
    for v6 in [false, true] {
        let (own, server) = if v6 {
            (udp.buyer.v6(), udp.store.v6())
        } else {
            (udp.buyer.v4(), udp.store.v4())
        };
        let asking = buyer.udp(&Udp::of(own).bound(own, 4100))?;
        let silent = buyer.udp(&Udp::of(own).bound(own, 4101))?;
        // From a port that nobody may reach: refused where it is sent.
        let free = store.udp(&Udp::of(server))?;
        assert_eq!(store.udp_send(free, SocketAddr::new(own, 4101), "knock")?, REFUSED);
        // From the served port a server may send; the client's side knows that it has not asked from there.
        buyer.udp_ask(asking, SocketAddr::new(server, UDP), "a")?;
        let serving = store.udp(&Udp::of(server).bound(server, 7002))?;
        assert_eq!(store.udp_send(serving, SocketAddr::new(own, 4101), "knock")?, REFUSED);
        let got = buyer.udp_receive(silent, 200)?;
        assert_eq!(got.errno, libc::EAGAIN, "{got:?}");
    }
    assert_eq!(counted(&agent, "arrive", "deny")?, 0.0);
    Ok(())
}

#[test]
fn answers_return_only_for_as_long_as_they_are_waited_for() -> Result<()> {
    let mut udp = Datagrams::new()?;
    udp.mesh.stop_server(&udp.store.clone());
    let agent = udp.mesh.agent_with(&["--udp-idle-seconds", "2"])?;
    let (mut buyer, mut store) = (udp.mesh.session(&udp.buyer)?, udp.mesh.session(&udp.store)?);
    for (own, server) in [(udp.buyer.v4(), udp.store.v4()), (udp.buyer.v6(), udp.store.v6())] {
        let serving = store.udp(&Udp::of(server).bound(server, UDP))?;
        let asking = buyer.udp(&Udp::of(own).bound(own, 4200))?;
        let silent = buyer.udp(&Udp::of(own).bound(own, 4201))?;
        let denied = counted(&agent, "arrive", "deny")?;
        // The served port may send, and only who has asked gets it.
        assert_eq!(store.udp_send(serving, SocketAddr::new(own, 4201), "not asked")?, 0);
        assert_eq!(buyer.udp_receive(silent, 200)?.errno, libc::EAGAIN);
        assert_eq!(counted(&agent, "arrive", "deny")?, denied + 1.0);
        assert_eq!(buyer.udp_send(asking, SocketAddr::new(server, UDP), "ask")?, 0);
        assert_eq!(store.udp_receive(serving, 1000)?.text, "ask");
        for _ in 0..3 {
            assert_eq!(store.udp_send(serving, SocketAddr::new(own, 4200), "answer")?, 0);
            assert_eq!(buyer.udp_receive(asking, 1000)?.text, "answer");
            std::thread::sleep(Duration::from_millis(900));
        }
        std::thread::sleep(Duration::from_millis(2200));
        assert_eq!(store.udp_send(serving, SocketAddr::new(own, 4200), "late")?, 0);
        assert_eq!(buyer.udp_receive(asking, 200)?.errno, libc::EAGAIN, "too late");
        // A connected socket waits for as long as it is open.
        let connected = buyer.udp(&Udp::to(SocketAddr::new(server, UDP)).bound(own, 4202))?;
        assert_eq!(buyer.udp_send(connected, None, "ask")?, 0);
        std::thread::sleep(Duration::from_millis(3000));
        assert_eq!(store.udp_send(serving, SocketAddr::new(own, 4202), "very late")?, 0);
        assert_eq!(buyer.udp_receive(connected, 1000)?.text, "very late");
    }
    let line = agent.wait_log(&[
        "refused",
        "udp",
        "source_pod=\"shop/store\"",
        "destination_pod=\"shop/buyer\"",
    ])?;
    assert!(line.contains("no TrafficTarget with a UDPRoute"), "{line}");
    Ok(())
}
