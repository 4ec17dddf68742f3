//! What the engine tells of requests and connections: exact numbers between workloads, never more of them than objects.

use std::time::Duration;

use weir_agent::engine::{Config, Look, Protocol, Times};
use weir_agent::metrics::{EngineReport, Metrics};
use weir_core::model::{Key, Kind};

use crate::exposition::{Scrape, parse};
use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Client, Server};

/// The buyer's and the first store's workloads.
const BUYER: (&str, &str) = ("source_workload", "buyer");
const STORE: (&str, &str) = ("destination_workload", "store-1");

pub fn scrape(mesh: &Mesh) -> Scrape {
    let report = EngineReport::of(&mesh.engine);
    // Moved out at the only scrape of these metrics.
    let report = std::sync::Mutex::new(Some(report));
    let engine = move || report.lock().unwrap().take().expect("one scrape");
    let metrics = Metrics::new(Box::new(Vec::new), Box::new(engine));
    parse(&metrics.encode().unwrap())
}

#[test]
fn each_request_comes_to_one_end_whatever_becomes_of_it() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.get("/list");
    buyer.get("/secret");
    mesh.until("allowed and refused", |stats| stats.finished == 2);
    // Malformed, and nobody there.
    buyer.send("GET / HTTP/1.1\r\n\r\n").response();
    mesh.until("malformed", |stats| stats.finished == 3);
    let nobody = Mesh::new(HTTP);
    nobody.buyer().get("/list");
    nobody.until("nobody listens", |stats| stats.finished == 1);
    let scrape = scrape(&nobody);
    assert_eq!(
        scrape.sum("weir_requests_total", &[BUYER, STORE, ("class", "5xx")]),
        1.0
    );
}

#[test]
fn a_connection_that_policy_ends_comes_to_an_end_as_well() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |_, mut client: Client| drop(client.rest()));
    let mut buyer = mesh.buyer();
    buyer.send("\x01bytes");
    mesh.until("relayed", |stats| stats.tcp_relayed == 1);
    assert_eq!(mesh.stats().finished, 0, "it is still open");
    mesh.remove(Kind::TrafficTarget, "piping");
    mesh.until("revoked", |stats| stats.finished == 1 && stats.revoked == 1);
}

#[test]
fn requests_are_counted_by_class_between_workloads() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for _ in 0..7 {
        buyer.get("/list");
    }
    for _ in 0..3 {
        buyer.get("/secret");
    }
    mesh.until("all of them", |stats| stats.finished == 10);
    let scrape = scrape(&mesh);
    let of = |class| {
        scrape.sum(
            "weir_requests_total",
            &[BUYER, STORE, ("side", "both"), ("class", class)],
        )
    };
    assert_eq!((of("2xx"), of("4xx")), (7.0, 3.0));
    assert_eq!(scrape.sum("weir_requests_total", &[]), 10.0);
    assert_eq!(scrape.sum("weir_request_duration_seconds_count", &[BUYER, STORE]), 10.0);
    let refused = [BUYER, STORE, ("reason", "no_route"), ("mode", "enforce")];
    assert_eq!(scrape.sum("weir_refused_total", &refused), 3.0);
    assert_eq!(
        scrape.sum("weir_connections_total", &[BUYER, STORE, ("protocol", "http1")]),
        1.0
    );
    assert_eq!(scrape.sum("weir_connections_open", &[]), 1.0);
    drop(buyer);
    eventually("closed", || {
        self::scrape(&mesh).sum("weir_connections_open", &[]) == 0.0
    });
}

#[test]
fn bytes_of_requests_are_those_on_the_wire_whatever_comes_together() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let request = "POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\nhello";
    let mut buyer = mesh.buyer();
    buyer.send(request.repeat(10));
    for _ in 0..10 {
        assert_eq!(buyer.response().status(), 200);
    }
    mesh.until("all of them", |stats| stats.finished == 10);
    let up = scrape(&mesh).sum("weir_transferred_bytes_total", &[BUYER, STORE, ("direction", "up")]);
    assert_eq!(up, (10 * request.len()) as f64);
    assert_eq!(mesh.stats().bytes_from_clients as f64, up);
    let down = scrape(&mesh).sum("weir_transferred_bytes_total", &[BUYER, STORE, ("direction", "down")]);
    assert_eq!(mesh.stats().bytes_from_servers as f64, down);
}

