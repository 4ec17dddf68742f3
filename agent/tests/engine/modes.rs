//! Namespaces in audit and permissive: what lacks a rule passes, is told once or not at all, and never waits for long.

use std::time::{Duration, Instant};

use weir_agent::engine::Times;

use crate::mesh::{HTTP, Mesh};
use crate::peer::Server;

fn mode(mesh: &Mesh, mode: &str) {
    mesh.apply(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{weir.dev/mode: {mode}}}}}\n"
    ));
}

/// Where any bytes may pass, a client may be silent for so long before it counts as one of bytes: longer than a busy machine
/// takes.
fn patient(manifests: &str) -> Mesh {
    let times = Times {
        server_first: Duration::from_secs(2),
        ..Times::default()
    };
    Mesh::timed(times, manifests)
}

#[test]
fn in_audit_a_request_without_a_rule_passes_and_is_told_once() {
    let mesh = patient(HTTP);
    mode(&mesh, "audit");
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/secret").text(), "one GET /secret");
    assert_eq!(buyer.get("/list").text(), "one GET /list");
    assert_eq!(store.requests().len(), 2);
    let refusal = mesh.refusal();
    assert!(refusal.audit);
    assert_eq!(refusal.request, Some(("GET".to_owned(), "/secret".to_owned())));
    assert_eq!(refusal.server, Some(mesh.address(2, 8080)));
    assert!(
        refusal.reason.to_string().contains("allows no GET /secret"),
        "{}",
        refusal.reason
    );
    let stats = mesh.stats();
    assert_eq!((stats.audited_request, stats.refused_request), (1, 0));
}

#[test]
fn in_permissive_it_passes_and_nobody_is_told() {
    let mesh = patient("");
    mode(&mesh, "permissive");
    Server::web(mesh.address(2, 8080), "one");
    let mut thief = mesh.connect("thief", mesh.store());
    assert_eq!(thief.get("/secret").status(), 200);
    let stats = mesh.stats();
    assert_eq!(
        (stats.audited_request, stats.refused_request, stats.requests),
        (0, 0, 1)
    );
}

#[test]
fn the_answer_to_doubtful_http_is_the_same_in_every_mode() {
    for name in ["enforce", "audit", "permissive"] {
        let mesh = patient(HTTP);
        mode(&mesh, name);
        let store = Server::web(mesh.address(2, 8080), "one");
        let mut buyer = mesh.buyer();
        buyer.send(
            "GET /list HTTP/1.1\r\nHost: store\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        );
        assert_eq!(buyer.response().status(), 400, "{name}");
        assert_eq!(store.requests().len(), 0, "{name}");
    }
}

#[test]
fn bytes_pass_in_audit_and_a_server_that_speaks_first_is_heard_soon() {
    let times = Times {
        detect: Duration::from_secs(5),
        server_first: Duration::from_millis(50),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, "");
    mode(&mesh, "audit");
    Server::start(mesh.address(2, 7070), |_, mut client| {
        client.send("220 hello\r\n");
        client.rest();
    });
    let started = Instant::now();
    let mut thief = mesh.connect("thief", mesh.address(2, 7070));
    assert_eq!(thief.exactly(11), b"220 hello\r\n");
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    let refusal = mesh.refusal();
    assert!(refusal.audit && refusal.request.is_none());
    let stats = mesh.stats();
    assert_eq!((stats.audited_connection, stats.refused_connection), (1, 0));
}

#[test]
fn a_connection_outlives_lenient_modes_and_is_closed_when_enforce_leaves_it_nothing() {
    let mesh = patient("");
    mode(&mesh, "audit");
    Server::web(mesh.address(2, 8080), "one");
    let mut thief = mesh.connect("thief", mesh.store());
    assert_eq!(thief.get("/a").status(), 200);
    mode(&mesh, "permissive");
    assert_eq!(thief.get("/b").status(), 200, "the same connection");
    mode(&mesh, "enforce");
    assert!(
        matches!(thief.ended(), crate::peer::Ended::Fin),
        "nothing is left to ask for"
    );
}
