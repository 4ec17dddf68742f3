//! What of a stream reaches the server, and what comes back.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, Method, Request, Response};

use super::peer::{Client, PATIENCE, Server, code, drain, get, ok, read, request, wait};
use super::world;
use crate::mesh::{HTTP, Mesh, TCP};
use crate::peer;

#[test]
fn streams_are_judged_one_by_one_and_share_a_connection_to_the_server() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").text(), "one GET /list ");
    let refused = buyer.get("/secret");
    assert_eq!(refused.status(), 403);
    assert!(refused.text().contains("shop/shopping"), "{}", refused.text());
    assert_eq!(refused.field("content-length"), Some(&*refused.body.len().to_string()));
    assert_eq!(
        buyer.post(request("POST", "/up"), "data").unwrap().text(),
        "one POST /up data"
    );
    assert_eq!(buyer.ask(request("DELETE", "/list")).unwrap().status(), 403);
    assert_eq!(store.requests().len(), 2);
    assert_eq!(store.accepted(), 1);
    let refusal = mesh.refusal();
    assert_eq!(refusal.request, Some(("GET".to_owned(), "/secret".to_owned())));
    assert_eq!(refusal.reason.name(), "missing_rule");
    let stats = mesh.stats();
    assert_eq!(
        (
            stats.requests,
            stats.refused_request,
            stats.responses_2xx,
            stats.responses_4xx
        ),
        (4, 2, 2, 2)
    );
    assert_eq!((stats.upstream_connects, stats.upstream_reuses), (1, 1));
}

#[test]
fn the_server_gets_the_path_that_was_judged() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    assert_eq!(
        buyer.get("/a/../l%69st//x?y=%2e/../z").text(),
        "one GET /list/x?y=%2e/../z "
    );
    for path in ["/x/../secret", "/%73ecret", "//secret", "/./secret"] {
        assert_eq!(buyer.get(path).status(), 403, "{path}");
    }
    for path in ["/list%2Fsecret", "/list/%2e%2e/../..", "/list%00", "/li\\st"] {
        assert_eq!(buyer.get(path).status(), 400, "{path}");
    }
    assert_eq!(store.requests().len(), 1);
}

#[test]
fn fields_travel_but_those_that_claim_an_identity() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut asked = get("/list");
    let fields = asked.headers_mut();
    for (name, value) in [
        ("te", "trailers"),
        ("x-custom", "one"),
        ("cookie", "a=1"),
        ("x-forwarded-client-cert", "By=me"),
        ("x-weir-identity", "shop/store"),
        ("host", "STORE"),
    ] {
        fields.append(name, value.parse().unwrap());
    }
    fields.append("x-custom", "two".parse().unwrap());
    Client::buyer(&mesh).ask(asked).unwrap();
    let got = store.requests().pop().unwrap();
    let mut names: Vec<_> = got
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    names.sort();
    assert_eq!(names, ["cookie: a=1", "te: trailers", "x-custom: one", "x-custom: two"]);
    assert_eq!(got.uri.to_string(), "http://store/list");
}

#[test]
fn heads_alone_are_passed_on_as_such() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        let status = request
            .uri()
            .path()
            .trim_start_matches('/')
            .parse::<u16>()
            .unwrap_or(200);
        let response = Response::builder().status(status);
        let response = match (status, request.method() == Method::HEAD) {
            (_, true) | (304, _) => response.header("content-length", 5),
            _ => response,
        };
        respond.send_response(response.body(()).unwrap(), true).unwrap();
    });
    let buyer = Client::buyer(&mesh);
    let head = buyer.ask(request("HEAD", "/list")).unwrap();
    assert_eq!(
        (head.status(), head.field("content-length"), head.body.len()),
        (200, Some("5"), 0)
    );
    assert_eq!(buyer.get("/204").status(), 204);
    assert_eq!(buyer.get("/304").field("content-length"), Some("5"));
}

#[test]
fn trailers_travel_both_ways() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        let (_, trailers) = drain(&mut request.into_body()).await.unwrap();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        let mut back = HeaderMap::new();
        back.insert("x-checksum", trailers["x-sum"].clone());
        stream.send_data(Bytes::from_static(b"body"), false).unwrap();
        stream.send_trailers(back).unwrap();
    });
    let (response, mut stream) = Client::buyer(&mesh).open(request("POST", "/up"), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", "42".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
    let reply = wait(read(response)).unwrap();
    assert_eq!(
        (reply.text(), &reply.trailers["x-checksum"]),
        ("body", &"42".parse().unwrap())
    );
}

#[test]
fn interim_responses_travel() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        for status in [100, 103] {
            let interim = Response::builder()
                .status(status)
                .header("link", "</a>")
                .body(())
                .unwrap();
            respond.send_informational(interim).unwrap();
        }
        ok(&mut respond, "at last", true);
    });
    let (mut response, _) = Client::buyer(&mesh).open(get("/list"), true);
    for status in [100, 103] {
        let interim = wait(std::future::poll_fn(|cx| response.poll_informational(cx)))
            .unwrap()
            .unwrap();
        assert_eq!(
            (interim.status().as_u16(), &interim.headers()["link"]),
            (status, &"</a>".parse().unwrap())
        );
    }
    assert_eq!(wait(read(response)).unwrap().text(), "at last");
    assert_eq!(mesh.stats().responses_1xx, 2);
}

