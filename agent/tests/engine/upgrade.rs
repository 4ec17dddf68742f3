//! Requests that ask for another protocol, and what follows a 101.

use std::io::Read;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh};
use crate::peer::{Client, Ended, Message, Server};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: store\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c, WebSocket\r\n\
                   HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A store that answers `answer`, then sends back what it gets. Tells each request, and how its connection ended.
fn store(mesh: &Mesh, last: u8, answer: impl Into<Vec<u8>>) -> (Receiver<Message>, Receiver<Ended>) {
    let ((heard, requests), (tell, ends)) = (channel(), channel());
    let answer = answer.into();
    Server::start(mesh.address(last, 8080), move |_, mut client| {
        heard.send(client.request().unwrap()).unwrap();
        client.send(&answer);
        let mut space = [0; 4096];
        let ended = loop {
            match client.stream.read(&mut space) {
                Ok(0) => break Ended::Fin,
                Ok(read) => client.send(&space[..read]),
                Err(_) => break Ended::Reset,
            };
        };
        tell.send(ended).unwrap();
    });
    (requests, ends)
}

fn told<T>(receiver: &Receiver<T>) -> T {
    receiver.recv_timeout(Duration::from_secs(5)).expect("nothing came")
}

/// A buyer behind a 101.
fn switched(mesh: &Mesh) -> Client {
    let mut buyer = mesh.buyer();
    buyer.send(ASK);
    assert_eq!(buyer.response().status(), 101);
    buyer
}

#[test]
fn an_upgrade_is_asked_for_in_canonical_form_and_bytes_follow_the_101() {
    let mesh = Mesh::new(HTTP);
    let (requests, ends) = store(&mesh, 2, SWITCH);
    let mut buyer = mesh.buyer();
    let answer = buyer.send(ASK).response();
    assert_eq!(
        answer.head,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade"
    );
    assert_eq!(
        told(&requests).head,
        "GET /chat HTTP/1.1\r\nHost: store\r\nSec-WebSocket-Key: x\r\nUpgrade: WebSocket\r\nConnection: upgrade"
    );
    // What would be a request is none any more.
    for bytes in ["\x01\x05hello", "GET /secret HTTP/1.1\r\n\r\n", "\0"] {
        assert_eq!(buyer.send(bytes).exactly(bytes.len()), bytes.as_bytes());
    }
    buyer.stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!((buyer.ended(), told(&ends)), (Ended::Fin, Ended::Fin));
    let stats = mesh.stats();
    assert_eq!((stats.upgraded, stats.requests, stats.responses_1xx), (1, 1, 1));
    assert_eq!(stats.bytes_from_servers, (SWITCH.len() + 7 + 24 + 1) as u64);
    mesh.until("both connections are closed", |stats| stats.open == 0);
}

#[test]
fn a_half_close_behind_a_101_is_passed_on_by_itself() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send(SWITCH);
        let all = client.rest();
        std::thread::sleep(Duration::from_millis(100));
        client.send(format!("{} bytes", all.len()));
    });
    let mut buyer = switched(&mesh);
    buyer.send([0; 100_000]).stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(buyer.rest(), b"100000 bytes");
}

#[test]
fn bytes_sent_too_early_by_either_side_wait_for_the_101() {
    let mesh = Mesh::new(HTTP);
    let (_requests, _ends) = store(&mesh, 2, format!("{SWITCH}too early"));
    let mut buyer = mesh.buyer();
    buyer.send(format!("{ASK}GET /secret HTTP/1.1\r\n\r\n"));
    assert_eq!(buyer.response().status(), 101);
    assert_eq!(buyer.exactly(9), b"too early");
    assert_eq!(buyer.exactly(24), b"GET /secret HTTP/1.1\r\n\r\n");
    assert_eq!(mesh.stats().requests, 1);
}

#[test]
fn bytes_behind_an_upgrade_without_a_101_are_no_request() {
    let mesh = Mesh::new(HTTP);
    let (requests, _ends) = store(&mesh, 2, OK);
    let mut buyer = mesh.buyer();
    buyer.send(format!("{ASK}GET /smuggled HTTP/1.1\r\nHost: store\r\n\r\n"));
    let answer = buyer.response();
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    assert_eq!(buyer.ended(), Ended::Fin);
    assert_eq!(
        (told(&requests).head.starts_with("GET /chat"), mesh.stats().requests),
        (true, 1)
    );
    assert!(requests.try_recv().is_err());
}

#[test]
fn an_upgrade_that_no_rule_allows_is_a_403_and_reaches_nobody() {
    let mesh = Mesh::new(HTTP);
    let (requests, _ends) = store(&mesh, 2, SWITCH);
    let mut buyer = mesh.buyer();
    buyer.send(ASK.replace("/chat", "/secret") + "GET /smuggled HTTP/1.1\r\nHost: store\r\n\r\n");
    let answer = buyer.response();
    assert_eq!((answer.status(), answer.field("connection")), (403, Some("close")));
    assert_eq!(buyer.ended(), Ended::Fin);
    assert_eq!(mesh.refusal().request, Some(("GET".to_owned(), "/secret".to_owned())));
    assert!(requests.try_recv().is_err());
}