#[test]
fn bytes_of_a_relay_are_counted_while_it_is_open() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |_, mut client: Client| {
        client.exactly(1000);
        client.send([7; 300]).rest();
    });
    let mut buyer = mesh.buyer();
    buyer.send([1; 1000]).exactly(300);
    let bytes = |scrape: &Scrape, direction| {
        let labels = [BUYER, STORE, ("protocol", "tcp"), ("direction", direction)];
        scrape.sum("weir_transferred_bytes_total", &labels)
    };
    eventually("counted", || bytes(&scrape(&mesh), "up") == 1000.0);
    assert_eq!(mesh.stats().finished, 0);
    buyer.send([1; 500]);
    drop(buyer);
    mesh.until("over", |stats| stats.finished == 1);
    let scrape = scrape(&mesh);
    assert_eq!((bytes(&scrape, "up"), bytes(&scrape, "down")), (1500.0, 300.0));
    assert_eq!(scrape.sum("weir_connections_total", &[("protocol", "tcp")]), 1.0);
    assert_eq!(scrape.lines("weir_requests_total"), 0, "bytes are no requests");
}

#[test]
fn split_decisions_are_counted_by_backend_and_go_on_when_weights_change() {
    let mesh = Mesh::new(HTTP);
    let split = |one, two| {
        format!(
            "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {{name: canary, namespace: shop}}\n\
             spec: {{service: store, backends: [{{service: store-v1, weight: {one}}}, {{service: store-v2, weight: {two}}}]}}\n"
        )
    };
    mesh.apply(&split(90, 10));
    Server::web(mesh.address(2, 8080), "one");
    Server::web(mesh.address(3, 8080), "two");
    let mut buyer = mesh.buyer();
    (0..20).for_each(|_| drop(buyer.get("/")));
    mesh.apply(&split(50, 50));
    (0..10).for_each(|_| drop(buyer.get("/")));
    let scrape = scrape(&mesh);
    let to = |backend| {
        let labels = [
            ("service", "store"),
            ("port", "80"),
            ("split", "canary"),
            ("backend", backend),
        ];
        scrape.sum("weir_split_decisions_total", &labels)
    };
    assert_eq!((to("store-v1"), to("store-v2")), (23.0, 7.0));
}

#[test]
fn strangers_and_silent_clients_are_counted_by_reason() {
    let mesh = Mesh::new(HTTP);
    let to = mesh.address(2, 8080);
    mesh.arrive(77, to).ended();
    mesh.buyer().send("\x01nothing that is http").ended();
    mesh.until("both", |stats| {
        stats.refused_unknown == 1 && stats.refused_protocol == 1
    });
    let scrape = scrape(&mesh);
    let stranger = [
        ("source_kind", "unknown"),
        STORE,
        ("side", "server"),
        ("reason", "unknown_client"),
    ];
    assert_eq!(scrape.sum("weir_refused_total", &stranger), 1.0);
    assert_eq!(
        scrape.sum("weir_refused_total", &[BUYER, STORE, ("reason", "not_http")]),
        1.0
    );
    assert_eq!(scrape.lines("weir_connections_total"), 0, "neither was let in");
}

#[test]
fn nothing_that_a_client_makes_up_makes_a_series() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.get("/list");
    buyer.get("/secret");
    buyer.send("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").response();
    mesh.until("the kinds of answers", |stats| stats.finished == 3);
    let before = scrape(&mesh).samples.len();
    for n in 0..500 {
        let mut buyer = mesh.buyer();
        for m in 0..20 {
            let request = match m % 4 {
                0 => format!("GET /list/{n}/{m} HTTP/1.1\r\nHost: store\r\n\r\n"),
                1 => format!("M{n}X{m} /secret HTTP/1.1\r\nHost: store\r\n\r\n"),
                2 => format!("GET / HTTP/1.1\r\nHost: host-{n}-{m}\r\nX-{n}: {m}\r\n\r\n"),
                _ => format!("GET /secret/{n}/{m} HTTP/1.1\r\nHost: store:{}\r\n\r\n", n + m + 1),
            };
            buyer.send(request).response();
        }
    }
    mesh.until("10,000 more", |stats| stats.finished == 10_003);
    assert_eq!(scrape(&mesh).samples.len(), before);
}

