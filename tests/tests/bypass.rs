//! Ways round the capture. Whatever a pod does on its own side, the server's side refuses what is not granted.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result};
use weir_tests::datagrams::counted;
use weir_tests::protocol::{Command, Dial, Opened, Request};
use weir_tests::server::{HTTP, PORTS, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, Shop, eventually, netns};

/// Every address of the store.
fn addresses(shop: &Shop) -> [IpAddr; 4] {
    [shop.store.v4(), shop.store.v6(), STORE4, STORE6]
}

/// Sockets that are made in an unusual way.
fn unusual(dial: Dial) -> [(&'static str, Dial); 4] {
    [
        ("SO_BINDTODEVICE", dial.clone().device("eth0")),
        (
            "SO_BINDTODEVICE and non-blocking",
            dial.clone().device("eth0").nonblocking(),
        ),
        ("MPTCP", dial.clone().mptcp()),
        ("TCP Fast Open", dial.fastopen()),
    ]
}

#[test]
fn unusual_sockets_are_refused_where_usual_ones_are() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    for ip in addresses(&shop) {
        for port in [HTTP, WHOAMI] {
            for (what, dial) in unusual(Dial::to(ip, port)) {
                thief
                    .open(&dial)?
                    .refused()
                    .with_context(|| format!("{what} to {ip}:{port}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn unusual_sockets_are_served_and_judged_where_usual_ones_are() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    for ip in addresses(&shop) {
        for (what, dial) in unusual(Dial::to(ip, WHOAMI)) {
            let conn = buyer.must_open(&dial).context(what)?;
            let hello = buyer
                .text(&Command::ReadLine(conn))
                .with_context(|| format!("{what} to {ip}"))?;
            assert!(hello.contains("\"name\":\"store\""), "{what}: {hello}");
        }
        for (what, dial) in unusual(Dial::to(ip, HTTP)) {
            let conn = buyer.must_open(&dial).with_context(|| format!("{what} to {ip}"))?;
            if dial.fastopen {
                // The request line went out with the SYN; its path is not granted.
                let text = "host: store\r\n\r\n".to_string();
                buyer.stream(&Command::Send { conn, text })?;
                let status = buyer.text(&Command::ReadLine(conn))?;
                assert!(status.starts_with("HTTP/1.1 403"), "{what} to {ip}: {status}");
                continue;
            }
            for (path, status) in [("/books", 200), ("/admin", 403)] {
                assert_eq!(buyer.http(conn, &Request::get(path))?.status, status, "{what} to {ip}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_socket_bound_to_a_device_without_the_pods_address_reaches_the_engine() -> Result<()> {
    let shop = Shop::open()?;
    netns::batch(
        &shop.buyer.netns,
        "link add other type veth peer name end\nlink set other up\nlink set end up\n",
    )?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    for ip in addresses(&shop) {
        let dial = Dial::to(ip, HTTP).device("other");
        for (path, status) in [("/books", 200), ("/admin", 403)] {
            assert_eq!(buyer.get(&dial, &Request::get(path))?.status, status, "{ip}");
        }
    }
    Ok(())
}

#[test]
fn a_syn_by_hand_is_refused_where_a_connection_is() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let families = [
        (shop.thief.v4(), shop.buyer.v4(), shop.store.v4()),
        (shop.thief.v6(), shop.buyer.v6(), shop.store.v6()),
    ];
    for (thief_ip, buyer_ip, store) in families {
        for (index, port) in [HTTP, WHOAMI].into_iter().enumerate() {
            let syn = |from: IpAddr| Command::Syn {
                from: (from, 4100 + index as u16).into(),
                to: (store, port).into(),
                wait_ms: 700,
            };
            assert_ne!(thief.text(&syn(thief_ip))?, "syn-ack", "{store}:{port}");
            assert_eq!(
                buyer.text(&syn(buyer_ip))?,
                "syn-ack",
                "{store}:{port}: the same by the buyer"
            );
        }
    }
    Ok(())
}

#[test]
fn a_syn_from_a_wire_that_claims_the_pods_own_address_is_refused() -> Result<()> {
    let mut shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far = shop.mesh.remote_client(&remote, "far-thief")?;
    let agent = shop.mesh.agent()?;
    let mut far = shop.mesh.session(&far)?;
    let denied = counted(&agent, "syn", "deny")?;
    // IPv4 drops such packets by itself.
    let forged = Command::Forge {
        from: SocketAddr::new(shop.store.v6(), 4242),
        to: SocketAddr::new(shop.store.v6(), WHOAMI),
        proto: 6,
        text: "SYN".to_owned(),
    };
    assert_eq!(far.sent(&forged)?.0, 0, "nobody judges there");
    eventually("it is refused", || Ok(counted(&agent, "syn", "deny")? > denied))?;
    Ok(())
}

#[test]
fn a_socket_made_before_the_agent_came_is_judged_when_it_connects() -> Result<()> {
    let shop = Shop::open()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    let mut sockets = Vec::new();
    for ip in addresses(&shop) {
        for port in [HTTP, WHOAMI] {
            let dial = Dial::to(ip, port);
            sockets.push((port, buyer.socket(&dial)?, thief.socket(&dial)?));
        }
    }
    let _agent = shop.mesh.agent()?;
    for (port, bought, stolen) in sockets {
        thief.connect(stolen)?.refused()?;
        let conn = buyer.connect(bought)?.conn.context("the buyer's socket")?;
        if port == HTTP {
            assert_eq!(buyer.http(conn, &Request::get("/admin"))?.status, 403);
        }
    }
    Ok(())
}

#[test]
fn a_process_that_left_its_control_group_is_judged_on_arrival() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    for session in [&mut buyer, &mut thief] {
        session.run(&Command::MoveTo(shop.mesh.world.outside_cgroup()))?;
    }
    for ip in [shop.store.v4(), shop.store.v6()] {
        for port in [HTTP, WHOAMI] {
            thief
                .open(&Dial::to(ip, port))?
                .refused()
                .with_context(|| format!("{ip}:{port}"))?;
        }
        buyer.must_open(&Dial::to(ip, WHOAMI))?;
        for (path, status) in [("/books", 200), ("/admin", 403)] {
            let response = buyer.get(&Dial::to(ip, HTTP), &Request::get(path))?;
            assert_eq!(response.status, status, "{ip}: {response:?}");
        }
    }
    Ok(())
}

#[test]
fn a_namespace_inside_a_pod_is_nobody_we_know() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    for pod in [&shop.buyer, &shop.thief] {
        let nested = shop.mesh.world.nested(pod)?;
        let mut session = shop.mesh.session(&nested)?;
        for ip in [shop.store.v4(), shop.store.v6()] {
            for port in [HTTP, WHOAMI] {
                let opened = session.open(&Dial::to(ip, port))?;
                opened
                    .refused()
                    .with_context(|| format!("inside {} to {ip}:{port}", pod.name))?;
            }
        }
    }
    Ok(())
}

#[test]
fn the_engines_own_ports_open_nothing() -> Result<()> {
    let mut shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far = shop.mesh.remote_client(&remote, "far")?;
    // Somebody who may use every port of the store, and so reaches the listener itself.
    let clerk = shop.mesh.client("clerk")?;
    shop.mesh.grant_tcp("clerk", "store", &[])?;
    let agent = shop.mesh.agent()?;
    let ports = engine_ports(&shop.store)?;
    assert!(!ports.is_empty(), "the engine listens in the store's namespace");
    for pod in [&shop.thief, &shop.buyer, &far, &clerk] {
        let mut session = shop.mesh.session(pod)?;
        for port in &ports {
            for ip in [shop.store.v4(), shop.store.v6()] {
                opens_nothing(&mut session, &Dial::to(ip, *port)).with_context(|| pod.name.clone())?;
            }
        }
    }
    // And in the client's own pod, where nothing is in the way of the connection itself.
    let mut thief = shop.mesh.session(&shop.thief)?;
    for port in engine_ports(&shop.thief)? {
        for ip in [shop.thief.v4(), shop.thief.v6(), "127.0.0.1".parse()?, "::1".parse()?] {
            opens_nothing(&mut thief, &Dial::to(ip, port))?;
        }
    }
    // No hot loop, and nobody else is hurt.
    let open = agent.metrics()?.sum("weir_engine_open", &[]);
    assert!(open < 10.0, "{open} connections are open");
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    Ok(())
}

#[test]
fn another_sk_lookup_program_opens_nothing_when_it_was_there_first() -> Result<()> {
    let shop = hijackable()?;
    shop.shop.mesh.server_of(&shop.shop.store)?.hijack("http")?;
    let _agent = shop.shop.mesh.agent()?;
    hijack_opens_nothing(&shop)
}

#[test]
fn another_sk_lookup_program_opens_nothing_when_it_comes_later() -> Result<()> {
    let shop = hijackable()?;
    let _agent = shop.shop.mesh.agent()?;
    shop.shop.mesh.server_of(&shop.shop.store)?.hijack("http")?;
    hijack_opens_nothing(&shop)
}

struct Hijackable {
    shop: Shop,
    far_buyer: Pod,
    far_thief: Pod,
}

fn hijackable() -> Result<Hijackable> {
    let mut shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far_buyer = shop.mesh.world.remote_pod(&remote, "far-buyer")?;
    shop.mesh.declare(&far_buyer, "shop", "buyer")?;
    let far_thief = shop.mesh.remote_client(&remote, "far-thief")?;
    Ok(Hijackable {
        shop,
        far_buyer,
        far_thief,
    })
}

/// A connection that the other program steers to the application must not come to be: a SYN that is dropped behind it
/// is not answered, so waiting in vain is as good as a refusal here.
fn hijack_opens_nothing(shop: &Hijackable) -> Result<()> {
    let store = &shop.shop.store;
    let closed = |opened: &Opened| opened.errno != 0;
    for pod in [&shop.shop.thief, &shop.far_thief] {
        let mut thief = shop.shop.mesh.session(pod)?;
        for (ip, port) in [
            (store.v4(), HTTP),
            (store.v6(), HTTP),
            (store.v4(), WHOAMI),
            (store.v4(), 81),
        ] {
            let opened = thief.open(&Dial::to(ip, port).timeout_ms(700))?;
            assert!(closed(&opened), "{} to {ip}:{port}: {opened:?}", pod.name);
        }
    }
    // Who may only GET /books must not get round the engine either.
    let mut far = shop.shop.mesh.session(&shop.far_buyer)?;
    let called = far.call(&Dial::to(store.v4(), HTTP).timeout_ms(700), &Request::get("/admin"), 1)?;
    assert!(
        called.responses.iter().all(|response| response.status != 200),
        "{called:?}"
    );
    Ok(())
}

/// Not connected, or ended without an answer, or with a refusal; never held open.
fn opens_nothing(session: &mut Session, dial: &Dial) -> Result<()> {
    let dial = dial.clone().timeout_ms(7000);
    let Some(conn) = session.open(&dial)?.conn else {
        return Ok(());
    };
    let response = session.http(conn, &Request::get("/books"))?;
    assert!(response.status == 0 || response.status >= 400, "{dial:?}: {response:?}");
    assert_ne!(response.errno, libc::EAGAIN, "{dial:?}: held open: {response:?}");
    session.run(&Command::Close(conn))?;
    Ok(())
}

/// Ports that somebody listens on in the pod's namespace, without those of the application.
fn engine_ports(pod: &Pod) -> Result<BTreeSet<u16>> {
    let own: BTreeSet<u16> = PORTS.iter().map(|(_, port)| *port).collect();
    netns::within(&pod.netns, || {
        let mut ports = BTreeSet::new();
        for file in ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"] {
            for line in fs::read_to_string(file).context(file)?.lines().skip(1) {
                // man 5 proc: sl, local_address (hex, ADDR:PORT), rem_address, st (0A: LISTEN).
                let fields: Vec<&str> = line.split_whitespace().collect();
                if fields.get(3) == Some(&"0A")
                    && let Some((_, port)) = fields.get(1).and_then(|address| address.rsplit_once(':'))
                {
                    ports.insert(u16::from_str_radix(port, 16).context("a port")?);
                }
            }
        }
        Ok(ports.difference(&own).copied().collect())
    })
}

/// A mesh without the agent does open all of this: the tests above could fail.
#[test]
fn without_the_agent_every_one_of_these_ways_is_open() -> Result<()> {
    let shop = hijackable()?;
    let mesh: &Mesh = &shop.shop.mesh;
    let store = &shop.shop.store;
    let mut thief = mesh.session(&shop.shop.thief)?;
    for (what, dial) in unusual(Dial::to(store.v4(), WHOAMI)) {
        assert_eq!(thief.open(&dial)?.errno, 0, "{what}");
    }
    let nested = mesh.world.nested(&shop.shop.thief)?;
    let mut nested = mesh.session(&nested)?;
    for ip in [store.v4(), store.v6()] {
        assert_eq!(
            nested.open(&Dial::to(ip, WHOAMI))?.errno,
            0,
            "from a nested namespace to {ip}"
        );
    }
    mesh.server_of(store)?.hijack("http")?;
    let mut far = mesh.session(&shop.far_thief)?;
    assert_eq!(far.get(&Dial::to(store.v4(), 81), &Request::get("/admin"))?.status, 200);
    Ok(())
}
