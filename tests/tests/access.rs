//! Who may connect: allowed, refused and unknown identities over every kind of socket, on one node.

use anyhow::{Context, Result};
use weir_tests::client::EPERM;
use weir_tests::protocol::{Command, Dial, Request, Seen};
use weir_tests::server::{HTTP, SINK, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Shop, smi};

/// Every way that a client may reach a port of the store: by pod address and ClusterIP, by each kind of socket.
fn ways(client: &Pod, store: &Pod, port: u16) -> Vec<Dial> {
    let by_v4 = [store.v4(), STORE4].map(|ip| Dial::to(ip, port));
    let by_v6 = [store.v6(), STORE6].map(|ip| Dial::to(ip, port));
    let mut ways = Vec::new();
    for (index, dial) in by_v4.into_iter().enumerate() {
        let source = 20_000 + index as u16 * 10;
        ways.extend([
            dial.clone(),
            dial.clone().nonblocking(),
            dial.clone().mapped(),
            dial.clone().mapped().nonblocking(),
        ]);
        ways.push(dial.bind(client.v4(), source + port % 10));
    }
    for (index, dial) in by_v6.into_iter().enumerate() {
        let source = 21_000 + index as u16 * 10;
        ways.extend([
            dial.clone(),
            dial.clone().nonblocking(),
            dial.bind(client.v6(), source + port % 10),
        ]);
    }
    ways
}

#[test]
fn an_allowed_request_is_served_and_both_sides_see_real_addresses() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    // A connection to the server is used again, and has the port of the client's connection that opened it.
    let mut ports = Vec::new();
    for dial in ways(&shop.buyer, &shop.store, HTTP) {
        let called = buyer.call(&dial, &Request::get("/books/1"), 2)?;
        assert_eq!(called.responses.len(), 2, "{dial:?}: {called:?}");
        let (peer, local) = (
            called.opened.peer.context("peer")?,
            called.opened.local.context("local")?,
        );
        assert_eq!(
            (peer.ip().to_canonical(), peer.port()),
            (dial.to.ip(), dial.to.port()),
            "{dial:?}"
        );
        let own = if dial.to.is_ipv4() {
            shop.buyer.v4()
        } else {
            shop.buyer.v6()
        };
        assert_eq!(local.ip().to_canonical(), own, "{dial:?}");
        ports.push(local.port());
        for response in &called.responses {
            assert_eq!(response.status, 200, "{dial:?}: {response:?}");
            let seen = response.seen()?;
            assert_eq!(seen.peer.ip().to_canonical(), own, "{dial:?}");
            assert!(
                ports.contains(&seen.peer.port()),
                "{dial:?}: {} of {ports:?}",
                seen.peer.port()
            );
            assert_eq!(seen.accepted, seen.peer, "{dial:?}");
            assert_eq!((seen.path.as_str(), seen.name.as_str()), ("/books/1", "store"));
        }
    }
    Ok(())
}

#[test]
fn an_allowed_tcp_connection_goes_straight_and_both_sides_see_real_addresses() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let ways = ways(&shop.buyer, &shop.store, WHOAMI);
    for dial in &ways {
        let opened = buyer.open(dial)?;
        let conn = opened.conn.with_context(|| format!("{dial:?}: {opened:?}"))?;
        let seen: Seen = serde_json::from_str(&buyer.text(&Command::ReadLine(conn))?)?;
        let (peer, local) = (opened.peer.context("peer")?, opened.local.context("local")?);
        assert_eq!(
            (peer.ip().to_canonical(), peer.port()),
            (dial.to.ip(), dial.to.port()),
            "{dial:?}"
        );
        assert_eq!(seen.peer.ip().to_canonical(), local.ip().to_canonical(), "{dial:?}");
        assert_eq!((seen.peer.port(), seen.accepted), (local.port(), seen.peer), "{dial:?}");
        buyer.run(&Command::Close(conn))?;
    }
    let metrics = agent.metrics()?;
    let verdicts = |outcome: &str| metrics.sum("weir_kernel_verdicts_total", &["hook=\"connect\"", outcome]);
    assert_eq!(
        verdicts("outcome=\"allow\""),
        ways.len() as f64,
        "in the kernel, all of them"
    );
    assert_eq!(verdicts("outcome=\"l7\""), 0.0);
    Ok(())
}