#[test]
fn an_upgrade_that_is_in_doubt_is_not_asked_for() {
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: h2c\r\n",
        "Connection: Upgrade, close\r\nUpgrade: websocket\r\n",
    ] {
        let mesh = Mesh::new(HTTP);
        let (requests, _ends) = store(&mesh, 2, OK);
        let mut buyer = mesh.buyer();
        buyer.send(format!("GET /chat HTTP/1.1\r\nHost: store\r\n{fields}\r\n"));
        assert_eq!(buyer.response().text(), "ok", "{fields}");
        assert_eq!(told(&requests).head, "GET /chat HTTP/1.1\r\nHost: store", "{fields}");
    }
}

#[test]
fn an_upgrade_over_a_body_is_a_request_without_one() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let ask = ASK.replace("GET /chat", "POST /up");
    buyer.send(ask.replace("Sec-WebSocket-Key: x", "Content-Length: 5") + "hello");
    assert_eq!(buyer.response().text(), "one POST /up");
    assert_eq!(store.requests()[0].field("upgrade"), None);
    assert_eq!(buyer.get("/list").status(), 200, "the connection is HTTP's");
}

#[test]
fn a_101_that_was_not_asked_for_is_a_502() {
    for (ask, answer) in [
        (
            "GET /chat HTTP/1.1\r\nHost: store\r\n\r\n".to_owned(),
            SWITCH.to_owned(),
        ),
        (ASK.to_owned(), SWITCH.replace("websocket", "h2c")),
        (ASK.to_owned(), SWITCH.replace("Connection: Upgrade\r\n", "")),
        (ASK.to_owned(), SWITCH.replace("Upgrade: websocket\r\n", "")),
        (ASK.to_owned(), SWITCH.replace("HTTP/1.1", "HTTP/1.0")),
    ] {
        let mesh = Mesh::new(HTTP);
        let (_requests, ends) = store(&mesh, 2, answer.clone());
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.send(&ask).response().status(), 502, "{answer}");
        assert_eq!((told(&ends), mesh.stats().upgraded), (Ended::Reset, 0), "{answer}");
    }
}

#[test]
fn bytes_behind_a_101_end_at_once_when_the_request_that_asked_is_not_allowed_any_more() {
    let mesh = Mesh::new(HTTP);
    let (_requests, ends) = store(&mesh, 2, SWITCH);
    let mut buyer = switched(&mesh);
    for round in 0..5 {
        // Other rules change, this request stays allowed.
        mesh.apply(&HTTP.replace("[POST, PUT]", &format!("[POST, PUT, X{round}]")));
        assert_eq!(buyer.send("still here").exactly(10), b"still here");
    }
    let begun = std::time::Instant::now();
    mesh.apply(&HTTP.replace("[^s]", "[^c]"));
    assert_eq!((buyer.ended(), told(&ends)), (Ended::Reset, Ended::Reset));
    assert!(begun.elapsed() < Duration::from_secs(2), "at once");
    assert_eq!(mesh.refusal().request, Some(("GET".to_owned(), "/chat".to_owned())));
    assert_eq!(mesh.stats().revoked, 1);
}

#[test]
fn bytes_behind_a_101_end_when_either_pod_becomes_another() {
    for pod in ["buyer", "store-1"] {
        let mesh = Mesh::new(HTTP);
        let (_requests, ends) = store(&mesh, 2, SWITCH);
        let mut buyer = switched(&mesh);
        mesh.remove(Kind::Pod, pod);
        assert_eq!((buyer.ended(), told(&ends)), (Ended::Reset, Ended::Reset), "{pod}");
    }
}

#[test]
fn upgrades_are_split_one_by_one() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(
        "apiVersion: split.smi-spec.io/v1alpha2\nkind: TrafficSplit\nmetadata: {name: canary, namespace: shop}\n\
         spec: {service: store, backends: [{service: store-v1, weight: 3}, {service: store-v2, weight: 1}]}\n",
    );
    let stores = [2, 3].map(|last| store(&mesh, last, SWITCH));
    let mut open: Vec<Client> = (0..8).map(|_| switched(&mesh)).collect();
    for client in &mut open {
        assert_eq!(client.send("x").exactly(1), b"x");
    }
    assert_eq!(stores.map(|(requests, _)| requests.try_iter().count()), [6, 2]);
}

#[test]
fn a_request_behind_a_finished_one_may_ask_and_its_server_is_not_used_again() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        while let Some(request) = client.request() {
            client.send(if request.field("upgrade").is_some() { SWITCH } else { OK });
        }
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").text(), "ok");
    assert_eq!(buyer.send(ASK).response().status(), 101);
    assert_eq!(store.accepted(), 1, "over the connection that was kept");
    assert_eq!(mesh.buyer().get("/list").text(), "ok");
    assert_eq!(store.accepted(), 2);
}

#[test]
fn a_rule_may_ask_for_an_upgrade() {
    let mesh = Mesh::new(&HTTP.replace(
        "{name: read, pathRegex: \"/(?:[^s]|$)\", methods: [GET, HEAD]}",
        "{name: chat, pathRegex: /chat, headers: [{upgrade: (?i)^websocket$}]}",
    ));
    let (_requests, _ends) = store(&mesh, 2, SWITCH);
    switched(&mesh);
    assert_eq!(mesh.buyer().get("/chat").status(), 403);
    let mut stripped = mesh.buyer();
    stripped.send(ASK.replace("Connection: keep-alive, Upgrade\r\n", ""));
    assert_eq!(stripped.response().status(), 403, "the server would see none");
}
