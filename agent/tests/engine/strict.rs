//! What is framed doubtfully: refused, closed, and nothing of it reaches a server.

use crate::mesh::{HTTP, Mesh};
use crate::peer::{Ended, Server};

/// Sends `request` with a smuggled one behind it; gives the status and what the server has seen.
fn refused(request: &str) -> u16 {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer
        .send(request)
        .send("GET /smuggled HTTP/1.1\r\nHost: store\r\n\r\n");
    let answer = buyer.response();
    assert_eq!(answer.field("connection"), Some("close"), "{request}");
    assert_eq!(buyer.ended(), Ended::Fin, "{request}");
    assert_eq!(store.accepted(), 0, "{request}");
    assert_eq!(mesh.stats().bad_requests, 1);
    answer.status()
}

#[test]
fn smuggling_forms_are_refused_and_nothing_reaches_the_server() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        "Content-Length: +4\r\n\r\nbody",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "X: a\r\n folded\r\n\r\n",
        "X: a\nY: b\r\n\r\n",
        "Host: other\r\n\r\n",
    ] {
        assert_eq!(
            refused(&format!("POST /up HTTP/1.1\r\nHost: store\r\n{fields}")),
            400,
            "{fields:?}"
        );
    }
}

#[test]
fn a_malformed_chunk_at_once_is_a_400_and_reaches_nobody() {
    let chunked = "POST /up HTTP/1.1\r\nHost: store\r\nTransfer-Encoding: chunked\r\n\r\n";
    for chunks in ["\r\n", "x\r\nabc\r\n", "3\nabc\r\n", "-3\r\nabc\r\n", ";ext\r\n"] {
        assert_eq!(refused(&format!("{chunked}{chunks}")), 400, "{chunks:?}");
    }
}

#[test]
fn a_malformed_chunk_later_resets_the_server_and_is_no_request() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.until(b"3\r\nabc");
        let rest = client.until(b"\r\n");
        tell.send((rest, client.ended())).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send("POST /up HTTP/1.1\r\nHost: store\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    buyer.send("zz\r\nGET /smuggled HTTP/1.1\r\nHost: store\r\n\r\n");
    assert_eq!(buyer.response().status(), 400);
    assert_eq!(buyer.ended(), Ended::Fin);
    let seen = told.recv_timeout(std::time::Duration::from_secs(5)).unwrap();
    assert_eq!(seen, (Some(b"\r\n".to_vec()), Ended::Reset));
}

#[test]
fn paths_that_servers_read_in_two_ways_are_refused() {
    for path in ["/a%2fb", "/a%00", "/..", "/a\\b", "/a%5cb", "/..;/x"] {
        assert_eq!(
            refused(&format!("GET {path} HTTP/1.1\r\nHost: store\r\n\r\n")),
            400,
            "{path}"
        );
    }
}

#[test]
fn policy_sees_the_path_that_the_server_sees() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for path in ["/secret", "/%73ecret", "/a/../secret", "//secret", "/./secret"] {
        assert_eq!(buyer.get(path).status(), 403, "{path}");
    }
    assert_eq!(store.accepted(), 0);
}

#[test]
fn a_head_that_is_too_large_is_a_431() {
    let field = format!("X-Large: {}\r\n", "a".repeat(40 * 1024));
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    buyer.send(format!("GET / HTTP/1.1\r\nHost: store\r\n{field}\r\n"));
    assert_eq!(buyer.response().status(), 431);
    assert_eq!(buyer.ended(), Ended::Fin);
    assert_eq!(store.accepted(), 0);
}

#[test]
fn other_methods_and_versions_get_their_own_status() {
    assert_eq!(refused("CONNECT store:80 HTTP/1.1\r\nHost: store:80\r\n\r\n"), 501);
    assert_eq!(refused("GET / HTTP/2.7\r\nHost: store\r\n\r\n"), 505);
    assert_eq!(refused("GET / HTTP/1.1\r\nHost: store\r\nExpect: gold\r\n\r\n"), 417);
}