fn with_limits(pairs: usize, forget: Duration) -> Mesh {
    let mut config = Config {
        cores: 1,
        times: Times {
            forget,
            ..Times::default()
        },
        ..Config::default()
    };
    config.limits.workload_pairs = pairs;
    Mesh::with(config, HTTP)
}

#[test]
fn pairs_beyond_the_limit_are_counted_together() {
    let mesh = with_limits(1, Duration::from_secs(60));
    Server::web(mesh.address(2, 8080), "one");
    mesh.buyer().get("/list");
    mesh.until("the first", |stats| stats.finished == 1);
    for _ in 0..5 {
        mesh.connect("thief", mesh.store()).ended();
    }
    mesh.until("the thief", |stats| stats.refused_connection == 5);
    let scrape = scrape(&mesh);
    assert_eq!(scrape.sum("weir_requests_total", &[BUYER, STORE]), 1.0);
    assert_eq!(scrape.sum("weir_refused_total", &[("source_kind", "other")]), 5.0);
    assert!(scrape.sum("weir_pairs_overflowed_total", &[]) >= 1.0);
    assert_eq!(mesh.engine.edges().len(), 2);
}

#[test]
fn numbers_go_with_their_pod_but_not_before_they_were_read() {
    let mesh = with_limits(100, Duration::from_millis(400));
    Server::web(mesh.address(2, 8080), "one");
    mesh.buyer().get("/list");
    mesh.until("one", |stats| stats.finished == 1);
    mesh.remove(Kind::Pod, "buyer");
    let of_buyer = || scrape(&mesh).sum("weir_requests_total", &[BUYER]);
    assert_eq!(of_buyer(), 1.0, "scrapes still see the last of it");
    eventually("forgotten", || of_buyer() == 0.0);
    assert!(mesh.engine.edges().is_empty());
}

#[test]
fn edges_can_be_read_for_a_window() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.get("/list");
    mesh.until("one", |stats| stats.finished == 1);
    let before = mesh.engine.edges();
    (0..9).for_each(|_| drop(buyer.get("/list")));
    mesh.until("nine more", |stats| stats.finished == 10);
    let (now, then) = (&mesh.engine.edges()[0].protocols, &before[0].protocols);
    let window = now[&Protocol::Http1].since(&then[&Protocol::Http1]);
    assert_eq!((window.requests(), window.failures()), (9, 0));
    assert!(window.quantile(0.99).is_some_and(|time| time < 5.0));
}

#[test]
fn what_is_open_can_be_looked_at() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(TCP);
    Server::web(mesh.address(2, 8080), "one");
    let look = |pod: Option<&str>, most| {
        let pod = pod.map(|name| Key::new("shop", name));
        mesh.block_on(mesh.engine.connections(Look { pod, most }))
    };
    assert_eq!(look(None, 10).matching, 0);
    let mut buyer = mesh.buyer();
    (0..3).for_each(|_| drop(buyer.get("/list")));
    let _silent = mesh.connect("buyer", mesh.store());
    mesh.until("both", |stats| stats.open == 2 && stats.finished == 3);
    let found = look(Some("buyer"), 10);
    assert_eq!((found.matching, found.rows.len()), (2, 2));
    // The oldest comes first.
    let row = &found.rows[0];
    assert_eq!(
        (row.state, row.requests, row.protocol),
        ("idle", 3, Some(Protocol::Http1))
    );
    assert_eq!(row.server, Some(mesh.address(2, 8080)));
    let allowed = row.allowed.as_ref().and_then(|allowed| allowed.names()).unwrap();
    assert_eq!(allowed.target.to_string(), "shop/piping");
    assert!(row.up > 0 && row.down > 0 && row.service.is_some());
    assert_eq!(look(Some("store-1"), 10).matching, 1, "as a server");
    assert_eq!(look(Some("thief"), 10).matching, 0);
    let one = look(None, 1);
    assert_eq!((one.matching, one.rows.len()), (2, 1));
    drop(buyer);
    mesh.until("closed", |stats| stats.open == 1);
    assert_eq!(look(None, 10).matching, 1);
}
