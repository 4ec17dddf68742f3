//! Windows, resets, and who waits for whom.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http::Response;

use super::peer::{Client, PATIENCE, Server, code, drain, get, ok, read, request, wait};
use super::world;
use crate::mesh::{HTTP, Mesh, eventually};

/// A server that sends without end on `/list/endless`, counts what has gone, and answers everything else.
fn endless(mesh: &Mesh) -> Arc<Mutex<usize>> {
    let sent = Arc::new(Mutex::new(0));
    let count = sent.clone();
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let count = count.clone();
        async move {
            if request.uri().path() != "/list/endless" {
                ok(&mut respond, "short", true);
                return;
            }
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            loop {
                stream.reserve_capacity(16 * 1024);
                let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
                    return;
                };
                *count.lock().unwrap() += room;
                stream.send_data(Bytes::from(vec![7; room]), false).unwrap();
            }
        }
    });
    sent
}

#[test]
fn a_slow_reader_holds_back_its_own_stream_alone() {
    let mesh = Mesh::new(HTTP);
    let sent = endless(&mesh);
    let mut builder = h2::client::Builder::new();
    builder.initial_connection_window_size(1 << 30);
    let buyer = Client::with(&mesh, "buyer", mesh.store(), &builder);
    // Nobody reads these.
    let held: Vec<_> = (0..20)
        .map(|_| wait(buyer.open(get("/list/endless"), true).0).unwrap())
        .collect();
    let begun = Instant::now();
    for _ in 0..50 {
        assert_eq!(buyer.get("/list").text(), "short");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    std::thread::sleep(Duration::from_millis(200));
    let before = *sent.lock().unwrap();
    // A window in the client, one in the engine, and what the server's library keeps: far from endless.
    assert!(before < 20 * 600 * 1024, "{before}");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(*sent.lock().unwrap(), before, "nothing moves while nobody reads");
    drop(held);
    eventually("the streams are gone", || {
        let before = *sent.lock().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        before == *sent.lock().unwrap()
    });
    assert_eq!(buyer.get("/list").text(), "short");
}

#[test]
fn a_server_that_does_not_read_holds_back_its_client() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        if request.uri().path() == "/list" {
            ok(&mut respond, "short", true);
            return;
        }
        // Holds the request without reading it.
        tokio::time::sleep(PATIENCE).await;
        drop(request);
    });
    let buyer = Client::buyer(&mesh);
    let (_response, mut stream) = buyer.open(request("POST", "/up"), false);
    let mut sent = 0;
    loop {
        stream.reserve_capacity(16 * 1024);
        let room = std::future::poll_fn(|cx| stream.poll_capacity(cx));
        let Ok(room) = wait(async { tokio::time::timeout(Duration::from_millis(300), room).await }) else {
            break;
        };
        let room = room.unwrap().unwrap();
        sent += room;
        stream.send_data(Bytes::from(vec![7; room]), false).unwrap();
        assert!(sent < 1_000_000, "it is taken and taken");
    }
    assert_eq!(buyer.get("/list").text(), "short");
}

#[test]
fn a_reset_travels_with_its_code() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        let reason = Reason::from(request.uri().query().unwrap().parse::<u32>().unwrap());
        if request.uri().path() == "/late" {
            let mut stream = ok(&mut respond, "part", false);
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.send_reset(reason);
        } else {
            respond.send_reset(reason);
        }
    });
    let buyer = Client::buyer(&mesh);
    for reason in [
        Reason::CANCEL,
        Reason::ENHANCE_YOUR_CALM,
        Reason::INTERNAL_ERROR,
        Reason::from(77),
    ] {
        let number = u32::from(reason);
        assert_eq!(code(buyer.ask(get(&format!("/list?{number}")))), reason);
        assert_eq!(code(buyer.ask(get(&format!("/late?{number}")))), reason);
    }
}

