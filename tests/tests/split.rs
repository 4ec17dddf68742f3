//! Splits: shares over many requests and connections, what gets nothing, and changes while requests run.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use weir_tests::protocol::{Answer, Command, Dial, Request, Response, Seen};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::{STORE4, STORE6};
use weir_tests::world::Pod;
use weir_tests::{Mesh, Session, eventually, smi};

/// Version 1 and 2 behind Service `store`, and a buyer who may use HTTP and TCP at both.
struct Versions {
    mesh: Mesh,
    buyer: Pod,
}

impl Versions {
    fn open(backends: &[(&str, u32)]) -> Result<Versions> {
        let mut mesh = Mesh::new()?;
        let buyer = mesh.client("buyer")?;
        for version in ["store-v1", "store-v2"] {
            mesh.server(version)?;
            mesh.service(version, version, &[])?;
            let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", "all", &[])];
            let http = smi::target(&format!("http-{version}"), version, &["buyer"], rules);
            let tcp = smi::target(
                &format!("tcp-{version}"),
                version,
                &["buyer"],
                &[("TCPRoute", "tcp", &[])],
            );
            mesh.manifests
                .write(&format!("grant-{version}"), &smi::documents(&[http, tcp]))?;
        }
        mesh.service("store", "none-has-this", &[&STORE4.to_string(), &STORE6.to_string()])?;
        let routes = [
            smi::routes("all", &[("all", "/.*", &["*"])]),
            smi::tcp_route("tcp", &[WHOAMI]),
        ];
        mesh.manifests.write("routes", &smi::documents(&routes))?;
        let versions = Versions { mesh, buyer };
        versions.split(backends)?;
        Ok(versions)
    }

    fn split(&self, backends: &[(&str, u32)]) -> Result<()> {
        self.mesh
            .manifests
            .write("split", &smi::split("store", "store", backends))
    }

    fn session(&self) -> Result<Session> {
        self.mesh.session(&self.buyer)
    }
}

/// How many responses each server gave; an error if one is not a 200.
fn shares(responses: &[Response]) -> Result<BTreeMap<String, i64>> {
    let mut shares = BTreeMap::new();
    for response in responses {
        if response.status != 200 {
            bail!("not served: {response:?}");
        }
        *shares.entry(response.server().to_string()).or_default() += 1;
    }
    Ok(shares)
}

/// Within three standard deviations of a fair draw.
fn near(share: i64, of: i64, percent: i64) {
    let p = percent as f64 / 100.0;
    let sigma = (of as f64 * p * (1.0 - p)).sqrt();
    let off = (share as f64 - of as f64 * p).abs();
    println!("{share} of {of}, {off:.0} off, σ {sigma:.1}");
    assert!(off <= 3.0 * sigma, "{share} of {of} is not {percent} %");
}

#[test]
fn ninety_to_ten_over_a_thousand_requests() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 90), ("store-v2", 10)])?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    for ip in [STORE4, STORE6] {
        let called = buyer.call(&Dial::to(ip, HTTP), &Request::get("/"), 1000)?;
        near(
            *shares(&called.responses)?.get("store-v1").context("no share")?,
            1000,
            90,
        );
        assert_eq!(
            called.opened.peer,
            Some(Dial::to(ip, HTTP).to),
            "over one connection, to the address asked for"
        );
        let called = buyer.call_fresh(&Dial::to(ip, HTTP), &Request::get("/"), 1000)?;
        near(
            *shares(&called.responses)?.get("store-v1").context("no share")?,
            1000,
            90,
        );
    }
    Ok(())
}

#[test]
fn nine_to_one_over_ten_requests_of_one_connection() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 90), ("store-v2", 10)])?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    for round in 0..10 {
        let called = buyer.call(&Dial::to(STORE4, HTTP), &Request::get("/"), 10)?;
        let shares = shares(&called.responses)?;
        let first = shares.get("store-v1").copied().unwrap_or(0);
        assert!((8..=10).contains(&first), "round {round}: {shares:?}");
    }
    Ok(())
}

#[test]
fn tcp_is_split_in_the_kernel_and_the_client_sees_the_address_it_asked_for() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 90), ("store-v2", 10)])?;
    let agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    for ip in [STORE4, STORE6] {
        let (mut first, count) = (0, 1000);
        for _ in 0..count {
            let opened = buyer.open(&Dial::to(ip, WHOAMI))?;
            let conn = opened.conn.with_context(|| format!("{opened:?}"))?;
            assert_eq!(opened.peer, Some(Dial::to(ip, WHOAMI).to));
            let seen: Seen = serde_json::from_str(&buyer.text(&Command::ReadLine(conn))?)?;
            first += i64::from(seen.name == "store-v1");
            buyer.run(&Command::Close(conn))?;
        }
        near(first, count, 90);
    }
    let metrics = agent.metrics()?;
    assert_eq!(
        metrics.sum("weir_engine_accepted_total", &[]),
        0.0,
        "the engine has met none of them"
    );
    Ok(())
}

#[test]
fn a_backend_with_weight_0_gets_nothing() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 0), ("store-v2", 5)])?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    let called = buyer.call(&Dial::to(STORE4, HTTP), &Request::get("/"), 100)?;
    assert_eq!(
        shares(&called.responses)?,
        BTreeMap::from([("store-v2".to_string(), 100)])
    );
    Ok(())
}

#[test]
fn a_split_of_zeros_serves_nobody() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 0), ("store-v2", 0)])?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/"))?.status, 503);
    buyer.open(&Dial::to(STORE4, WHOAMI))?.refused()
}

