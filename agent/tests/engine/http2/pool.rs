//! Connections to servers: whose they are, how many, and what becomes of a stream whose connection fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use h2::Reason;

use super::peer::{Client, PATIENCE, Server, code, drain, get, ok, read, request, wait};
use super::raw::{self, END_HEADERS, END_STREAM, Raw};
use super::world;
use crate::mesh::{HTTP, Mesh, eventually};
use crate::peer;

/// `:status 200` in HPACK.
const OK: &[u8] = &[0x88];

/// A server of frames: `serve` gets each connection behind the preface.
fn frames(mesh: &Mesh, serve: impl Fn(usize, &mut Raw) + Send + Sync + 'static) -> peer::Server {
    peer::Server::start(mesh.address(2, 8080), move |number, mut client| {
        client.exactly(raw::PREFACE.len());
        let mut raw = Raw(client);
        raw.send(raw::SETTINGS, 0, 0, &[]);
        serve(number, &mut raw);
        while raw.frame().is_some() {}
    })
}

/// A server that answers nothing for a while, and takes so many streams at once.
fn slow(mesh: &Mesh, streams: u32, time: Duration) -> Server {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(streams);
    Server::with(mesh.address(2, 8080), builder, move |request, mut respond| async move {
        if request.uri().path() == "/l/slow" {
            tokio::time::sleep(time).await;
        }
        ok(&mut respond, "done", true);
    })
}

#[test]
fn a_server_that_takes_few_streams_gets_more_connections() {
    let mesh = Mesh::new(HTTP);
    let store = slow(&mesh, 2, Duration::from_millis(300));
    let buyer = Client::buyer(&mesh);
    // Its SETTINGS are known behind the first answer.
    buyer.get("/list");
    let streams: Vec<_> = (0..5).map(|_| buyer.open(get("/l/slow"), true).0).collect();
    for response in streams {
        assert_eq!(wait(read(response)).unwrap().text(), "done");
    }
    assert_eq!(store.accepted(), 3);
}

#[test]
fn where_all_connections_are_full_streams_wait() {
    let mut config = world::config();
    config.limits.http2.upstreams_per_pair = 1;
    config.limits.http2.streams = 2;
    config.times.connect = Duration::from_millis(400);
    let mesh = Mesh::with(config, HTTP);
    let store = slow(&mesh, 100, Duration::from_millis(400));
    let buyers = [Client::buyer(&mesh), Client::buyer(&mesh)];
    let all = || -> Vec<_> { (0..4).map(|at| buyers[at % 2].open(get("/l/slow"), true).0).collect() };
    for response in all() {
        assert_eq!(wait(read(response)).unwrap().status(), 200, "it has waited");
    }
    assert_eq!(store.accepted(), 1);
}

#[test]
fn a_wait_for_room_is_not_for_ever() {
    let mut config = world::config();
    config.limits.http2.upstreams_per_pair = 1;
    config.limits.http2.streams = 1;
    config.times.connect = Duration::from_millis(100);
    let mesh = Mesh::with(config, HTTP);
    slow(&mesh, 100, PATIENCE);
    let held = Client::buyer(&mesh);
    let _held = held.open(get("/l/slow"), true);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 503);
}

#[test]
fn what_a_server_refuses_is_sent_once_more() {
    let mesh = Mesh::new(HTTP);
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        async move {
            if request.uri().query() == Some("read") {
                drain(&mut request.into_body()).await.unwrap();
            }
            match number % 3 {
                2 => drop(ok(&mut respond, "at last", true)),
                _ => respond.send_reset(Reason::REFUSED_STREAM),
            }
        }
    });
    let buyer = Client::buyer(&mesh);
    // Refused twice; then the third that the server sees is answered.
    assert_eq!(buyer.get("/list").status(), 503);
    assert_eq!(buyer.get("/list").text(), "at last");
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    assert_eq!(mesh.stats().upstream_retries, 1);
    // Part of its body is gone, so it can't be sent again.
    let body = buyer.post(request("POST", "/up?read"), "data").unwrap();
    assert_eq!((body.status(), seen.load(Ordering::SeqCst)), (503, 4));
}

