//! What the programs do on this kernel: a node with an agent, and one connection of each kind.
//!
//! The suites go through every kind of socket; this is the least that shows that each program ran and decided.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail, ensure};
use weir_tests::client::REFUSED;
use weir_tests::protocol::{Command, Dial, Request, Seen, Udp};
use weir_tests::server::{HTTP, UDP, WHOAMI};
use weir_tests::world::Pod;
use weir_tests::{Agent, Mesh, Session};

use crate::Report;

/// ClusterIP of Service `store`.
const STORE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10));
/// ClusterIP of Service `echo`, which is UDP.
const ECHO: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 11));

/// A check by its row in the table.
type Check = (&'static str, fn(&mut Scene) -> Result<()>);

const CHECKS: &[Check] = &[
    ("L4 allow, IPv4, IPv6 and mapped", allows),
    ("L4 allow by ClusterIP, which stays the peer", translates),
    ("L4 refusal, ECONNREFUSED at once", refuses),
    ("capture, a request is served, addresses are real", captures),
    ("capture, a request without a rule is answered 403", forbids),
    ("a peer of another node is judged on arrival", judges_arrivals),
    (
        "UDP, granted by address and by ClusterIP, answers return",
        serves_datagrams,
    ),
    (
        "UDP, refused with an errno, and on arrival from another node",
        refuses_datagrams,
    ),
    ("another sk_lookup program opens nothing", holds_against_another_program),
    ("agent killed, L4 goes on, L7 is refused", outlives_the_agent),
];

struct Scene {
    agent: Agent,
    buyer: Session,
    thief: Session,
    far_buyer: Session,
    far_thief: Session,
    buyer_pod: Pod,
    far_buyer_pod: Pod,
    store: Pod,
    hijacked: Pod,
}

/// One row per check; one row alone where the scene can't be set.
pub fn run(report: &mut Report) {
    if let Err(error) = checks(report) {
        report.check("pods and a ready agent", Err(error));
    }
}

fn checks(report: &mut Report) -> Result<()> {
    let mut mesh = Mesh::new()?;
    let (buyer, thief) = (mesh.client("buyer")?, mesh.client("thief")?);
    let (store, hijacked) = (mesh.server("store")?, mesh.server("hijacked")?);
    let remote = mesh.world.remote("node-b")?;
    let (far_buyer, far_thief) = (
        mesh.remote_client(&remote, "far-buyer")?,
        mesh.remote_client(&remote, "far-thief")?,
    );
    mesh.service("store", "store", &[&STORE.to_string()])?;
    mesh.udp_service("echo", "store", &[&ECHO.to_string()])?;
    for source in ["buyer", "far-buyer"] {
        mesh.grant_udp(source, "store", &[UDP])?;
        mesh.grant_http(source, "store", "/books")?;
        mesh.grant_tcp(source, "store", &[WHOAMI])?;
    }
    mesh.server_of(&hijacked)?.hijack("whoami")?;
    let mut scene = Scene {
        agent: mesh.agent()?,
        buyer: mesh.session(&buyer)?,
        thief: mesh.session(&thief)?,
        far_buyer: mesh.session(&far_buyer)?,
        far_thief: mesh.session(&far_thief)?,
        buyer_pod: buyer,
        far_buyer_pod: far_buyer,
        store,
        hijacked,
    };
    report.check("pods and a ready agent", Ok(()));
    let before = report.failed;
    for (name, check) in CHECKS {
        let result = check(&mut scene);
        if result.is_err() && scene.agent.pid().is_some() {
            // For the console's reader: what the kernel counted, at the time.
            println!(
                "{}",
                scene.agent.admin("/metrics").map(|(_, text)| text).unwrap_or_default()
            );
        }
        report.check(name, result);
    }
    if report.failed > before {
        println!("{}", scene.agent.log());
    }
    Ok(())
}

fn allows(scene: &mut Scene) -> Result<()> {
    let (v4, v6) = (scene.store.v4(), scene.store.v6());
    for (dial, own) in [
        (Dial::to(v4, WHOAMI), scene.buyer_pod.v4()),
        (Dial::to(v6, WHOAMI), scene.buyer_pod.v6()),
        (Dial::to(v4, WHOAMI).mapped(), scene.buyer_pod.v4()),
    ] {
        let peer = whoami(&mut scene.buyer, &dial)?.peer.ip().to_canonical();
        ensure!(peer == own, "{}: the server sees {peer}, not {own}", dial.to);
    }
    Ok(())
}

fn translates(scene: &mut Scene) -> Result<()> {
    let opened = scene.buyer.open(&Dial::to(STORE, WHOAMI))?;
    ensure!(opened.conn.is_some(), "errno {}", opened.errno);
    let peer = opened.peer.context("getpeername")?;
    ensure!(
        peer.ip().to_canonical() == STORE && peer.port() == WHOAMI,
        "the client sees {peer}"
    );
    Ok(())
}

fn refuses(scene: &mut Scene) -> Result<()> {
    for (ip, port) in [(scene.store.v4(), WHOAMI), (scene.store.v6(), HTTP), (STORE, WHOAMI)] {
        refused(&mut scene.thief, &Dial::to(ip, port))?;
    }
    Ok(())
}

fn captures(scene: &mut Scene) -> Result<()> {
    for ip in [STORE, scene.store.v6()] {
        let own = if ip.is_ipv4() {
            scene.buyer_pod.v4()
        } else {
            scene.buyer_pod.v6()
        };
        let called = scene.buyer.call(&Dial::to(ip, HTTP), &Request::get("/books"), 2)?;
        ensure!(called.responses.len() == 2, "{ip}: {called:?}");
        ensure!(
            called.opened.peer.is_some_and(|peer| peer.ip() == ip),
            "{ip}: {:?}",
            called.opened
        );
        for response in &called.responses {
            let peer = response.seen()?.peer.ip().to_canonical();
            ensure!(peer == own, "{ip}: the server sees {peer}, not {own}");
        }
    }
    Ok(())
}

fn forbids(scene: &mut Scene) -> Result<()> {
    let response = scene.buyer.get(&Dial::to(STORE, HTTP), &Request::get("/admin"))?;
    ensure!(response.status == 403, "{response:?}");
    Ok(())
}

fn judges_arrivals(scene: &mut Scene) -> Result<()> {
    for (ip, own) in [
        (scene.store.v4(), scene.far_buyer_pod.v4()),
        (scene.store.v6(), scene.far_buyer_pod.v6()),
    ] {
        let peer = whoami(&mut scene.far_buyer, &Dial::to(ip, WHOAMI))?
            .peer
            .ip()
            .to_canonical();
        ensure!(peer == own, "{ip}: the server sees {peer}, not {own}");
        let response = scene.far_buyer.get(&Dial::to(ip, HTTP), &Request::get("/books"))?;
        ensure!(response.status == 200, "{ip}: {response:?}");
        refused(&mut scene.far_thief, &Dial::to(ip, WHOAMI))?;
        refused(&mut scene.far_thief, &Dial::to(ip, HTTP))?;
    }
    Ok(())
}

fn serves_datagrams(scene: &mut Scene) -> Result<()> {
    for ip in [scene.store.v4(), scene.store.v6(), ECHO] {
        let place = SocketAddr::new(ip, UDP);
        for (kind, to) in [
            (Udp::of(ip), Some(place)),
            (Udp::of(ip).v6(), Some(place)),
            (Udp::to(place), None),
            (Udp::to(place).v6(), None),
        ] {
            let socket = scene.buyer.udp(&kind)?;
            let (_, from) = scene.buyer.udp_ask(socket, to, "hello")?;
            ensure!(from.ip().to_canonical() == ip, "{kind:?}: the answer comes from {from}");
        }
    }
    let place = SocketAddr::new(scene.store.v6(), UDP);
    let socket = scene.far_buyer.udp(&Udp::of(place.ip()))?;
    scene.far_buyer.udp_ask(socket, place, "from afar")?;
    Ok(())
}

fn refuses_datagrams(scene: &mut Scene) -> Result<()> {
    for ip in [scene.store.v4(), scene.store.v6(), ECHO] {
        let place = SocketAddr::new(ip, UDP);
        let socket = scene.thief.udp(&Udp::of(ip))?;
        let errno = scene.thief.udp_send(socket, place, "x")?;
        ensure!(errno == REFUSED, "{place}: errno {errno}");
        let errno = scene.thief.udp_open(&Udp::to(place))?.errno;
        ensure!(errno == REFUSED, "connecting to {place}: errno {errno}");
    }
    for ip in [scene.store.v4(), scene.store.v6()] {
        let socket = scene.far_thief.udp(&Udp::of(ip))?;
        scene.far_thief.udp_send(socket, SocketAddr::new(ip, UDP), "x")?;
        let got = scene.far_thief.udp_receive(socket, 300)?;
        ensure!(got.errno != 0, "{ip}: answered without a grant: {got:?}");
    }
    Ok(())
}

/// Its sk_lookup program gives everything to its own listener, so only the check behind sk_lookup can refuse. That one
/// has no socket to answer with: it drops, and the client waits.
fn holds_against_another_program(scene: &mut Scene) -> Result<()> {
    for ip in [scene.hijacked.v4(), scene.hijacked.v6()] {
        let opened = scene.far_thief.open(&Dial::to(ip, WHOAMI).timeout_ms(1500))?;
        ensure!(opened.conn.is_none(), "{ip}: connected without a grant");
    }
    Ok(())
}

fn outlives_the_agent(scene: &mut Scene) -> Result<()> {
    scene.agent.kill()?;
    whoami(&mut scene.buyer, &Dial::to(STORE, WHOAMI))?;
    refused(&mut scene.thief, &Dial::to(STORE, WHOAMI))?;
    refused(&mut scene.buyer, &Dial::to(STORE, HTTP))?;
    Ok(())
}

/// What the server on [`WHOAMI`] says of a connection.
fn whoami(client: &mut Session, dial: &Dial) -> Result<Seen> {
    let conn = client.must_open(dial)?;
    let line = client.text(&Command::ReadLine(conn))?;
    serde_json::from_str(&line).with_context(|| line.clone())
}

fn refused(client: &mut Session, dial: &Dial) -> Result<()> {
    let opened = client.open(dial)?;
    if opened.conn.is_some() {
        bail!("{}: connected without a grant", dial.to);
    }
    ensure!(
        opened.errno == REFUSED,
        "{}: errno {} instead of ECONNREFUSED",
        dial.to,
        opened.errno
    );
    // Under emulation everything is slow; waiting for an answer that never comes takes a second at least.
    ensure!(opened.ms < 900.0, "{}: refused after {} ms", dial.to, opened.ms);
    Ok(())
}
