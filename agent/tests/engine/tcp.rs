//! Connections relayed as bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;

use weir_core::model::Kind;

use crate::bodies::noise;
use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer::{Client, Ended, Server};

/// Sends everything back, and closes when the client has.
fn echo(_: usize, mut client: Client) {
    let mut space = vec![0; 65536];
    loop {
        match client.stream.read(&mut space) {
            Ok(0) | Err(_) => return,
            Ok(read) => client.send(&space[..read]),
        };
    }
}

#[test]
fn bytes_that_came_before_the_relay_are_not_lost() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), echo);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("\x01binary").exactly(7), b"\x01binary");
    assert_eq!(mesh.stats().tcp_relayed, 1);
}

#[test]
fn a_server_that_speaks_first_is_heard_soon() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |n, mut client| {
        client.send("220 hello\r\n");
        echo(n, client);
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.exactly(11), b"220 hello\r\n");
    assert_eq!(buyer.send("EHLO\r\n").exactly(6), b"EHLO\r\n");
}

#[test]
fn a_half_close_is_passed_on_and_the_answer_still_comes() {
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        let all = client.rest();
        client.send(format!("{} bytes", all.len()));
    });
    let mut buyer = mesh.buyer();
    buyer.send([0; 1000]).stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(buyer.rest(), b"1000 bytes");
    mesh.until("the relay is over", |stats| stats.open == 0);
}

#[test]
fn a_reset_of_one_side_is_a_reset_for_the_other() {
    let mesh = Mesh::new(TCP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |n, mut client| {
        client.exactly(1);
        if n == 0 {
            return client.reset();
        }
        client.send("x");
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("\x01").ended(), Ended::Reset);
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.send("\x01").exactly(1), b"x");
    buyer.reset();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Ended::Reset));
}

#[test]
fn sixty_four_mebibytes_arrive_unchanged_both_ways() {
    let body = Arc::new(noise(64 << 20));
    let sent = body.clone();
    let mesh = Mesh::new(TCP);
    Server::start(mesh.address(2, 8080), echo);
    let mut buyer = mesh.buyer();
    let mut sender = buyer.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        sender.write_all(&body).unwrap();
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let back = buyer.rest();
    assert!(back == *sent, "{} bytes came back", back.len());
    mesh.until("the relay is over", |stats| stats.open == 0);
}

#[test]
fn http_over_a_grant_of_bytes_is_served_request_by_request() {
    let mesh = Mesh::new(TCP);
    let store = Server::web(mesh.address(2, 8080), "one");
    assert_eq!(mesh.buyer().get("/secret").text(), "one GET /secret");
    assert_eq!(store.requests().len(), 1);
    assert_eq!(mesh.stats().requests, 1);
}

#[test]
fn an_http_2_preface_to_a_port_that_was_declared_tcp_is_bytes() {
    let mesh = Mesh::new(&format!("{TCP}\n---\n{DECLARED}"));
    Server::start(mesh.address(2, 8080), echo);
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    assert_eq!(mesh.buyer().send(preface).exactly(preface.len()), preface.as_bytes());
}

/// The store's Service, its port declared.
const DECLARED: &str = "
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec:
  clusterIP: 10.0.0.100
  selector: {app: store}
  ports: [{name: tcp-web, port: 80, targetPort: 8080}]
";

#[test]
fn without_a_grant_of_bytes_only_http_passes() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), echo);
    for (bytes, reason) in [("\x00\x01", "not_http"), ("GE", "silent"), ("", "silent")] {
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.send(bytes).ended(), Ended::Reset, "{reason}");
        assert_eq!(mesh.refusal().reason.name(), reason);
    }
    assert_eq!(mesh.stats().refused_protocol, 3);
    assert_eq!(store.accepted(), 0);
}

#[test]
fn a_client_without_any_grant_is_reset_at_once() {
    let mesh = Mesh::new(TCP);
    let store = Server::start(mesh.address(2, 8080), echo);
    let mut thief = mesh.connect("thief", mesh.store());
    let begun = std::time::Instant::now();
    assert_eq!(thief.ended(), Ended::Reset);
    assert!(begun.elapsed() < Duration::from_secs(2), "a refusal is no timeout");
    assert_eq!(mesh.refusal().reason.name(), "unreachable");
    assert_eq!(store.accepted(), 0);
}

#[test]
fn a_server_that_is_not_there_is_a_reset() {
    let mesh = Mesh::new(TCP);
    assert_eq!(mesh.buyer().send("\x01").ended(), Ended::Reset);
    assert_eq!(mesh.stats().upstream_failures, 1);
}

#[test]
fn a_revoked_transfer_ends_at_once_and_an_allowed_one_goes_on() {
    let mesh = Mesh::new(&format!(
        "{TCP}---\n{}",
        TCP.replace("buyer", "thief").replace("piping", "stealing")
    ));
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        let mut byte = [0];
        loop {
            match client.stream.read_exact(&mut byte) {
                Ok(()) => client.send(byte),
                Err(error) => return tell.send(error.kind()).unwrap(),
            };
        }
    });
    let mut buyer = mesh.buyer();
    let mut thief = mesh.connect("thief", mesh.store());
    assert_eq!(buyer.send("\x01").exactly(1), b"\x01");
    assert_eq!(thief.send("\x01").exactly(1), b"\x01");
    let begun = std::time::Instant::now();
    mesh.remove(Kind::TrafficTarget, "stealing");
    assert_eq!(thief.ended(), Ended::Reset);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(buyer.send("\x02").exactly(1), b"\x02");
    mesh.until("one connection was ended", |stats| {
        stats.revoked == 1 && stats.open == 1
    });
    assert_eq!(
        told.recv_timeout(Duration::from_secs(5)),
        Ok(std::io::ErrorKind::ConnectionReset)
    );
}