#[test]
fn large_bodies_arrive_whole_both_ways() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        let mut body = request.into_body();
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        while let Some(data) = body.data().await {
            let mut data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            while !data.is_empty() {
                stream.reserve_capacity(data.len());
                let room = std::future::poll_fn(|cx| stream.poll_capacity(cx))
                    .await
                    .unwrap()
                    .unwrap();
                stream.send_data(data.split_to(room.min(data.len())), false).unwrap();
            }
        }
        stream.send_data(Bytes::new(), true).unwrap();
    });
    let bytes: Vec<u8> = (0..8_000_000_u32).map(|at| (at % 251) as u8).collect();
    let reply = Client::buyer(&mesh)
        .post(request("POST", "/up"), bytes.clone())
        .unwrap();
    assert!(reply.body == bytes);
}

#[test]
fn a_split_takes_stream_by_stream() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(world::EVEN);
    Server::web(mesh.address(2, 8080), "one");
    Server::web(mesh.address(3, 8080), "two");
    let buyer = Client::buyer(&mesh);
    let mut names: Vec<String> = (0..10).map(|_| buyer.get("/list").text()[..3].to_owned()).collect();
    names.sort();
    assert_eq!(names, [["one"; 5], ["two"; 5]].concat());
}

#[test]
fn what_http_2_has_no_use_for_is_not_implemented() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    let connect = Request::builder().method("CONNECT").uri("store:80").body(()).unwrap();
    assert_eq!(buyer.ask(connect).unwrap().status(), 501);
    let mut expects = get("/list");
    expects.headers_mut().insert("expect", "a-miracle".parse().unwrap());
    assert_eq!(buyer.ask(expects).unwrap().status(), 417);
    assert_eq!(store.requests().len(), 0);
    assert_eq!(mesh.stats().bad_requests, 2);
}

#[test]
fn nobody_and_somebody_who_does_not_listen_are_unavailable() {
    let mesh = Mesh::new(HTTP);
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").status(), 503);
    mesh.apply(world::NOBODY);
    assert_eq!(buyer.get("/list").status(), 503);
    assert_eq!(mesh.stats().unavailable, 2);
}

#[test]
fn a_server_that_does_not_speak_http_2_is_a_bad_gateway() {
    let mesh = Mesh::new(HTTP);
    let answers: [&[u8]; 3] = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b""];
    peer::Server::start(mesh.address(2, 8080), move |number, mut client| {
        client.until(b"SM\r\n\r\n");
        client.send(answers[number % 3]);
        if number % 3 == 2 {
            return;
        }
        std::thread::sleep(PATIENCE);
    });
    let buyer = Client::buyer(&mesh);
    for _ in answers {
        let reply = buyer.get("/list");
        assert_eq!(
            (reply.status(), reply.text()),
            (502, "the server does not speak http/2\n")
        );
    }
    assert_eq!(mesh.stats().bad_gateway, 3);
}

#[test]
fn a_silent_server_is_no_http_2_server() {
    let mut config = world::config();
    config.times.connect = Duration::from_millis(200);
    let mesh = Mesh::with(config, HTTP);
    peer::Server::start(mesh.address(2, 8080), |_, _| std::thread::sleep(PATIENCE));
    let reply = Client::buyer(&mesh).get("/list");
    assert_eq!(
        (reply.status(), reply.text()),
        (502, "the server does not speak http/2\n")
    );
}

#[test]
fn whatever_the_port_was_declared_http_2_is_served() {
    for name in ["http-web", "http2-web", "grpc-web", "web"] {
        let mesh = Mesh::new(&format!("{HTTP}\n---\n{}", world::declared(name)));
        Server::web(mesh.address(2, 8080), "one");
        assert_eq!(Client::buyer(&mesh).get("/list").status(), 200, "{name}");
        // And HTTP/1.1 on the same port as ever.
        assert_eq!(mesh.buyer().get("/secret").status(), 403, "{name}");
    }
}

#[test]
fn over_a_grant_of_bytes_streams_are_streams() {
    let mesh = Mesh::new(TCP);
    Server::web(mesh.address(2, 8080), "one");
    assert_eq!(Client::buyer(&mesh).get("/secret").text(), "one GET /secret ");
    assert_eq!(mesh.stats().requests, 1);
}

#[test]
fn a_client_of_another_node_is_judged_on_arrival() {
    let mesh = Mesh::new(HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut raw = super::raw::Raw(mesh.arrive(9, mesh.address(2, 8080)));
    raw.0.send(super::raw::PREFACE).send(super::raw::frame(4, 0, 0, &[]));
    raw.0
        .send(super::raw::get(1, "/list"))
        .send(super::raw::get(3, "/secret"));
    let data = [raw.next(0), raw.next(0)].map(|frame| String::from_utf8(frame.payload).unwrap());
    assert!(data.iter().any(|text| text == "one GET /list "), "{data:?}");
    assert!(data.iter().any(|text| text.contains("shop/shopping")), "{data:?}");
    assert_eq!(store.requests().len(), 1);
}

#[test]
fn a_length_that_differs_from_the_data_resets_the_stream() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        if drain(&mut request.into_body()).await.is_ok() {
            ok(&mut respond, "whole", true);
        }
    });
    let buyer = Client::buyer(&mesh);
    for body in ["", "1234", "123456"] {
        let mut asked = request("POST", "/up");
        asked.headers_mut().insert("content-length", "5".parse().unwrap());
        assert_eq!(code(buyer.post(asked, body)), Reason::PROTOCOL_ERROR, "{body:?}");
    }
    assert_eq!(buyer.post(request("POST", "/up"), "12345").unwrap().text(), "whole");
}
