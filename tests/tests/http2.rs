//! HTTP/2 through the engine between pods: curl, a server of Go's standard library, and the conformance suite h2spec.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_tests::manifests::Service;
use weir_tests::shop::STORE4;
use weir_tests::tool::{self, Daemon};
use weir_tests::{Pod, Shop, smi};

/// Port of the HTTP/2 server.
const H2: u16 = 8000;

struct Store {
    shop: Shop,
    _server: Daemon,
}

/// The shop, where the buyer may `GET` and `POST` `/books…` over HTTP/2 as well.
fn open() -> Result<Store> {
    let shop = Shop::open()?;
    let server = Daemon::start(&shop.store, "h2echo", &["store", &format!(":{H2}")], H2)?;
    shop.mesh.manifests.service(&Service {
        name: "store",
        ips: &[&STORE4.to_string()],
        selector: &[("app", "store")],
        ports: &[("web", H2, H2)],
    })?;
    Ok(Store { shop, _server: server })
}

/// Status and body of a request that curl sends from a pod.
fn curl(pod: &Pod, to: IpAddr, path: &str, args: &[&str]) -> Result<(u16, String)> {
    let mut command = pod.command(Path::new("/usr/bin/curl"))?;
    command.args([
        "--http2-prior-knowledge",
        "-sS",
        "-m",
        "10",
        "-w",
        "\n%{http_code} %{http_version}",
    ]);
    let said = tool::run(command.args(args).arg(format!("http://{to}:{H2}{path}")))?;
    let (body, numbers) = said.rsplit_once('\n').context("no status")?;
    match numbers.split_once(' ') {
        Some((status, "2")) => Ok((status.parse()?, body.to_owned())),
        _ => bail!("not HTTP/2: {said}"),
    }
}

#[test]
fn curl_with_prior_knowledge_is_judged_request_by_request_and_the_server_sees_the_pod() -> Result<()> {
    let store = open()?;
    let _agent = store.shop.mesh.agent()?;
    for to in [STORE4, store.shop.store.v4()] {
        let (status, body) = curl(&store.shop.buyer, to, "/books/1?x=y", &["-d", "hello"])?;
        let seen: Value = serde_json::from_str(&body).with_context(|| format!("{status} {body}"))?;
        assert_eq!(
            (status, &seen["path"], &seen["proto"], &seen["length"]),
            (200, &"/books/1?x=y".into(), &"HTTP/2.0".into(), &5.into())
        );
        let peer = seen["peer"].as_str().context("peer")?;
        assert!(peer.contains(&store.shop.buyer.ip4.to_string()), "{peer}");
        let (status, body) = curl(&store.shop.buyer, to, "/admin", &[])?;
        assert_eq!(status, 403);
        assert!(body.contains("shop/http-buyer"), "{body}");
    }
    Ok(())
}

#[test]
fn a_split_takes_turns() -> Result<()> {
    let mut store = open()?;
    let next = store.shop.mesh.server("store-next")?;
    let _next = Daemon::start(&next, "h2echo", &["next", &format!(":{H2}")], H2)?;
    let manifests = &store.shop.mesh.manifests;
    for (name, app) in [("store-v1", "store"), ("store-v2", "store-next")] {
        manifests.service(&Service {
            name,
            ips: &[],
            selector: &[("app", app)],
            ports: &[("web", H2, H2)],
        })?;
    }
    manifests.write(
        "split",
        &smi::split("canary", "store", &[("store-v1", 1), ("store-v2", 1)]),
    )?;
    let routes = smi::routes("all", &[("all", "/books", &["GET"])]);
    let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", "all", &[])];
    let target = smi::target("next-buyer", "store-next", &["buyer"], rules);
    manifests.write("next", &smi::documents(&[routes, target]))?;
    let _agent = store.shop.mesh.agent()?;
    let mut shares = BTreeMap::new();
    // One connection each: curl 7.88 can't use one of prior knowledge twice, with or without Weir.
    for number in 0..10 {
        let (status, body) = curl(&store.shop.buyer, STORE4, &format!("/books/{number}"), &[])?;
        let seen: Value = serde_json::from_str(&body).with_context(|| format!("{status} {body}"))?;
        *shares.entry(seen["name"].to_string()).or_insert(0) += 1;
    }
    // Each core takes turns by itself.
    assert_eq!(shares.values().sum::<i32>(), 10);
    assert!(shares.values().all(|share| (4..=6).contains(share)), "{shares:?}");
    Ok(())
}

#[test]
fn a_client_of_another_node_is_judged_on_arrival() -> Result<()> {
    let store = open()?;
    let remote = store.shop.mesh.world.remote("node-b")?;
    let buyer = store.shop.mesh.world.remote_pod(&remote, "far-buyer")?;
    store.shop.mesh.declare(&buyer, "shop", "buyer")?;
    let _agent = store.shop.mesh.agent()?;
    let to = store.shop.store.v4();
    assert_eq!(curl(&buyer, to, "/books/1", &[])?.0, 200);
    assert_eq!(curl(&buyer, to, "/admin", &[])?.0, 403);
    Ok(())
}

/// Every case of h2spec passes, but those that `docs/http2.md` lists with a reason.
#[test]
fn h2spec_fails_where_the_documentation_says_so_and_nowhere_else() -> Result<()> {
    let store = open()?;
    let _agent = store.shop.mesh.agent()?;
    let report = store.shop.mesh.dir().with_file_name("h2spec.xml");
    let mut command = store.shop.buyer.command(&tool::built("h2spec")?)?;
    command.args([
        "-h",
        &STORE4.to_string(),
        "-p",
        &H2.to_string(),
        "-P",
        "/books",
        "-o",
        "2",
        "-S",
        "-j",
    ]);
    // It exits with 1 if a case has failed, which is for us to judge.
    let output = command.arg(&report).output().context("h2spec")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let xml = fs::read_to_string(&report).with_context(|| format!("no report; h2spec says:\n{text}"))?;
    let cases = cases(&xml);
    assert!(cases.len() >= 140, "only {} cases:\n{text}", cases.len());
    let failed: Vec<&str> = cases
        .iter()
        .filter(|(_, ok)| !ok)
        .map(|(name, _)| name.as_str())
        .collect();
    let expected = documented()?;
    assert_eq!(failed, expected, "\n{text}");
    Ok(())
}

/// Name and result of each case of a JUnit report.
fn cases(xml: &str) -> Vec<(String, bool)> {
    let attribute = |tag: &str, name: &str| {
        let value = tag.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0;
        Some(
            value
                .replace("&#34;", "\"")
                .replace("&gt;", ">")
                .replace("&lt;", "<")
                .replace("&amp;", "&"),
        )
    };
    let mut cases = Vec::new();
    for piece in xml.split("<testcase").skip(1) {
        let (tag, rest) = piece.split_once('>').unwrap_or((piece, ""));
        let inside = rest.split_once("</testcase>").map_or("", |(inside, _)| inside);
        let name = [attribute(tag, "package"), attribute(tag, "classname")].map(Option::unwrap_or_default);
        let failed = inside.contains("<failure") || inside.contains("<error");
        cases.push((name.join(": "), !failed));
    }
    cases
}

/// The cases that `docs/http2.md` says fail, in order.
fn documented() -> Result<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http2.md");
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let table = text.split_once("## h2spec").context("no table of h2spec's cases")?.1;
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    Ok(rows.map(|(name, _)| name.to_owned()).collect())
}
