//! Bodies: both framings, both ways, large ones, slow ones, early answers.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use crate::mesh::{HTTP, Mesh, eventually};
use crate::peer::{Client, Ended, Server};

const MIB: usize = 1 << 20;

/// Answers each request with its own body in the same framing.
fn echo(_: usize, mut client: Client) {
    while let Some(request) = client.request() {
        let body = &request.body;
        if request.field("transfer-encoding").is_some() {
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n");
            client
                .send(format!("{:x}\r\n", body.len()))
                .send(body)
                .send("\r\n0\r\n");
            client.send(&request.trailers).send("\r\n");
        } else {
            client
                .send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()))
                .send(body);
        }
    }
}

/// Bytes that no run of equal ones can stand for.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next)
        .take(length.div_ceil(8))
        .flatten()
        .take(length)
        .collect()
}

#[test]
fn a_body_of_known_length_goes_both_ways() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), echo);
    let mut buyer = mesh.buyer();
    for size in [0, 1, 5000, 100_000] {
        let body = noise(size);
        buyer
            .send(format!(
                "POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: {size}\r\n\r\n"
            ))
            .send(&body);
        assert!(buyer.response().body == body, "{size} bytes");
    }
}

#[test]
fn a_chunked_body_and_its_trailers_go_both_ways() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), echo);
    let mut buyer = mesh.buyer();
    for _ in 0..2 {
        buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in ["3;ext=1\r\nabc", "\r\n", "2\r", "\nde\r\n0", "\r\nX-End: 5\r\n", "\r\n"] {
            buyer.send(piece);
            std::thread::sleep(Duration::from_millis(5));
        }
        let answer = buyer.response();
        assert_eq!(
            (answer.text().as_str(), answer.trailers.as_str()),
            ("abcde", "X-End: 5\r\n")
        );
    }
}

#[test]
fn an_http_1_0_client_gets_a_chunked_body_as_plain_data() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    });
    let mut old = mesh.buyer();
    old.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(old.response().text(), "abcde");
}

#[test]
fn a_response_until_close_ends_with_the_connection() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\n\r\nall ").send("of it");
    });
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").text(), "all of it");
}

#[test]
fn a_response_cut_short_is_a_reset_for_the_client() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    });
    let mut buyer = mesh.buyer();
    buyer
        .send("GET / HTTP/1.1\r\nHost: store\r\n\r\n")
        .until(b"\r\n\r\nhalf");
    assert_eq!(buyer.ended(), Ended::Reset);
}

#[test]
fn a_request_cut_short_never_looks_whole_to_the_server() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.until(b"half");
        tell.send(client.ended()).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 10\r\n\r\nhalf");
    std::thread::sleep(Duration::from_millis(100));
    buyer.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(told.recv_timeout(Duration::from_secs(5)), Ok(Ended::Reset));
}

#[test]
fn sixty_four_mebibytes_arrive_unchanged_both_ways() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        let head = client.until(b"\r\n\r\n").unwrap();
        assert!(head.starts_with(b"PUT "));
        // Back as it comes, so that both directions run at once.
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 * MIB));
        for _ in 0..1024 {
            let piece = client.exactly(MIB / 16);
            client.send(piece);
        }
    });
    let body = Arc::new(noise(64 * MIB));
    let sent = body.clone();
    let mut buyer = mesh.buyer();
    let mut sender = buyer.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        sender
            .write_all(
                format!(
                    "PUT /up HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n",
                    64 * MIB
                )
                .as_bytes(),
            )
            .unwrap();
        sender.write_all(&body).unwrap();
    });
    let answer = buyer.response();
    assert!(answer.body == *sent, "{} bytes came back", answer.body.len());
}

#[test]
fn a_slow_reader_holds_back_the_server() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 256 * MIB));
        client
            .stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .unwrap();
        let piece = vec![7; MIB];
        let taken = (0..256).take_while(|_| client.stream.write_all(&piece).is_ok()).count();
        tell.send(taken).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send("GET / HTTP/1.1\r\nHost: store\r\n\r\n");
    let taken = told.recv_timeout(Duration::from_secs(10)).unwrap();
    // What the kernel's buffers of two connections take, and our one.
    assert!(
        taken < 64,
        "{taken} MiB were taken off the server for a client that reads nothing"
    );
    assert!(mesh.stats().bytes_from_servers < 32 * MIB as u64);
}

#[test]
fn a_client_that_expects_100_sends_its_body_when_the_server_asks() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        let head = client.until(b"\r\n\r\n").unwrap();
        assert!(head.windows(20).any(|window| window == b"Expect: 100-continue"));
        assert!(client.is_quiet(), "the body came before it was asked for");
        client.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(client.exactly(4), b"body");
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore");
    });
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n");
    assert_eq!(buyer.response().status(), 100);
    assert_eq!(buyer.send("body").response().text(), "ok");
    assert_eq!(buyer.get("/next").text(), "more");
}

#[test]
fn a_final_answer_instead_of_100_closes_the_connection() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.until(b"\r\n\r\n");
        client.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
        client.rest();
    });
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n");
    let answer = buyer.response();
    assert_eq!((answer.status(), answer.field("connection")), (413, Some("close")));
    assert_eq!(buyer.ended(), Ended::Fin);
}

#[test]
fn an_early_answer_arrives_and_the_rest_of_the_body_is_no_request() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut client| {
        client.until(b"\r\n\r\n");
        client.send("HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno");
        let _ = client.stream.read(&mut [0; 8]);
        std::thread::sleep(Duration::from_millis(300));
    });
    let mut buyer = mesh.buyer();
    let smuggled = "GET /a HTTP/1.1\r\nHost: store\r\n\r\n";
    buyer.send(format!(
        "POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n",
        smuggled.len() + 3
    ));
    assert_eq!(buyer.response().status(), 409);
    // The body comes after its answer. It is read to its end, and the next request is one.
    buyer.send(smuggled).send("end");
    buyer.send("GET /secret HTTP/1.1\r\nHost: store\r\n\r\n");
    assert_eq!(buyer.response().status(), 403);
    assert_eq!(store.accepted(), 1);
}

#[test]
fn an_early_answer_to_an_endless_body_closes_the_connection() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.until(b"\r\n\r\n");
        client.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
        std::thread::sleep(Duration::from_secs(2));
    });
    let mut buyer = mesh.buyer();
    buyer.send(format!(
        "POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    ));
    assert_eq!(buyer.response().status(), 413);
    let mut sender = buyer.stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || while sender.write_all(&[0; 65536]).is_ok() {});
    sending.join().unwrap();
    eventually("the connection is gone", || mesh.stats().open == 0);
}
