use super::*;

#[test]
fn the_canonical_request_is_what_is_forwarded() {
    assert_eq!(
        forwarded(b"GET http://Store:80/a/../%7eb//c?x=[1]&y=%2f HTTP/1.1\r\nX-One:  1  \r\nhost: store:80\r\n\r\n"),
        "GET /~b/c?x=[1]&y=%2f HTTP/1.1\r\nHost: store:80\r\nX-One: 1\r\n\r\n"
    );
    assert_eq!(
        forwarded(b"POST /? HTTP/1.1\r\nHost: a\r\nTRANSFER-ENCODING: Chunked\r\nTrailer: x\r\n\r\n"),
        "POST /? HTTP/1.1\r\nHost: a\r\nTrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    assert_eq!(
        forwarded(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0007\r\nTrailer: x\r\n\r\n"),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n"
    );
    assert_eq!(
        forwarded(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    assert_eq!(
        forwarded(b"OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n"),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"
    );
    assert_eq!(
        forwarded(b"GET HTTP://a?q HTTP/1.1\r\nHost: a\r\n\r\n"),
        "GET /?q HTTP/1.1\r\nHost: a\r\n\r\n"
    );
}

#[test]
fn bytes_above_ascii_in_a_value_and_any_method_are_forwarded_as_they_are() {
    let bytes = b"brew /pot HTTP/1.1\r\nHost: STORE\r\nX: caf\xe9\r\n\r\n";
    let mut out = Vec::new();
    write_request(
        &request(bytes).unwrap(),
        Upstream {
            authority: b"",
            close: false,
        },
        &mut out,
    );
    assert_eq!(out, bytes);
}

#[test]
fn fields_of_one_hop_and_claims_of_identity_stay_behind() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, keep-alive\r\nconnection: x-two, Upgrade\r\n\
        X-Hop: 1\r\nx-TWO: 2\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\n\
        HTTP2-Settings: AAM\r\nX-Forwarded-Client-Cert: me\r\nX_Forwarded_Client_Cert: me\r\nX-Weir-Identity: me\r\n\
        x_weir_identity: me\r\nX-Weird: stays\r\nX-Forwarded-For: stays\r\n\r\n";
    let expected = "GET / HTTP/1.1\r\nHost: a\r\nX-Weird: stays\r\nX-Forwarded-For: stays\r\n\r\n";
    assert_eq!(forwarded(bytes), expected);
    assert!(request(bytes).unwrap().upgrade.is_none());
}

#[test]
fn policy_sees_the_fields_that_the_back_end_sees() {
    let head =
        request(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-role\r\nX-Role: admin\r\nX-Other: 1\r\n\r\n").unwrap();
    assert_eq!(head.fields.get("x-role"), None);
    assert_eq!(head.fields.get("x-OTHER"), Some(&b"1"[..]));
}

#[test]
fn a_client_keeps_its_connection_by_version_and_connection() {
    for (keeps, bytes) in [
        (true, &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..]),
        (false, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n"),
        (
            false,
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, close\r\n\r\n",
        ),
        (false, b"GET / HTTP/1.0\r\n\r\n"),
        (true, b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
    ] {
        assert_eq!(request(bytes).unwrap().keep_alive, keeps, "{}", bytes.escape_ascii());
    }
}

#[test]
fn an_old_client_without_a_host_gets_the_authority_it_connected_to() {
    assert_eq!(request(b"GET / HTTP/1.0\r\n\r\n").unwrap().authority, None);
    assert_eq!(
        forwarded(b"GET / HTTP/1.0\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n"
    );
}

#[test]
fn an_expectation_travels_with_a_body_only() {
    let with = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(
        forwarded(with),
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    );
    for without in [
        &b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n"[..],
        b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ] {
        assert!(!request(without).unwrap().expect_continue);
        assert!(!forwarded(without).contains("Expect"));
    }
}

#[test]
fn the_engine_can_ask_the_back_end_to_close() {
    let head = request(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut out = bytes::BytesMut::new();
    write_request(
        &head,
        Upstream {
            authority: b"",
            close: true,
        },
        &mut out,
    );
    assert_eq!(&out[..], b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
}

#[test]
fn a_refusal_is_a_complete_response() {
    let mut out = Vec::new();
    refusal(403, "no rule", false, false, &mut out);
    let head = response(&out).unwrap();
    assert_eq!(
        (head.status, head.framing, head.keep_alive),
        (403, Framing::Length(8), true)
    );
    assert_eq!(&out[head.head_len..], b"no rule\n");

    out.clear();
    refusal(400, "bad", true, true, &mut out);
    let head = parse_response(&out, true, &Limits::default()).unwrap().unwrap();
    assert_eq!(
        (head.declared, head.keep_alive, head.head_len),
        (Framing::Length(4), false, out.len())
    );
}
