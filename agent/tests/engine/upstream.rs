//! Upstream connections: for whom, shown as whom, used again, and what their faults become.

use std::time::Duration;

use weir_agent::engine::Times;

use crate::mesh::{HTTP, Mesh, eventually};
use crate::peer::{Ended, Server};

const GET: &str = "GET / HTTP/1.1\r\nHost: store\r\n\r\n";

/// A store whose one answer is `bytes`.
fn store_that_says(mesh: &Mesh, bytes: &'static str) -> Server {
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        client.send(bytes);
    })
}

#[test]
fn the_server_is_shown_the_client_that_opened_the_connection() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.get("/");
    let own = buyer.stream.local_addr().unwrap();
    assert_eq!(*mesh.table.shown.lock().unwrap(), [Some(own)]);
}

#[test]
fn connections_are_never_shared_between_clients() {
    let grant_thief = HTTP
        .replace("name: buyer", "name: thief")
        .replace("shopping", "stealing");
    let mesh = Mesh::new(&format!("{HTTP}---\n{grant_thief}"));
    let store = Server::web(mesh.address(2, 8080), "one");
    assert_eq!(mesh.buyer().get("/").status(), 200);
    assert_eq!(mesh.connect("thief", mesh.store()).get("/").status(), 200);
    assert_eq!((store.accepted(), mesh.stats().upstream_reuses), (2, 0));
    assert_eq!(mesh.buyer().get("/").status(), 200);
    assert_eq!((store.accepted(), mesh.stats().upstream_reuses), (2, 1));
}

#[test]
fn a_stale_connection_is_replaced_for_a_request_that_may_be_repeated() {
    let mesh = Mesh::new(HTTP);
    // Each connection answers once and resets at the next request: the close can't be seen beforehand.
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let _ = client.stream.peek(&mut [0]);
    });
    let mut buyer = mesh.buyer();
    for _ in 0..3 {
        assert_eq!(buyer.get("/").text(), "ok");
    }
    assert_eq!((store.accepted(), mesh.stats().upstream_retries), (3, 2));
}

#[test]
fn a_request_that_may_not_be_repeated_is_sent_once() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |n, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        if n == 0 {
            let _ = client.until(b"\r\n\r\n");
        }
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "ok");
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(buyer.response().status(), 502);
    assert_eq!((store.accepted(), mesh.stats().upstream_retries), (1, 0));
}

#[test]
fn a_connection_closed_while_idle_is_not_used_for_a_post() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let mut buyer = mesh.buyer();
    for _ in 0..3 {
        buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 1\r\n\r\nx");
        assert_eq!(buyer.response().text(), "ok");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((store.accepted(), mesh.stats().upstream_retries), (3, 0));
}

#[test]
fn what_a_server_says_wrongly_is_a_502() {
    for bytes in [
        "220 ftp.example.org\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        "HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConte",
        "",
    ] {
        let mesh = Mesh::new(HTTP);
        store_that_says(&mesh, bytes);
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.send(GET).response().status(), 502, "{bytes:?}");
        assert_eq!(mesh.stats().bad_gateway, 1, "{bytes:?}");
        assert_eq!(buyer.send(GET).response().status(), 502, "{bytes:?}");
    }
}

#[test]
fn bytes_behind_a_response_are_nobodys_answer() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
        client.send(format!("{answer}ok{answer}no"));
        client.request();
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "ok");
    assert_eq!(buyer.get("/").text(), "ok");
    assert_eq!(store.accepted(), 2);
}

#[test]
fn nobody_there_is_a_503_and_the_connection_stays() {
    let mesh = Mesh::new(HTTP);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").status(), 503);
    Server::web(mesh.address(2, 8080), "one");
    assert_eq!(buyer.get("/").status(), 200);
    assert_eq!((mesh.stats().unavailable, mesh.stats().upstream_failures), (1, 1));
}

#[test]
fn a_server_that_never_answers_is_a_504() {
    let times = Times {
        response: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send(GET).response().status(), 504);
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Ended::Reset));
    assert_eq!(mesh.stats().gateway_timeout, 1);
}

#[test]
fn idle_upstream_connections_are_closed_in_time() {
    let times = Times {
        idle_upstream: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "ok");
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Ended::Fin));
    assert!(buyer.is_quiet(), "the client's connection is not touched");
}

#[test]
fn a_client_that_goes_away_takes_its_upstream_connection_along() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    buyer.reset();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Ended::Reset));
    eventually("the connection is gone", || mesh.stats().open == 0);
}
