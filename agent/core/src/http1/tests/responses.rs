use super::*;

#[test]
fn a_body_is_framed_by_status_and_request() {
    use Framing::{Chunked, Empty, Length, UntilClose};
    for (framing, declared, head_request, bytes) in [
        (
            Length(5),
            Length(5),
            false,
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"[..],
        ),
        (
            Chunked,
            Chunked,
            false,
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (UntilClose, UntilClose, false, b"HTTP/1.1 200 OK\r\n\r\n"),
        (UntilClose, UntilClose, false, b"HTTP/1.0 200 OK\r\n\r\n"),
        (Empty, Length(5), true, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
        (
            Empty,
            Chunked,
            true,
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (Empty, Empty, true, b"HTTP/1.1 200 OK\r\n\r\n"),
        (
            Empty,
            Length(5),
            false,
            b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        ),
        (Empty, Empty, false, b"HTTP/1.1 304 Not Modified\r\n\r\n"),
        (
            Empty,
            Empty,
            false,
            b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ),
        (Empty, Empty, false, b"HTTP/1.1 100 Continue\r\n\r\n"),
        (Empty, Empty, false, b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    ] {
        let head = parse_response(bytes, head_request, &Limits::default())
            .unwrap()
            .unwrap();
        assert_eq!(
            (head.framing, head.declared),
            (framing, declared),
            "{}",
            bytes.escape_ascii()
        );
        assert_eq!(head.keep_alive, framing != UntilClose);
        assert_eq!(head.is_interim(), head.status < 200);
    }
}

#[test]
fn a_response_is_written_in_canonical_form() {
    let bytes = b"HTTP/1.1 200 Very  well\r\nServer: x\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
        Upgrade: h2c\r\nContent-Length: 05\r\n\r\n";
    let (text, sent) = answered(bytes, Version::Http11, true);
    assert_eq!(
        text,
        "HTTP/1.1 200 Very  well\r\nServer: x\r\nContent-Length: 5\r\n\r\n"
    );
    assert_eq!(
        sent,
        Sent {
            body: BodyMode::Wire,
            keep_alive: true
        }
    );
    let (text, sent) = answered(bytes, Version::Http11, false);
    assert!(text.ends_with("Connection: close\r\n\r\n") && !sent.keep_alive);
}

#[test]
fn a_body_until_close_closes_the_client_too() {
    let (text, sent) = answered(b"HTTP/1.1 200 OK\r\n\r\n", Version::Http11, true);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert!(!sent.keep_alive);
}

#[test]
fn an_old_client_gets_no_chunks() {
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n";
    let (text, sent) = answered(chunked, Version::Http10, true);
    assert_eq!(text, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    assert_eq!(
        sent,
        Sent {
            body: BodyMode::Data,
            keep_alive: false
        }
    );

    let (text, sent) = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Version::Http10, true);
    assert_eq!(
        text,
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n"
    );
    assert!(sent.keep_alive);
}

#[test]
fn an_interim_head_says_nothing_of_the_connection() {
    let (text, _) = answered(
        b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n",
        Version::Http11,
        false,
    );
    assert_eq!(text, "HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn a_back_end_keeps_its_connection_by_version_and_connection() {
    for (keeps, bytes) in [
        (true, &b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..]),
        (
            false,
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        (false, b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (
            true,
            b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
        ),
        (false, b"HTTP/1.1 200 OK\r\n\r\n"),
    ] {
        assert_eq!(response(bytes).unwrap().keep_alive, keeps, "{}", bytes.escape_ascii());
    }
}
