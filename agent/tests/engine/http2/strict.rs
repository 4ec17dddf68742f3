//! Heads that no library would send: each costs its stream, and nothing of it reaches the server.

use super::peer::Server;
use super::raw::{
    DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PROTOCOL_ERROR, RST_STREAM, Raw, block, field, frame, get, number,
};
use crate::mesh::{HTTP, Mesh};

/// The code that stream 1 is reset with, on a connection that then serves stream 5 as if nothing had been.
fn reset(mesh: &Mesh, frames: Vec<u8>, what: &str) -> u32 {
    let mut raw = Raw::buyer(mesh);
    raw.0.send(frames);
    let reset = loop {
        match raw.frame() {
            Some(frame) if frame.kind == RST_STREAM => break frame,
            Some(frame) if frame.kind != GOAWAY && frame.kind != HEADERS => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    assert_eq!(reset.stream, 1, "{what}");
    raw.0.send(get(5, "/list"));
    assert_eq!(raw.next(DATA).payload, b"one GET /list ", "{what}");
    number(&reset.payload)
}

fn head(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
}

#[test]
fn malformed_heads_reset_their_stream() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let with = |fields: &[(&str, &str)]| block("GET", "/list", fields);
    let pseudo = |names: &[(&str, &str)]| -> Vec<u8> {
        names
            .iter()
            .flat_map(|(name, value)| field(name, value.as_bytes()))
            .collect()
    };
    let blocks: Vec<(&str, Vec<u8>)> = vec![
        ("connection", with(&[("connection", "close")])),
        ("keep-alive", with(&[("keep-alive", "5")])),
        ("proxy-connection", with(&[("proxy-connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te", with(&[("te", "gzip")])),
        ("two hosts", with(&[("host", "store"), ("host", "store")])),
        ("another host", with(&[("host", "other")])),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "0")])),
        ("a length of nothing", with(&[("content-length", "")])),
        ("a length without data", with(&[("content-length", "5")])),
        ("white space in front of a value", with(&[("x", " v")])),
        ("white space behind a value", with(&[("x", "v\t")])),
        ("a space in the path", block("GET", "/li st", &[])),
        ("a line end in the path", block("GET", "/li\r\nst", &[])),
        ("NUL in the path", block("GET", "/li\0st", &[])),
        ("a pseudo field behind a field", with(&[("x", "y"), (":method", "GET")])),
        (
            "a status",
            pseudo(&[
                (":method", "GET"),
                (":scheme", "http"),
                (":path", "/"),
                (":status", "200"),
            ]),
        ),
        (
            "no method",
            pseudo(&[(":scheme", "http"), (":authority", "store"), (":path", "/list")]),
        ),
        (
            "no scheme",
            pseudo(&[(":method", "GET"), (":authority", "store"), (":path", "/list")]),
        ),
        (
            "no path",
            pseudo(&[(":method", "GET"), (":scheme", "http"), (":authority", "store")]),
        ),
        ("an empty path", block("GET", "", &[])),
        ("two paths", block("GET", "/list", &[(":path", "/list")])),
        (
            "an extended CONNECT",
            block("CONNECT", "/list", &[(":protocol", "websocket")]),
        ),
    ];
    for (what, block) in blocks {
        assert_eq!(reset(&mesh, head(&block), what), PROTOCOL_ERROR, "{what}");
    }
    assert!(store.requests().iter().all(|request| request.uri.path() == "/list"));
}

#[test]
fn what_is_no_field_at_all_ends_the_connection_or_the_stream() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let fields = [
        ("X", "y"),
        ("x y", "z"),
        ("x", "a\r\nb"),
        ("x", "a\0b"),
        ("x", "a\nb"),
        ("", "y"),
        (":x", "y"),
    ];
    let blocks = fields.map(|field| block("GET", "/list", &[field]));
    for block in blocks.into_iter().chain([block("GET /x", "/list", &[])]) {
        let mut raw = Raw::buyer(&mesh);
        raw.0.send(head(&block));
        loop {
            match raw.frame() {
                None => break,
                Some(frame) if frame.kind == RST_STREAM => break,
                Some(frame) => assert!(!matches!(frame.kind, HEADERS | DATA), "{frame:?}"),
            }
        }
    }
    assert_eq!(store.requests().len(), 0);
}

#[test]
fn trailers_that_frame_route_or_authenticate_reset_the_stream() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    for (name, value) in [
        ("content-length", "5"),
        ("host", "store"),
        ("authorization", "me"),
        ("x-weir-identity", "me"),
        ("connection", "close"),
    ] {
        let mut frames = frame(HEADERS, END_HEADERS, 1, &block("POST", "/up", &[]));
        frames.extend(frame(DATA, 0, 1, b"data"));
        frames.extend(frame(
            HEADERS,
            END_STREAM | END_HEADERS,
            1,
            &field(name, value.as_bytes()),
        ));
        assert_eq!(reset(&mesh, frames, name), PROTOCOL_ERROR, "{name}");
    }
}

#[test]
fn more_fields_than_a_head_may_have_are_too_many() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut raw = Raw::buyer(&mesh);
    raw.0.send(head(&block("GET", "/list", &[("x", "y"); 101])));
    assert_eq!(raw.next(HEADERS).stream, 1);
    raw.0.send(get(5, "/list"));
    assert!(raw.next(DATA).payload.starts_with(b"too many"));
    // The next one may be there by now.
    assert!(
        store
            .requests()
            .iter()
            .all(|request| !request.headers.contains_key("x"))
    );
    assert_eq!(mesh.stats().bad_requests, 1);
}

#[test]
fn a_pseudo_field_in_trailers_goes_nowhere() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Arc::new(std::sync::Mutex::new(tell));
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let tell = tell.clone();
        async move {
            let (_, trailers) = super::peer::drain(&mut request.into_body()).await.unwrap();
            tell.lock().unwrap().send(trailers).unwrap();
            super::peer::ok(&mut respond, "", true);
        }
    });
    let mut raw = Raw::buyer(&mesh);
    raw.0.send(frame(HEADERS, END_HEADERS, 1, &block("POST", "/up", &[])));
    raw.0
        .send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &field(":path", b"/secret")));
    assert!(told.recv().unwrap().is_empty());
}