#[test]
fn a_server_that_says_goodbye_gets_no_more_and_what_it_did_not_take_goes_elsewhere() {
    let mesh = Mesh::new(HTTP);
    let store = frames(&mesh, |number, raw| match number {
        0 => {
            let asked = raw.next(raw::HEADERS);
            assert_eq!(asked.stream, 1);
            // The last stream that was processed: none.
            raw.send(raw::GOAWAY, 0, 0, &[0; 8]);
        }
        _ => {
            let asked = raw.next(raw::HEADERS);
            raw.send(raw::HEADERS, END_STREAM | END_HEADERS, asked.stream, OK);
        }
    });
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").status(), 200);
    assert_eq!(store.accepted(), 2);
    assert_eq!(mesh.stats().upstream_retries, 1);
    // Even what may not be sent twice: the server has said that it did not look at it.
    let mesh = Mesh::new(HTTP);
    frames(&mesh, |number, raw| {
        let asked = raw.next(raw::HEADERS);
        match number {
            0 => raw.send(raw::GOAWAY, 0, 0, &[0; 8]),
            _ => raw.send(raw::HEADERS, END_STREAM | END_HEADERS, asked.stream, OK),
        }
    });
    assert_eq!(Client::buyer(&mesh).ask(request("POST", "/up")).unwrap().status(), 200);
}

#[test]
fn a_stream_that_a_server_has_taken_ends_behind_its_goodbye() {
    let mesh = Mesh::new(HTTP);
    frames(&mesh, |_, raw| {
        let asked = raw.next(raw::HEADERS);
        raw.send(raw::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
        std::thread::sleep(Duration::from_millis(100));
        raw.send(raw::HEADERS, END_STREAM | END_HEADERS, asked.stream, OK);
    });
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 200);
}

#[test]
fn a_connection_that_breaks_costs_what_may_not_be_sent_twice() {
    let mesh = Mesh::new(HTTP);
    let store = frames(&mesh, |number, raw| {
        let asked = raw.next(raw::HEADERS);
        if number % 2 == 1 {
            raw.send(raw::HEADERS, END_STREAM | END_HEADERS, asked.stream, OK);
        } else {
            raw.0.stream.shutdown(std::net::Shutdown::Both).unwrap();
        }
    });
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 200, "a GET is sent again");
    assert_eq!(store.accepted(), 2);
    let mesh = Mesh::new(HTTP);
    let store = frames(&mesh, |_, raw| {
        raw.next(raw::HEADERS);
        raw.0.stream.shutdown(std::net::Shutdown::Both).unwrap();
    });
    assert_eq!(Client::buyer(&mesh).ask(request("POST", "/up")).unwrap().status(), 502);
    assert_eq!(store.accepted(), 1);
}

#[test]
fn connections_are_never_lent_to_another_pod() {
    let thief = HTTP
        .replace("name: buyer", "name: thief")
        .replace("shopping", "stealing");
    let mesh = Mesh::new(&format!("{HTTP}---\n{thief}"));
    let store = Server::web(mesh.address(2, 8080), "one");
    for pod in ["buyer", "thief", "buyer", "thief"] {
        assert_eq!(Client::connect(&mesh, pod, mesh.store()).get("/list").status(), 200);
    }
    assert_eq!(store.accepted(), 2);
    let shown: Vec<_> = mesh
        .table
        .shown
        .lock()
        .unwrap()
        .iter()
        .map(|shown| shown.unwrap().ip())
        .collect();
    assert_eq!(shown, [mesh.ip(1), mesh.ip(4)]);
}

#[test]
fn an_idle_connection_to_a_server_is_closed_in_order() {
    let mut config = world::config();
    config.times.idle_upstream = Duration::from_millis(100);
    let mesh = Mesh::with(config, HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    frames(&mesh, move |_, raw| {
        let asked = raw.next(raw::HEADERS);
        raw.send(raw::HEADERS, END_STREAM | END_HEADERS, asked.stream, OK);
        tell.lock().unwrap().send(raw.goaway()).unwrap();
    });
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 200);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Some(0));
}