#[test]
fn a_missing_backend_leaves_and_the_others_share() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 1), ("store-v2", 1), ("store-v3", 8)])?;
    let agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    let called = buyer.call(&Dial::to(STORE4, HTTP), &Request::get("/"), 100)?;
    assert_eq!(shares(&called.responses)?.get("store-v1"), Some(&50));
    assert!(
        agent.plan()?["rejected"].to_string().contains("store-v3"),
        "and it is reported"
    );
    Ok(())
}

#[test]
fn a_service_without_endpoints_is_refused_at_once() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 1)])?;
    versions.mesh.service("empty", "none-has-this", &["10.96.0.99"])?;
    let agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    buyer
        .open(&Dial::to("10.96.0.99".parse::<std::net::IpAddr>()?, WHOAMI))?
        .refused()?;
    agent.wait_log(&["refused", "endpoint"]).map(drop)
}

#[test]
fn weights_change_while_requests_run_and_none_fails() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 90), ("store-v2", 10)])?;
    let _agent = versions.mesh.agent()?;
    let (mut busy, mut probe) = (versions.session()?, versions.session()?);
    let (dial, request) = (Dial::to(STORE4, HTTP), Request::get("/"));
    let all = Command::Call {
        dial: dial.clone(),
        request: request.clone(),
        count: 20_000,
        fresh: false,
    };
    busy.begin(&all)?;
    versions.split(&[("store-v1", 0), ("store-v2", 100)])?;
    let took = eventually("version 2 gets everything", || {
        let called = probe.call(&dial, &request, 20)?;
        Ok(shares(&called.responses)?.get("store-v2") == Some(&20))
    })?;
    println!("in force after at most {} ms", took.as_millis());
    versions.split(&[("store-v1", 50), ("store-v2", 50)])?;
    let Answer::Called { responses, .. } = busy.answer()? else {
        panic!("not a call")
    };
    assert_eq!(responses.len(), 20_000);
    let shares = shares(&responses).context("no request fails on the way")?;
    println!("{shares:?}");
    assert_eq!(shares.len(), 2);
    Ok(())
}

#[test]
fn a_split_grants_nothing() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 1), ("store-v2", 1)])?;
    versions.mesh.manifests.remove("grant-store-v2")?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    let called = buyer.call(&Dial::to(STORE4, HTTP), &Request::get("/"), 100)?;
    let count = |status: u16| {
        called
            .responses
            .iter()
            .filter(|response| response.status == status)
            .count()
    };
    assert_eq!((count(200), count(403)), (50, 50), "the chosen pod's own rules decide");
    assert!(
        called
            .responses
            .iter()
            .all(|response| response.status != 200 || response.server() == "store-v1")
    );
    let refused = (0..100)
        .map(|_| buyer.open(&Dial::to(STORE4, WHOAMI)))
        .collect::<Result<Vec<_>>>()?;
    let refused = refused
        .iter()
        .filter(|opened| opened.errno == libc::ECONNREFUSED)
        .count();
    assert!((30..=70).contains(&refused), "{refused} of 100");
    Ok(())
}

#[test]
fn a_split_through_the_engine_grants_no_tcp_either() -> Result<()> {
    let versions = Versions::open(&[("store-v1", 1), ("store-v2", 1)])?;
    versions.mesh.manifests.remove("grant-store-v2")?;
    // Ports that say nothing of their protocol: the engine takes each connection.
    for service in ["store-v1", "store-v2"] {
        versions.mesh.service_to_detect(service, service, &[])?;
    }
    versions
        .mesh
        .service_to_detect("store", "none-has-this", &[&STORE4.to_string()])?;
    let agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    let (mut served, mut reset) = (0, 0);
    for _ in 0..20 {
        let conn = buyer.must_open(&Dial::to(STORE4, WHOAMI))?;
        // Bytes that are not HTTP, so that nobody waits for more to tell.
        let text = "\u{1}".to_string();
        buyer.stream(&Command::Send { conn, text })?;
        let answer = buyer.stream(&Command::Read { conn, len: Some(1) })?;
        match (answer.len, answer.errno) {
            (1, 0) => served += 1,
            (0, libc::ECONNRESET) => reset += 1,
            _ => bail!("neither served nor reset: {answer:?}"),
        }
        buyer.run(&Command::Close(conn))?;
    }
    // Each core of the engine takes its own turns.
    assert!((8..=12).contains(&served), "{served} served, {reset} reset");
    assert!(agent.metrics()?.sum("weir_engine_tcp_relayed_total", &[]) >= 10.0);
    Ok(())
}

#[test]
fn a_split_with_matches_takes_those_requests_only() -> Result<()> {
    let versions = Versions::open(&[("store-v2", 1)])?;
    versions
        .mesh
        .service("store", "store-v1", &[&STORE4.to_string(), &STORE6.to_string()])?;
    let group = "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata:\n  name: beta\n  namespace: shop\n\
                 spec:\n  matches:\n  - name: beta\n    headers:\n    - x-beta: '^yes$'\n";
    let split =
        smi::split("store", "store", &[("store-v2", 1)]) + "  matches:\n  - kind: HTTPRouteGroup\n    name: beta\n";
    versions
        .mesh
        .manifests
        .write("split", &smi::documents(&[group.to_string(), split]))?;
    let _agent = versions.mesh.agent()?;
    let mut buyer = versions.session()?;
    let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
    for (value, server) in [
        ("yes", "store-v2"),
        ("no", "store-v1"),
        ("yes", "store-v2"),
        ("yesno", "store-v1"),
    ] {
        let response = buyer.http(conn, &Request::get("/").header("X-Beta", value))?;
        assert_eq!((response.status, response.server()), (200, server), "{value}");
    }
    Ok(())
}
