//! Splits: exact shares per request for HTTP, per connection for bytes.

use std::collections::BTreeMap;

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Ended, Server};

fn split(weights: &[(&str, u32)]) -> String {
    let backends: Vec<String> = weights
        .iter()
        .map(|(service, weight)| format!("{{service: {service}, weight: {weight}}}"))
        .collect();
    format!(
        "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {{name: canary, namespace: shop}}\n\
         spec: {{service: store, backends: [{}]}}\n",
        backends.join(", ")
    )
}

fn two_stores(mesh: &Mesh) -> [Server; 2] {
    [
        Server::web(mesh.address(2, 8080), "one"),
        Server::web(mesh.address(3, 8080), "two"),
    ]
}

#[test]
fn ten_requests_of_one_connection_are_nine_and_one() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(&split(&[("store-v1", 90), ("store-v2", 10)]));
    let stores = two_stores(&mesh);
    let mut buyer = mesh.buyer();
    for _ in 0..10 {
        assert_eq!(buyer.get("/").status(), 200);
    }
    assert_eq!(stores.map(|store| store.requests().len()), [9, 1]);
}

#[test]
fn a_thousand_requests_are_nine_hundred_and_one_hundred() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(&split(&[("store-v1", 90), ("store-v2", 10)]));
    let stores = two_stores(&mesh);
    for _ in 0..40 {
        let mut buyer = mesh.buyer();
        for _ in 0..25 {
            assert_eq!(buyer.get("/").status(), 200);
        }
    }
    assert_eq!(stores.map(|store| store.requests().len()), [900, 100]);
}

#[test]
fn an_unrelated_change_does_not_begin_a_rotation_anew() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(&split(&[("store-v1", 3), ("store-v2", 1)]));
    let stores = two_stores(&mesh);
    let mut buyer = mesh.buyer();
    for _ in 0..8 {
        buyer.get("/");
        mesh.apply(TCP);
    }
    assert_eq!(stores.map(|store| store.requests().len()), [6, 2]);
}

#[test]
fn the_next_request_follows_a_changed_split() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(&split(&[("store-v1", 1), ("store-v2", 0)]));
    two_stores(&mesh);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "one GET /");
    mesh.apply(&split(&[("store-v1", 0), ("store-v2", 1)]));
    assert_eq!(buyer.get("/").text(), "two GET /");
    mesh.remove(Kind::TrafficSplit, "canary");
    assert_eq!(buyer.get("/").text(), "one GET /");
}

#[test]
fn with_all_weights_zero_requests_get_503_and_bytes_a_reset() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(&split(&[("store-v1", 0), ("store-v2", 0)]));
    let stores = two_stores(&mesh);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").status(), 503);
    let begun = std::time::Instant::now();
    assert_eq!(mesh.buyer().ended(), Ended::Reset);
    assert!(
        begun.elapsed() < mesh.config.times.detect,
        "nobody is there to be waited for"
    );
    mesh.apply(&split(&[("store-v1", 1), ("store-v2", 0)]));
    assert_eq!(buyer.get("/").status(), 200);
    mesh.apply(&split(&[("store-v1", 0), ("store-v2", 0)]));
    assert_eq!(buyer.get("/").status(), 503);
    assert_eq!(stores.map(|store| store.accepted()), [1, 0]);
}

#[test]
fn a_connection_of_bytes_is_split_as_a_whole() {
    let mesh = Mesh::new(TCP);
    mesh.apply(&split(&[("store-v1", 3), ("store-v2", 1)]));
    for (last, name) in [(2, "1"), (3, "2")] {
        Server::start(mesh.address(last, 8080), move |_, mut client| {
            client.exactly(1);
            client.send(name);
        });
    }
    let mut seen = BTreeMap::new();
    for _ in 0..20 {
        let name = mesh.buyer().send("\x01").exactly(1);
        *seen.entry(name).or_insert(0) += 1;
    }
    assert_eq!(seen, BTreeMap::from([(b"1".to_vec(), 15), (b"2".to_vec(), 5)]));
}

#[test]
fn requests_that_match_follow_the_split_and_others_the_service() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(
        "apiVersion: specs.smi-spec.io/v1alpha4\nkind: HTTPRouteGroup\nmetadata: {name: beta, namespace: shop}\n\
         spec: {matches: [{name: beta, headers: [{x-beta: please}]}]}\n---\n\
         apiVersion: split.smi-spec.io/v1alpha4\nkind: TrafficSplit\nmetadata: {name: beta, namespace: shop}\n\
         spec:\n  service: store\n  matches: [{kind: HTTPRouteGroup, name: beta}]\n  \
         backends: [{service: store-v2, weight: 1}]\n",
    );
    two_stores(&mesh);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "one GET /");
    buyer.send("GET / HTTP/1.1\r\nHost: store\r\nX-Beta: please\r\n\r\n");
    assert_eq!(buyer.response().text(), "two GET /");
}