#[test]
fn what_no_server_may_send_is_a_bad_gateway() {
    type Sent = fn(u32) -> Vec<u8>;
    let answers: [(&str, Sent); 6] = [
        ("a push", |stream| {
            let promise = [&[0, 0, 0, 2][..], &raw::block("GET", "/x", &[])].concat();
            raw::frame(raw::PUSH_PROMISE, END_HEADERS, stream, &promise)
        }),
        ("a switch of protocols", |stream| {
            raw::frame(raw::HEADERS, END_HEADERS, stream, &raw::field(":status", b"101"))
        }),
        ("a connection field", |stream| {
            let fields = [OK.to_vec(), raw::field("connection", b"close")].concat();
            raw::frame(raw::HEADERS, END_STREAM | END_HEADERS, stream, &fields)
        }),
        ("two lengths", |stream| {
            let fields = [
                OK.to_vec(),
                raw::field("content-length", b"0"),
                raw::field("content-length", b"0"),
            ]
            .concat();
            raw::frame(raw::HEADERS, END_STREAM | END_HEADERS, stream, &fields)
        }),
        ("no status", |stream| {
            raw::frame(raw::HEADERS, END_STREAM | END_HEADERS, stream, &raw::field("x", b"y"))
        }),
        ("interim answers without end", |stream| {
            raw::frame(raw::HEADERS, END_HEADERS, stream, &raw::field(":status", b"103")).repeat(33)
        }),
    ];
    for (what, sent) in answers {
        let mesh = Mesh::new(HTTP);
        frames(&mesh, move |_, raw| {
            let asked = raw.next(raw::HEADERS);
            raw.0.send(sent(asked.stream));
        });
        assert_eq!(Client::buyer(&mesh).get("/list").status(), 502, "{what}");
        assert_eq!(mesh.stats().bad_gateway, 1, "{what}");
    }
}

#[test]
fn data_where_none_may_be_resets_the_stream() {
    let mesh = Mesh::new(HTTP);
    frames(&mesh, |_, raw| {
        let asked = raw.next(raw::HEADERS);
        raw.send(raw::HEADERS, END_HEADERS, asked.stream, &[0x89]);
        raw.send(raw::DATA, END_STREAM, asked.stream, b"surprise");
    });
    assert_eq!(code(Client::buyer(&mesh).ask(get("/list"))), Reason::INTERNAL_ERROR);
}

#[test]
fn a_server_that_floods_is_left_alone() {
    let mut config = world::config();
    config.limits.http2.idle_frames = 50;
    config.limits.http2.idle_frames_per_second = 10;
    let mesh = Mesh::with(config, HTTP);
    frames(&mesh, |_, raw| {
        raw.next(raw::HEADERS);
        raw.try_send(&raw::frame(raw::PING, 0, 0, &[0; 8]).repeat(1000));
    });
    assert_eq!(Client::buyer(&mesh).get("/list").status(), 502);
}

#[test]
fn streams_of_several_connections_of_a_pod_share_one_to_the_server() {
    let mesh = Mesh::new(HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        ok(&mut respond, "done", true);
    });
    let buyers: Vec<_> = (0..3).map(|_| Client::buyer(&mesh)).collect();
    let answers: Vec<_> = buyers.iter().map(|buyer| buyer.open(get("/list"), true).0).collect();
    for answer in answers {
        assert_eq!(wait(read(answer)).unwrap().status(), 200);
    }
    assert_eq!(store.accepted(), 1, "they have waited for the same one to open");
}

#[test]
fn behind_all_of_it_no_connection_is_left() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let buyer = Client::buyer(&mesh);
    buyer.get("/list");
    assert_eq!(mesh.stats().open, 1);
    drop(buyer);
    eventually("the client's connection is gone", || mesh.stats().open == 0);
}

#[test]
fn a_server_that_can_not_be_connected_to_is_passed_over_for_another_of_its_backend() {
    let mesh = Mesh::new(HTTP);
    mesh.apply(world::BOTH);
    let store = Server::web(mesh.address(3, 8080), "two");
    let buyer = Client::buyer(&mesh);
    for _ in 0..4 {
        assert_eq!(buyer.get("/list").text(), "two GET /list ");
    }
    assert_eq!(store.requests().len(), 4);
    assert_eq!(mesh.stats().upstream_elsewhere, 2);
}
