//! Verdicts on requests, and open connections when the policy changes.

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, eventually};
use crate::peer::{Ended, Server};

#[test]
fn a_refusal_says_which_rule_is_missing_and_keeps_the_connection() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let answer = buyer.get("/secret?token=1");
    assert_eq!((answer.status(), answer.field("connection")), (403, None));
    assert!(answer.text().contains("/secret"), "{}", answer.text());
    assert!(answer.text().contains("shop/shopping"), "{}", answer.text());
    assert_eq!(buyer.get("/list").status(), 200);
    assert_eq!(store.requests().len(), 1);
    let refusal = mesh.refusal();
    assert_eq!(refusal.request, Some(("GET".to_owned(), "/secret".to_owned())));
    assert_eq!(refusal.source.unwrap().pod.name, "buyer");
    assert_eq!(refusal.destination.unwrap().pod.name, "store-1");
    assert_eq!(refusal.service.unwrap().name, "store");
    assert_eq!(refusal.server, Some(mesh.address(2, 8080)));
    assert_eq!(refusal.reason.name(), "missing_rule");
}

#[test]
fn the_body_of_a_refused_request_is_no_request() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: store\r\n\r\n";
    buyer.send(format!(
        "POST /no HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n",
        smuggled.len()
    ));
    std::thread::sleep(std::time::Duration::from_millis(50));
    buyer.send(smuggled);
    assert_eq!(buyer.response().status(), 403);
    assert_eq!(buyer.get("/after").text(), "one GET /after");
    assert_eq!(store.requests().len(), 1);
}

#[test]
fn a_refused_request_with_a_large_body_is_answered_and_closed() {
    let mesh = Mesh::new(HTTP);
    let mut buyer = mesh.buyer();
    buyer
        .send("POST /no HTTP/1.1\r\nHost: store\r\nContent-Length: 1000000\r\n\r\n")
        .send(vec![0; 500_000]);
    let answer = buyer.response();
    assert_eq!((answer.status(), answer.field("connection")), (403, Some("close")));
    assert_eq!(buyer.ended(), Ended::Fin);
}

#[test]
fn a_refused_head_request_has_no_body() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.send("HEAD /secret HTTP/1.1\r\nHost: store\r\n\r\n");
    assert_eq!(buyer.response_to_head().status(), 403);
    assert_eq!(buyer.get("/list").status(), 200);
}

#[test]
fn the_next_request_is_judged_by_the_new_policy() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.apply(&HTTP.replace("[^s]", "[^l]"));
    assert_eq!(buyer.get("/list").status(), 403);
    assert_eq!(buyer.get("/secret").status(), 200);
}

#[test]
fn an_idle_connection_without_anything_granted_is_closed() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.remove(Kind::TrafficTarget, "shopping");
    assert_eq!(buyer.ended(), Ended::Fin);
    eventually("the upstream connection is closed too", || mesh.stats().open == 0);
    mesh.apply(HTTP);
    assert_eq!(mesh.buyer().get("/list").status(), 200);
    assert_eq!(store.accepted(), 2);
}

#[test]
fn connections_of_a_pod_that_becomes_another_end_at_once() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    mesh.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: buyer, namespace: shop}\n\
         spec: {nodeName: here, serviceAccountName: somebody}\nstatus: {podIPs: [{ip: 10.0.0.1}]}\n",
    );
    assert_eq!(buyer.ended(), Ended::Reset);
    mesh.until("nothing is open", |stats| stats.open == 0 && stats.revoked == 1);
}

#[test]
fn a_server_pod_that_becomes_another_gets_no_request_of_an_old_connection() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    // The address goes to another pod of the same account.
    mesh.remove(Kind::Pod, "store-1");
    mesh.apply(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: store-3, namespace: shop, labels: {app: store}}\n\
         spec: {nodeName: there, serviceAccountName: store}\nstatus: {podIPs: [{ip: 10.0.0.2}]}\n",
    );
    let mut again = mesh.buyer();
    assert_eq!(again.get("/list").status(), 200);
    assert_eq!(store.accepted(), 2);
}
