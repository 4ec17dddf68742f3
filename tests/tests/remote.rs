//! Peers of other nodes: judged when they arrive, by the address that the manifests know.

use anyhow::{Context, Result};
use weir_tests::Shop;
use weir_tests::protocol::{Command, Dial, Request, Seen};
use weir_tests::server::{HTTP, SINK, WHOAMI};

#[test]
fn a_granted_peer_of_another_node_is_served_and_its_address_is_seen() -> Result<()> {
    let shop = remote_shop()?;
    let _agent = shop.shop.mesh.agent()?;
    let mut buyer = shop.shop.mesh.session(&shop.far_buyer)?;
    for (ip, own) in [
        (shop.shop.store.v4(), shop.far_buyer.v4()),
        (shop.shop.store.v6(), shop.far_buyer.v6()),
    ] {
        let called = buyer.call(&Dial::to(ip, HTTP), &Request::get("/books"), 2)?;
        assert_eq!(called.responses.len(), 2, "{called:?}");
        for response in &called.responses {
            let seen = response.seen()?;
            let port = called.opened.local.context("local")?.port();
            assert_eq!((seen.peer.ip().to_canonical(), seen.peer.port()), (own, port));
        }
        let conn = buyer.must_open(&Dial::to(ip, WHOAMI))?;
        let seen: Seen = serde_json::from_str(&buyer.text(&Command::ReadLine(conn))?)?;
        assert_eq!(seen.peer.ip().to_canonical(), own);
    }
    Ok(())
}

#[test]
fn requests_of_a_peer_of_another_node_are_judged_by_the_same_rules() -> Result<()> {
    let shop = remote_shop()?;
    let _agent = shop.shop.mesh.agent()?;
    let mut buyer = shop.shop.mesh.session(&shop.far_buyer)?;
    let conn = buyer.must_open(&Dial::to(shop.shop.store.v4(), HTTP))?;
    for (request, status) in [
        (Request::get("/books/1"), 200),
        (Request::get("/admin"), 403),
        (Request::new("DELETE", "/books/1"), 403),
        (Request::get("/books/2"), 200),
    ] {
        assert_eq!(buyer.http(conn, &request)?.status, status, "{request:?}");
    }
    Ok(())
}

#[test]
fn a_peer_of_another_node_without_a_grant_is_refused_at_once() -> Result<()> {
    let shop = remote_shop()?;
    let agent = shop.shop.mesh.agent()?;
    let mut thief = shop.shop.mesh.session(&shop.far_thief)?;
    for ip in [shop.shop.store.v4(), shop.shop.store.v6()] {
        for port in [HTTP, WHOAMI, SINK] {
            thief
                .open(&Dial::to(ip, port))?
                .refused()
                .with_context(|| format!("{ip}:{port}"))?;
        }
    }
    let denied = agent.metrics()?.sum(
        "weir_kernel_verdicts_total",
        &["hook=\"sk_lookup\"", "outcome=\"deny\""],
    );
    assert_eq!(denied, 6.0);
    Ok(())
}

#[test]
fn an_address_that_nobody_knows_is_refused_at_once() -> Result<()> {
    let shop = remote_shop()?;
    let stranger = shop.shop.mesh.world.remote_pod(&shop.remote, "stranger")?;
    let _agent = shop.shop.mesh.agent()?;
    let mut stranger = shop.shop.mesh.session(&stranger)?;
    for ip in [shop.shop.store.v4(), shop.shop.store.v6()] {
        for port in [HTTP, WHOAMI] {
            stranger
                .open(&Dial::to(ip, port))?
                .refused()
                .with_context(|| format!("{ip}:{port}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_local_client_reaches_a_pod_of_another_node() -> Result<()> {
    let mut shop = remote_shop()?;
    let far = shop.shop.mesh.remote_client(&shop.remote, "depot")?;
    shop.shop.mesh.serve(&far)?;
    shop.shop.mesh.grant_tcp("thief", "depot", &[WHOAMI])?;
    shop.shop.mesh.grant_http("clerk", "depot", "/stock")?;
    let clerk_pod = shop.shop.mesh.client("clerk")?;
    let _agent = shop.shop.mesh.agent()?;
    let mut thief = shop.shop.mesh.session(&shop.shop.thief)?;
    thief.must_open(&Dial::to(far.v4(), WHOAMI))?;
    thief
        .open(&Dial::to(far.v4(), SINK))?
        .refused()
        .context("the client's side refuses early")?;
    let mut clerk = shop.shop.mesh.session(&clerk_pod)?;
    let response = clerk.get(&Dial::to(far.v4(), HTTP), &Request::get("/stock"))?;
    assert_eq!(response.status, 200, "{response:?}");
    assert_eq!(
        response.seen()?.peer.ip().to_canonical(),
        clerk_pod.v4(),
        "the far server sees the pod's address"
    );
    Ok(())
}

struct RemoteShop {
    shop: Shop,
    remote: weir_tests::world::Remote,
    far_buyer: weir_tests::world::Pod,
    far_thief: weir_tests::world::Pod,
}

/// The shop with a buyer and a thief on another node, of the same accounts.
fn remote_shop() -> Result<RemoteShop> {
    let mut shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far_buyer = shop.mesh.world.remote_pod(&remote, "far-buyer")?;
    shop.mesh.declare(&far_buyer, "shop", "buyer")?;
    let far_thief = shop.mesh.remote_client(&remote, "far-thief")?;
    Ok(RemoteShop {
        shop,
        remote,
        far_buyer,
        far_thief,
    })
}