#[test]
fn a_client_without_a_grant_is_refused_at_once_over_every_kind_of_socket() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    for port in [HTTP, WHOAMI] {
        for dial in ways(&shop.thief, &shop.store, port) {
            thief.open(&dial)?.refused().with_context(|| format!("{dial:?}"))?;
        }
    }
    Ok(())
}

#[test]
fn the_errno_of_a_refusal_is_a_setting() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent_with(&["--refuse-with", "eperm"])?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    for dial in ways(&shop.thief, &shop.store, WHOAMI) {
        thief
            .open(&dial)?
            .refused_with(EPERM)
            .with_context(|| format!("{dial:?}"))?;
    }
    Ok(())
}

#[test]
fn a_path_or_method_without_a_rule_is_answered_403_with_a_reason() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let store = Dial::to(STORE4, HTTP);
    for request in [
        Request::get("/admin"),
        Request::new("PUT", "/books"),
        Request::new("DELETE", "/books/1"),
        Request::get("/xbooks"),
        Request::get("/?/books"),
        Request::new("get", "/books"),
    ] {
        let response = buyer.get(&store, &request)?;
        assert_eq!(response.status, 403, "{request:?}: {response:?}");
        assert!(
            !response.body.trim().is_empty() && response.body.len() < 500,
            "a short reason: {response:?}"
        );
    }
    // One connection, refused and allowed in turn: a refusal costs its request, nothing else reaches the store.
    let conn = buyer.must_open(&store)?;
    for (path, status) in [("/books/1", 200), ("/admin", 403), ("/books/2", 200)] {
        assert_eq!(buyer.http(conn, &Request::get(path))?.status, status, "{path}");
    }
    let last = buyer.http(conn, &Request::get("/books/3"))?.seen()?;
    assert_eq!(last.request, 3, "the store saw the allowed ones only: {last:?}");
    assert!(shop.mesh.server_of(&shop.store)?.ended().is_empty());
    Ok(())
}

#[test]
fn bytes_that_are_not_http_are_refused_where_only_http_is_granted() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    for text in [
        "\x16\x03\x01\x02\x00\x01\x00\x01",
        "SSH-2.0-OpenSSH\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        // The longest may take as long as a head may.
        let conn = buyer.must_open(&Dial::to(STORE4, HTTP).timeout_ms(15_000))?;
        buyer.stream(&Command::Send {
            conn,
            text: text.to_string(),
        })?;
        let received = buyer.stream(&Command::Read { conn, len: None })?;
        assert!(
            received.fin || received.errno == libc::ECONNRESET,
            "{text:?}: ended, not held: {received:?}"
        );
    }
    Ok(())
}

#[test]
fn a_target_of_tcp_and_http_routes_wants_both() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, store) = (mesh.client("buyer")?, mesh.server("store")?);
    let documents = [
        smi::routes("books", &[("read", "/books", &["GET"])]),
        smi::tcp_route("port", &[HTTP]),
        smi::target(
            "both",
            "store",
            &["buyer"],
            &[("TCPRoute", "port", &[]), ("HTTPRouteGroup", "books", &[])],
        ),
    ];
    mesh.manifests.write("both", &smi::documents(&documents))?;
    let _agent = mesh.agent()?;
    let mut buyer = mesh.session(&buyer)?;
    assert_eq!(
        buyer.get(&Dial::to(store.v4(), HTTP), &Request::get("/books"))?.status,
        200
    );
    assert_eq!(
        buyer.get(&Dial::to(store.v4(), HTTP), &Request::get("/admin"))?.status,
        403
    );
    buyer.open(&Dial::to(store.v4(), WHOAMI))?.refused()
}

