use super::*;

fn refused(status: u16) -> impl Fn(Fault) -> bool {
    move |fault| matches!(fault, Fault::Refused(error) if error.status == status)
}

fn malformed(fault: Fault) -> bool {
    matches!(fault, Fault::Malformed(_))
}

#[test]
fn a_target_is_canonical_or_refused() {
    let target = request_target("GET", b"/a/./b/../c?x=%2F/..").unwrap();
    assert_eq!((&*target.path, target.query), (&b"/a/c"[..], Some(&b"x=%2F/.."[..])));
    assert_eq!(&*request_target("OPTIONS", b"*").unwrap().path, b"*");
    for path in [
        &b"/a%2Fb"[..],
        b"/..",
        b"",
        b"a",
        b"http://a/b",
        b"/a b",
        b"/a\\b",
        b"*",
    ] {
        let error = request_target("GET", path).unwrap_err();
        assert_eq!(error.status, 400, "{}", path.escape_ascii());
    }
    assert_eq!(request_target("CONNECT", b"/").unwrap_err().status, 501);
    assert_eq!(
        request_target("ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"/").unwrap_err().status,
        501
    );
}

#[test]
fn there_is_one_authority() {
    assert_eq!(authority(Some(b"store:80"), None), Ok(&b"store:80"[..]));
    assert_eq!(authority(None, Some(b"store")), Ok(&b"store"[..]));
    assert_eq!(authority(Some(b"store"), Some(b"STORE")), Ok(&b"store"[..]));
    assert!(malformed(authority(Some(b"store"), Some(b"other")).unwrap_err()));
    for bad in [None, Some(&b""[..]), Some(b"u@store"), Some(b"a,b"), Some(b"a:x")] {
        assert!(refused(400)(authority(bad, None).unwrap_err()), "{bad:?}");
    }
}

#[test]
fn each_field_passes_stays_behind_or_ends_the_request() {
    for name in [
        "x-forwarded-client-cert",
        "x_forwarded-client_cert",
        "x-weir-identity",
        "http2-settings",
    ] {
        assert_eq!(request_field(name.as_bytes(), b"v"), Ok(Passage::Drop), "{name}");
    }
    assert_eq!(response_field(b"x-weir-identity", b"v"), Ok(Passage::Forward));
    for (name, value) in [
        ("te", "trailers"),
        ("expect", "100-Continue"),
        ("content-length", "5"),
        ("x", ""),
    ] {
        assert_eq!(
            request_field(name.as_bytes(), value.as_bytes()),
            Ok(Passage::Forward),
            "{name}"
        );
    }
    for (name, value) in [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("x", " v"),
        ("x", "v\t"),
    ] {
        assert!(
            malformed(request_field(name.as_bytes(), value.as_bytes()).unwrap_err()),
            "{name}: {value:?}"
        );
    }
    assert!(refused(417)(request_field(b"expect", b"200-maybe").unwrap_err()));
    assert!(refused(400)(request_field(b"content_length", b"5").unwrap_err()));
    assert!(refused(400)(
        request_field(b"transfer_encoding", b"chunked").unwrap_err()
    ));
}

#[test]
fn there_is_one_length() {
    let of = |values: &[&'static str]| content_length(values.iter().map(|value| value.as_bytes()));
    assert_eq!(of(&[]), Ok(None));
    assert_eq!(of(&["007"]), Ok(Some(7)));
    for bad in [
        &["5", "5"][..],
        &[""],
        &["+5"],
        &["0x5"],
        &["5, 5"],
        &["9223372036854775808"],
    ] {
        assert!(malformed(of(bad).unwrap_err()), "{bad:?}");
    }
}

#[test]
fn trailers_frame_route_and_authenticate_nothing() {
    for name in ["grpc-status", "grpc-message", "x-checksum"] {
        assert!(is_trailer(name.as_bytes(), b"0"), "{name}");
    }
    for name in [
        "content-length",
        "host",
        "authorization",
        "x-weir-identity",
        "set-cookie",
        "te",
    ] {
        assert!(!is_trailer(name.as_bytes(), b"trailers"), "{name}");
    }
}
