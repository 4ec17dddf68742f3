//! What is tried again, and what is not (RFC 9110 section 9.2.2).

use std::io::Read;

use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Ended, Server};

/// Endpoints 10.0.0.`last` of a Service, each with a pod of the store's account where there is none yet.
fn endpoints(service: &str, lasts: &[u8]) -> String {
    let mut slice = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {service}-a, namespace: shop, \
         labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\nports: [{{name: web, port: 8080}}]\n\
         endpoints:\n"
    );
    let mut pods = String::new();
    for last in lasts {
        slice += &format!("- {{addresses: [10.0.0.{last}], conditions: {{ready: true}}}}\n");
        if ![2, 3].contains(last) {
            pods += &pod(*last, "store");
        }
    }
    slice + &pods
}

fn pod(last: u8, account: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: more-{last}, namespace: shop}}\n\
         spec: {{nodeName: there, serviceAccountName: {account}}}\nstatus: {{podIPs: [{{ip: 10.0.0.{last}}}]}}\n"
    )
}

fn mesh(grant: &str, lasts: &[u8]) -> Mesh {
    Mesh::new(&format!("{grant}---\n{}", endpoints("store", lasts)))
}

#[test]
fn an_endpoint_that_refuses_is_passed_over() {
    let mesh = mesh(HTTP, &[2, 3]);
    let store = Server::web(mesh.address(3, 8080), "two");
    let mut buyer = mesh.buyer();
    for _ in 0..6 {
        assert_eq!(buyer.get("/list").text(), "two GET /list");
    }
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!(buyer.response().text(), "two POST /up", "nothing of it was sent yet");
    assert_eq!(store.requests().last().unwrap().body, b"hello");
    let stats = mesh.stats();
    assert!(stats.upstream_elsewhere >= 3, "{}", stats.upstream_elsewhere);
    assert_eq!(
        (stats.upstream_failures, stats.unavailable),
        (stats.upstream_elsewhere, 0)
    );
}

#[test]
fn no_more_than_two_others_are_tried() {
    let mesh = mesh(HTTP, &[2, 3, 60, 61, 62]);
    assert_eq!(mesh.buyer().get("/list").status(), 503);
    let stats = mesh.stats();
    assert_eq!(
        (stats.upstream_failures, stats.upstream_elsewhere, stats.unavailable),
        (3, 2, 1)
    );
}

#[test]
fn each_other_endpoint_is_judged_by_itself() {
    let forbidden = pod(60, "other") + &pod(61, "other");
    let slice = endpoints("store", &[2, 60, 61]);
    let slice = slice.split("---").next().unwrap();
    let mesh = Mesh::new(&format!("{HTTP}---\n{slice}{forbidden}"));
    let others = [60, 61].map(|last| Server::web(mesh.address(last, 8080), "other"));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(mesh.buyer().get("/list").status());
    }
    statuses.sort_unstable();
    assert_eq!(
        statuses,
        [403, 403, 503],
        "refused in their own turns, and never instead"
    );
    assert_eq!(others.map(|other| other.accepted()), [0, 0]);
}

#[test]
fn a_backend_that_is_down_keeps_its_share() {
    let split = "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: canary, namespace: shop}\n\
         spec: {service: store, backends: [{service: store-v1, weight: 1}, {service: store-v2, weight: 1}]}\n";
    let mesh = Mesh::new(&format!("{HTTP}---\n{split}"));
    let store = Server::web(mesh.address(3, 8080), "two");
    let mut buyer = mesh.buyer();
    let served = (0..10).filter(|_| buyer.get("/list").status() == 200).count();
    assert_eq!(
        (served, store.requests().len(), mesh.stats().upstream_elsewhere),
        (5, 5, 0)
    );
}

#[test]
fn bytes_find_another_endpoint_of_the_same_backend_too() {
    let mesh = mesh(TCP, &[2, 3]);
    Server::start(mesh.address(3, 8080), |_, mut client| {
        let mut byte = [0];
        while client.stream.read_exact(&mut byte).is_ok() {
            client.send(byte);
        }
    });
    for _ in 0..4 {
        assert_eq!(mesh.buyer().send("\x01x").exactly(2), b"\x01x");
    }
    assert_eq!(mesh.stats().upstream_elsewhere, 2);
}

#[test]
fn a_pods_own_address_has_no_other_endpoint() {
    let mesh = mesh(HTTP, &[2, 3]);
    Server::web(mesh.address(3, 8080), "two");
    let mut buyer = mesh.connect("buyer", mesh.address(2, 8080));
    assert_eq!(buyer.get("/list").status(), 503);
}

/// How often the store got a request whose first kept connection was closed instead of an answer.
fn sent_again(method: &str, body: &str) -> (u16, usize) {
    let mesh = Mesh::new(&HTTP.replace("[POST, PUT]", "[\"*\"]").replace("[GET, HEAD]", "[\"*\"]"));
    let store = Server::start(mesh.address(2, 8080), |n, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        if n == 0 {
            // Seen, and closed without an answer.
            client.until(b"\r\n\r\n");
        }
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/up").text(), "ok");
    buyer.send(format!("{method} /up HTTP/1.1\r\nHost: store\r\n{body}"));
    (buyer.response().status(), store.accepted() - 1)
}

#[test]
fn what_a_server_may_have_seen_is_sent_again_only_if_it_is_idempotent_and_has_no_body() {
    for method in ["GET", "OPTIONS", "TRACE", "PUT", "DELETE"] {
        assert_eq!(sent_again(method, "\r\n"), (200, 1), "{method}");
    }
    for method in ["POST", "PATCH", "get", "LOCK"] {
        assert_eq!(sent_again(method, "\r\n"), (502, 0), "{method}");
    }
    for body in [
        "Content-Length: 1\r\n\r\nx",
        "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ] {
        assert_eq!(sent_again("PUT", body), (502, 0), "{body}");
    }
}

#[test]
fn an_answer_that_has_begun_is_never_asked_for_again() {
    for part in ["H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let mesh = Mesh::new(HTTP);
        let store = Server::start(mesh.address(2, 8080), move |n, mut client| {
            client.request();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            if n == 0 {
                client.request();
                client.send(part);
            }
        });
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.get("/list").text(), "ok");
        buyer.send("GET /list HTTP/1.1\r\nHost: store\r\n\r\n");
        let mut answer = buyer.response();
        if answer.status() == 100 {
            answer = buyer.response();
        }
        assert_eq!((answer.status(), store.accepted()), (502, 1), "{part:?}");
    }
}

#[test]
fn a_new_connection_that_is_closed_without_an_answer_is_no_reason_to_try_again() {
    let mesh = mesh(HTTP, &[2, 3]);
    let stores = [2, 3].map(|last| Server::start(mesh.address(last, 8080), |_, mut client| drop(client.request())));
    assert_eq!(mesh.buyer().get("/list").status(), 502);
    assert_eq!(stores.map(|store| store.accepted()).iter().sum::<usize>(), 1);
    let refused = Mesh::new(TCP);
    assert_eq!(refused.buyer().send("\x01").ended(), Ended::Reset);
}