#[test]
fn a_client_that_resets_resets_the_server() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let tell = Arc::new(tell);
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let tell = tell.clone();
        async move {
            let answered = request.uri().path() == "/l/answered";
            let reset = match answered {
                true => {
                    let mut stream = ok(&mut respond, "part", false);
                    std::future::poll_fn(|cx| stream.poll_reset(cx)).await
                }
                false => std::future::poll_fn(|cx| respond.poll_reset(cx)).await,
            };
            tell.lock().unwrap().send(reset.unwrap()).unwrap();
        }
    });
    let buyer = Client::buyer(&mesh);
    let (_response, mut stream) = buyer.open(get("/l/waiting"), true);
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    stream.send_reset(Reason::CANCEL);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Reason::CANCEL);
    drop(wait(buyer.open(get("/l/answered"), true).0).unwrap());
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Reason::CANCEL);
}

#[test]
fn a_client_that_goes_away_resets_the_server() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    Server::start(mesh.address(2, 8080), move |_, mut respond| {
        let tell = tell.clone();
        async move {
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            tell.lock().unwrap().send(reset.unwrap()).unwrap();
        }
    });
    let mut raw = super::raw::Raw::buyer(&mesh);
    raw.0.send(super::raw::get(1, "/list"));
    mesh.until("it is under way", |stats| stats.upstream_connects == 1);
    raw.0.reset();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Reason::CANCEL);
}

#[test]
fn an_answer_before_the_end_of_the_request_counts() {
    let mesh = Mesh::new(HTTP);
    Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        ok(&mut respond, "enough", true);
        drop(request);
    });
    let (response, mut stream) = Client::buyer(&mesh).open(request("POST", "/up"), false);
    assert_eq!(wait(read(response)).unwrap().text(), "enough");
    let reset = wait(std::future::poll_fn(|cx| stream.poll_reset(cx)));
    assert_eq!(reset.unwrap(), Reason::NO_ERROR);
}

#[test]
fn a_server_may_read_on_behind_its_answer() {
    let mesh = Mesh::new(HTTP);
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let tell = tell.clone();
        async move {
            ok(&mut respond, "answer", true);
            let body = drain(&mut request.into_body()).await.unwrap().0;
            tell.lock().unwrap().send(body).unwrap();
        }
    });
    let (response, mut stream) = Client::buyer(&mesh).open(request("POST", "/up"), false);
    assert_eq!(wait(read(response)).unwrap().text(), "answer");
    stream.send_data(Bytes::from_static(b"the rest"), true).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), b"the rest");
}

#[test]
fn a_server_that_takes_too_long_is_a_gateway_timeout() {
    let mut config = world::config();
    config.times.response = Duration::from_millis(200);
    let mesh = Mesh::with(config, HTTP);
    let (tell, told) = channel();
    let tell = Arc::new(Mutex::new(tell));
    Server::start(mesh.address(2, 8080), move |request, mut respond| {
        let tell = tell.clone();
        async move {
            if request.uri().path() == "/l/part" {
                let _stream = ok(&mut respond, "part", false);
                tokio::time::sleep(Duration::from_millis(600)).await;
                return;
            }
            let reset = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            tell.lock().unwrap().send(reset.unwrap()).unwrap();
        }
    });
    let buyer = Client::buyer(&mesh);
    assert_eq!(buyer.get("/list").status(), 504);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), Reason::CANCEL);
    // Once an answer has begun, it is its own affair how long it takes.
    assert_eq!(code(buyer.ask(get("/l/part"))), Reason::CANCEL);
    let slow = buyer.open(request("POST", "/up"), false);
    assert_eq!(wait(read(slow.0)).unwrap().status(), 408);
}

#[test]
fn a_stream_on_which_nothing_moves_is_reset_at_last() {
    let mut config = world::config();
    config.times.stream = Duration::from_millis(300);
    let mesh = Mesh::with(config, HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let _stream = ok(&mut respond, "part", false);
        tokio::time::sleep(PATIENCE).await;
    });
    let begun = Instant::now();
    assert_eq!(code(Client::buyer(&mesh).ask(get("/list"))), Reason::CANCEL);
    assert!(begun.elapsed() >= Duration::from_millis(200));
}
