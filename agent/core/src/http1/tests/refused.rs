use super::*;

#[test]
fn each_doubtful_request_is_refused_with_its_status() {
    for (status, bytes) in [
        // Line ends and bytes.
        (400, &b"GET / HTTP/1.1\nHost: a\r\n\r\n"[..]),
        (400, b"GET / HTTP/1.1\r\nHost: a\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
        (400, b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n"),
        (400, b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Fields.
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n\t2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\t: 1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: 1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n"),
        // Lengths.
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        ),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n"),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551621\r\n\r\n",
        ),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n"),
        // Transfer codings.
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n",
        ),
        (
            400,
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n",
        ),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n"),
        (400, b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"),
        // Hosts and targets.
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        (400, b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET http://a/ HTTP/1.1\r\n\r\n"),
        (400, b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"OPTIONS *?x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?x#y HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?\xff HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?a\"b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?a<b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /?a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
        (400, b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /../b HTTP/1.1\r\nHost: a\r\n\r\n"),
        // The request line.
        (400, b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, b"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (400, b"GET / http/1.1\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
        (400, b"GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
        (505, b"GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        (505, b"GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        (505, b"PRI * HTTP/2.0\r\n\r\n"),
        (501, b"CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
        (501, b"ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (
            417,
            b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 1\r\n\r\n",
        ),
        // Connection.
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n"),
        (
            400,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, Content-Length\r\n\r\n",
        ),
        (
            400,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: cookie\r\nCookie: a=b\r\n\r\n",
        ),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a b\r\n\r\n"),
        (
            400,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: a,b,c,d,e,f,g,h,i\r\n\r\n",
        ),
    ] {
        let error = request(bytes).map(|_| ()).expect_err(&bytes.escape_ascii().to_string());
        assert_eq!(error.status, status, "{}: {error}", bytes.escape_ascii());
    }
}

#[test]
fn a_wrong_line_is_refused_before_the_head_is_complete() {
    for (bytes, reason) in [
        (&b"\r\n"[..], "empty line before the start line"),
        (
            b"GET / HTTP/1.1\r\nX: 1\r\n ",
            "white space at the start of a line (obs-fold)",
        ),
        (b"GET / HTTP/1.1\r\n\t", "white space at the start of a line (obs-fold)"),
        (b"GET / HTTP/1.1\n", "bare LF"),
        (b"GET / HTTP/1.1\rX", "bare CR"),
        (b"GET /\0", "NUL byte"),
    ] {
        let error = parse_request(bytes, &Limits::default()).map(|_| ()).expect_err(reason);
        assert_eq!(error, HeadError { status: 400, reason });
    }
}

#[test]
fn each_doubtful_response_is_a_502() {
    for bytes in [
        &b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n",
        b"HTTP/1.1 200 OK\rX: 1\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/1.1 600 No\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"220 mail.example.org ESMTP\r\n\r\n",
    ] {
        let error = response(bytes)
            .map(|_| ())
            .expect_err(&bytes.escape_ascii().to_string());
        assert_eq!(error.status, 502, "{}: {error}", bytes.escape_ascii());
    }
}

#[test]
fn a_head_over_the_limits_is_a_431_or_a_414() {
    let limits = Limits {
        head_bytes: 64,
        headers: 3,
        ..Limits::default()
    };
    let status = |bytes: &[u8]| {
        parse_request(bytes, &limits)
            .map(|head| head.is_some())
            .map_err(|error| error.status)
    };
    let long_line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64));
    assert_eq!(status(long_line.as_bytes()), Err(414));
    let long_field = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(64));
    assert_eq!(status(long_field.as_bytes()), Err(431));
    assert_eq!(status(b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n"), Ok(true));
    assert_eq!(
        status(b"GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
        Err(431)
    );
    let exact = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(64 - 32));
    assert_eq!((exact.len(), status(exact.as_bytes())), (64, Ok(true)));
    assert_eq!(status(&exact.as_bytes()[..63]), Ok(false));
}
