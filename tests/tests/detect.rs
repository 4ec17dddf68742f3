//! What a port speaks, with real pods: what is declared, then the first bytes; servers that speak first.

use std::time::{Duration, Instant};

use anyhow::Result;
use weir_tests::manifests::Service;
use weir_tests::protocol::{Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, Shop, eventually, smi};

/// How long a client may be silent where only HTTP is granted.
const DETECT: Duration = Duration::from_secs(5);

/// Two stores behind one Service that the engine splits, and a buyer who may send bytes to the first and HTTP to the other.
fn mixed() -> Result<(Mesh, Pod)> {
    let mut mesh = Mesh::new()?;
    let buyer = mesh.client("buyer")?;
    for version in ["store-v1", "store-v2"] {
        mesh.server(version)?;
        mesh.service_to_detect(version, version, &[])?;
    }
    mesh.service_to_detect("store", "none-has-this", &[&STORE4.to_string()])?;
    mesh.manifests.write(
        "split",
        &smi::split("store", "store", &[("store-v1", 1), ("store-v2", 1)]),
    )?;
    mesh.grant_tcp("buyer", "store-v1", &[WHOAMI])?;
    mesh.grant_http("buyer", "store-v2", "/")?;
    Ok((mesh, buyer))
}

#[test]
fn a_server_that_speaks_first_is_heard_soon_where_its_turn_allows_bytes() -> Result<()> {
    let (mesh, buyer) = mixed()?;
    let _agent = mesh.agent_with(&["--threads", "1"])?;
    let mut buyer = mesh.session(&buyer)?;
    let mut greeted = 0;
    for _ in 0..4 {
        let begun = Instant::now();
        let conn = buyer.must_open(&Dial::to(STORE4, WHOAMI).timeout_ms(10_000))?;
        match buyer.text(&Command::ReadLine(conn)) {
            Ok(line) if line.contains("store-v1") => {
                assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
                greeted += 1;
            }
            other => assert!(begun.elapsed() > DETECT / 2, "{other:?} after {:?}", begun.elapsed()),
        }
        buyer.run(&Command::Close(conn))?;
    }
    assert_eq!(greeted, 2);
    Ok(())
}

/// Sends bytes that are no HTTP to the store's port 80; what came back, and after how long.
fn ssh(buyer: &mut Session) -> Result<(weir_tests::protocol::Stream, Duration)> {
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP).timeout_ms(15_000))?;
    let begun = Instant::now();
    let text = "SSH-2.0-OpenSSH_9.2\r\n".to_string();
    buyer.stream(&Command::Send { conn, text })?;
    let received = buyer.stream(&Command::Read { conn, len: None })?;
    Ok((received, begun.elapsed()))
}

#[test]
fn what_is_not_http_is_refused_at_once_whatever_is_declared() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    for declared in ["http-web", "web", "tcp-web"] {
        let selector = [("app", "store")];
        shop.mesh.manifests.service(&Service {
            name: "store",
            ips: &[&STORE4.to_string()],
            selector: &selector,
            ports: &[(declared, HTTP, HTTP)],
        })?;
        eventually("HTTP is served", || {
            Ok(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status == 200)
        })?;
        let (received, took) = ssh(&mut buyer)?;
        assert!(
            received.fin || received.errno == libc::ECONNRESET,
            "{declared}: {received:?}"
        );
        assert!(took < Duration::from_secs(2), "{declared}: {took:?}");
    }
    Ok(())
}

#[test]
fn a_silent_client_waits_on_a_declared_http_port_and_is_refused_on_another() -> Result<()> {
    let shop = Shop::open()?;
    let _agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    std::thread::sleep(DETECT + Duration::from_secs(1));
    assert_eq!(buyer.http(conn, &Request::get("/books"))?.status, 200);
    shop.mesh.service_to_detect("store", "store", &[&STORE4.to_string()])?;
    std::thread::sleep(Duration::from_millis(500));
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP).timeout_ms(15_000))?;
    let begun = Instant::now();
    let received = buyer.stream(&Command::Read { conn, len: None })?;
    assert_eq!((received.len, received.errno), (0, libc::ECONNRESET));
    assert!(begun.elapsed() > DETECT / 2, "{:?}", begun.elapsed());
    Ok(())
}
