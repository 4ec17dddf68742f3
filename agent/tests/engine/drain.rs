//! The engine on its way out: nothing new, time for what is under way, and policy up to the end.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use weir_core::model::Kind;

use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Ended, Server};

const LONG: Duration = Duration::from_secs(60);
const GET: &str = "GET /list HTTP/1.1\r\nHost: store\r\n\r\n";

/// A store that sends each piece of its answer when it is told to.
fn slow(mesh: &Mesh, pieces: &'static [&'static str]) -> Sender<()> {
    let (go, told) = channel();
    let told = Mutex::new(told);
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.until(b"\r\n\r\n");
        for piece in pieces {
            told.lock().unwrap().recv().unwrap();
            client.send(piece);
        }
        client.rest();
    });
    go
}

#[test]
fn a_request_under_way_is_answered_whole_and_its_connection_closed() {
    let mesh = Mesh::new(HTTP);
    let go = slow(&mesh, &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "world"]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    mesh.engine.stop(LONG);
    std::thread::sleep(Duration::from_millis(100));
    go.send(()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    go.send(()).unwrap();
    let answer = buyer.response();
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    assert_eq!(answer.text(), "helloworld");
    assert_eq!(buyer.ended(), Ended::Fin);
    mesh.until("nothing is open", |stats| stats.open == 0);
}

#[test]
fn an_answer_that_has_begun_before_is_whole_and_its_connection_closed_in_order() {
    let mesh = Mesh::new(HTTP);
    let go = slow(&mesh, &["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "world"]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    go.send(()).unwrap();
    assert!(buyer.until(b"hello").is_some());
    mesh.engine.stop(LONG);
    go.send(()).unwrap();
    assert_eq!(buyer.exactly(5), b"world");
    assert_eq!(buyer.ended(), Ended::Fin);
}

#[test]
fn nothing_new_is_taken_and_idle_connections_are_closed() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut idle = mesh.buyer();
    assert_eq!(idle.get("/list").status(), 200);
    mesh.engine.stop(LONG);
    assert_eq!(idle.ended(), Ended::Fin);
    let listener = mesh.address(1, mesh.config.outbound_port);
    eventually("nobody listens", || {
        std::net::TcpStream::connect(listener).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
}

#[test]
fn bytes_go_on_until_the_time_is_over_and_are_reset_then() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        let mut byte = [0];
        while std::io::Read::read_exact(&mut client.stream, &mut byte).is_ok() {
            client.send(byte);
        }
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("\x01").exactly(1), b"\x01");
    let begun = Instant::now();
    mesh.engine.stop(Duration::from_millis(600));
    while begun.elapsed() < Duration::from_millis(400) {
        assert_eq!(buyer.send("\x02").exactly(1), b"\x02");
    }
    assert_eq!(buyer.ended(), Ended::Reset);
    assert!(begun.elapsed() >= Duration::from_millis(550));
}

#[test]
fn a_second_word_makes_it_shorter_and_never_longer() {
    let mesh = Mesh::new(HTTP);
    let _go = slow(&mesh, &[]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    mesh.engine.stop(LONG);
    mesh.engine.stop(Duration::ZERO);
    mesh.engine.stop(LONG);
    assert_eq!(buyer.ended(), Ended::Reset);
}

#[test]
fn policy_goes_on_for_what_is_under_way() {
    let mesh = Mesh::new(HTTP);
    let _go = slow(&mesh, &[]);
    let mut buyer = mesh.buyer();
    buyer.send(GET);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    mesh.engine.stop(LONG);
    mesh.remove(Kind::TrafficTarget, "shopping");
    assert_eq!(buyer.ended(), Ended::Reset);
    assert_eq!(mesh.stats().revoked, 1);
}

#[test]
fn a_request_that_has_come_in_part_is_still_served() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/list").status(), 200);
    let mut late = mesh.buyer();
    late.send("GET /late HT");
    mesh.until("it is there", |stats| {
        stats.bytes_from_clients == (GET.len() + 12) as u64
    });
    mesh.engine.stop(LONG);
    late.send("TP/1.1\r\nHost: store\r\n\r\n");
    let answer = late.response();
    assert_eq!(
        (answer.text().as_str(), answer.field("connection")),
        ("one GET /late", Some("close"))
    );
    assert_eq!(late.ended(), Ended::Fin);
    assert_eq!(store.requests().len(), 2);
}
