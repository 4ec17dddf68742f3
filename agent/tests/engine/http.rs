//! Requests one after the other: keep-alive, order, methods and statuses without a body, versions.

use crate::mesh::{HTTP, Mesh};
use crate::peer::{Ended, Server};

#[test]
fn many_requests_of_one_connection_use_one_upstream_connection() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for _ in 0..20 {
        assert_eq!(buyer.get("/list").text(), "one GET /list");
    }
    assert_eq!(store.accepted(), 1);
    assert_eq!(mesh.stats().upstream_reuses, 19);
    assert_eq!((mesh.stats().requests, mesh.stats().responses_2xx), (20, 20));
}

#[test]
fn the_server_gets_the_canonical_request() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let request = "GET //a/./b?q=//x HTTP/1.1\r\nhOSt: store\r\nX-Weir-Identity: root\r\nAccept:  a\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
    assert_eq!(mesh.buyer().send(request).response().text(), "one GET /a/b?q=//x");
    let seen = store.requests().remove(0);
    assert_eq!(seen.head, "GET /a/b?q=//x HTTP/1.1\r\nHost: store\r\nAccept: a");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let requests: Vec<String> = (0..50)
        .map(|n| format!("GET /{n} HTTP/1.1\r\nHost: store\r\n\r\n"))
        .collect();
    buyer.send(requests.concat());
    for n in 0..50 {
        assert_eq!(buyer.response().text(), format!("one GET /{n}"));
    }
}

#[test]
fn a_refused_request_between_two_allowed_ones_keeps_its_place() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let request = |path| format!("GET {path} HTTP/1.1\r\nHost: store\r\n\r\n");
    buyer.send(["/a", "/secret", "/b"].map(request).concat());
    assert_eq!(buyer.response().text(), "one GET /a");
    assert_eq!(buyer.response().status(), 403);
    assert_eq!(buyer.response().text(), "one GET /b");
    assert_eq!(store.requests().len(), 2);
}

#[test]
fn a_head_in_single_bytes_is_one_request() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for byte in b"GET /bytes HTTP/1.1\r\nHost: store\r\n\r\n" {
        buyer.send([*byte]);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert_eq!(buyer.response().text(), "one GET /bytes");
}

#[test]
fn the_answer_to_head_has_a_length_and_no_body() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    let answer = buyer
        .send("HEAD /list HTTP/1.1\r\nHost: store\r\n\r\n")
        .response_to_head();
    assert_eq!((answer.status(), answer.field("content-length")), (200, Some("14")));
    assert_eq!(buyer.get("/next").text(), "one GET /next");
}

#[test]
fn responses_204_and_304_have_no_body_and_keep_the_connection() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 204 No Content\r\nX-N: 1\r\n\r\n").request();
        client
            .send("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
            .request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/1").status(), 204);
    let unchanged = buyer.get("/2");
    assert_eq!(
        (unchanged.status(), unchanged.field("content-length")),
        (304, Some("500"))
    );
    assert_eq!(buyer.get("/3").text(), "ok");
    assert_eq!(store.accepted(), 1);
}

#[test]
fn interim_responses_are_passed_on_and_kept_from_http_1_0() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        while client.request().is_some() {
            client.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
            client.send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    let mut buyer = mesh.buyer();
    let hints = buyer.get("/");
    assert_eq!((hints.status(), hints.field("link")), (103, Some("</a>")));
    assert_eq!(buyer.response().status(), 102);
    assert_eq!(buyer.response().text(), "ok");
    let mut old = mesh.buyer();
    assert_eq!(old.send("GET / HTTP/1.0\r\n\r\n").response().status(), 200);
}

#[test]
fn connection_close_is_obeyed_on_both_sides() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.send("GET /a HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n");
    assert_eq!(buyer.response().field("connection"), Some("close"));
    assert_eq!(buyer.ended(), Ended::Fin);
    assert_eq!(mesh.buyer().get("/b").text(), "one GET /b");
    assert_eq!(store.accepted(), 1, "the client's close is no reason to close upstream");
}

#[test]
fn a_server_that_closes_behind_its_response_costs_the_client_nothing() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut buyer = mesh.buyer();
    for _ in 0..3 {
        let answer = buyer.get("/");
        assert_eq!((answer.text().as_str(), answer.field("connection")), ("ok", None));
    }
    assert_eq!(store.accepted(), 3);
}

#[test]
fn an_http_1_0_client_is_closed_unless_it_asks_to_stay() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut once = mesh.buyer();
    assert_eq!(once.send("GET /a HTTP/1.0\r\n\r\n").response().text(), "one GET /a");
    assert_eq!(once.ended(), Ended::Fin);
    let host = store.requests()[0].field("host").unwrap().to_owned();
    assert_eq!(
        host,
        mesh.store().to_string(),
        "a request without Host gets the address that was asked for"
    );
    let mut stays = mesh.buyer();
    for _ in 0..2 {
        let answer = stays
            .send("GET /b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            .response();
        assert_eq!(answer.field("connection"), Some("keep-alive"));
    }
}

#[test]
fn a_client_that_half_closes_behind_its_request_gets_the_answer() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.send("GET /a HTTP/1.1\r\nHost: store\r\n\r\n");
    buyer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(buyer.response().text(), "one GET /a");
    assert_eq!(buyer.ended(), Ended::Fin);
}