#[test]
fn a_tcp_route_grants_its_ports_only() -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, clerk, store) = (mesh.client("buyer")?, mesh.client("clerk")?, mesh.server("store")?);
    mesh.grant_tcp("buyer", "store", &[WHOAMI])?;
    mesh.grant_tcp("clerk", "store", &[])?;
    let _agent = mesh.agent()?;
    let (mut buyer, mut clerk) = (mesh.session(&buyer)?, mesh.session(&clerk)?);
    buyer.must_open(&Dial::to(store.v4(), WHOAMI))?;
    for port in [HTTP, SINK] {
        buyer.open(&Dial::to(store.v4(), port))?.refused()?;
    }
    for port in [HTTP, WHOAMI, SINK] {
        clerk
            .must_open(&Dial::to(store.v4(), port))
            .context("no ports: all of them")?;
    }
    Ok(())
}

#[test]
fn a_pod_that_no_manifest_knows_is_refused() -> Result<()> {
    let shop = Shop::open()?;
    let stranger = shop.mesh.world.pod("stranger")?;
    let _agent = shop.mesh.agent()?;
    let mut stranger = shop.mesh.session(&stranger)?;
    for (ip, port) in [
        (shop.store.v4(), HTTP),
        (shop.store.v6(), HTTP),
        (shop.store.v4(), WHOAMI),
    ] {
        stranger
            .open(&Dial::to(ip, port))?
            .refused()
            .with_context(|| format!("{ip}:{port}"))?;
    }
    Ok(())
}

#[test]
fn a_namespace_that_takes_no_part_is_left_alone() -> Result<()> {
    let mut shop = Shop::open()?;
    shop.mesh.manifests.namespace("plain", None)?;
    let plain = shop.mesh.server_in("plain", "plain")?;
    let other = shop.mesh.server_in("other", "plain")?;
    let agent = shop.mesh.agent()?;
    for pod in [&shop.thief, &other] {
        let mut client = shop.mesh.session(pod)?;
        let called = client.call(&Dial::to(plain.v4(), HTTP), &Request::new("DELETE", "/admin"), 1)?;
        let seen = called.responses.first().context("no response")?.seen()?;
        assert_eq!(seen.peer.ip().to_canonical(), pod.v4());
        assert_eq!(Some(seen.peer.port()), called.opened.local.map(|local| local.port()));
    }
    let mut client = shop.mesh.session(&plain)?;
    client
        .open(&Dial::to(shop.store.v4(), HTTP))?
        .refused()
        .context("into an enforced namespace")?;
    let seen = agent
        .metrics()?
        .sum("weir_kernel_verdicts_total", &["hook=\"connect\"", "outcome=\"l7\""]);
    assert_eq!(seen, 0.0, "nothing was captured");
    Ok(())
}

#[test]
fn an_unknown_mode_enforces_and_is_reported() -> Result<()> {
    let mut mesh = Mesh::new()?;
    mesh.manifests.namespace("shop", Some("sometimes"))?;
    let (client, store) = (mesh.client("buyer")?, mesh.server("store")?);
    let agent = mesh.agent()?;
    mesh.session(&client)?.open(&Dial::to(store.v4(), WHOAMI))?.refused()?;
    assert!(agent.plan()?.to_string().contains("sometimes"), "/plan names the value");
    Ok(())
}

#[test]
fn a_pod_reaches_itself() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut store = shop.mesh.session(&shop.store)?;
    for ip in [shop.store.v4(), shop.store.v6(), "127.0.0.1".parse()?, "::1".parse()?] {
        let response = store.get(&Dial::to(ip, HTTP), &Request::get("/any"))?;
        assert_eq!(response.status, 200, "{ip}: {response:?}");
    }
    Ok(())
}
