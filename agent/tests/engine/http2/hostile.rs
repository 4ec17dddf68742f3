//! Servers that mean no good, and what they and their clients may cost: connections, memory, time.

use std::io::Read;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::Response;
use socket2::{Domain, Socket, Type};
use weir_agent::engine::Limits;
use weir_core::model::Kind;

use super::peer::{Client, Server, get, ok, read, request, wait};
use super::raw::{END_HEADERS, END_STREAM, HEADERS, Raw, SETTINGS, WINDOW_UPDATE, frame};
use super::{raw, world};
use crate::mesh::{HTTP, Mesh, eventually};

#[test]
fn a_connection_whose_grant_goes_while_it_opens_is_not_kept() {
    let mesh = Mesh::new(HTTP);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&mesh.address(2, 8080).into()).unwrap();
    listener.listen(0).unwrap();
    // Its queue is full: whoever comes now waits until there is room.
    let filler = TcpStream::connect(mesh.address(2, 8080)).unwrap();
    let buyer = Client::buyer(&mesh);
    let (_response, _body) = buyer.open(get("/list"), true);
    eventually("it is about to connect", || {
        !mesh.table.shown.lock().unwrap().is_empty()
    });
    mesh.remove(Kind::TrafficTarget, "shopping");
    mesh.until("it was judged again", |stats| stats.rejudged > 0);
    drop(listener.accept().unwrap());
    drop(filler);
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut stream = TcpStream::from(stream);
    let begun = Instant::now();
    // The engine's preface may be there, and then a reset.
    while stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {}
    assert!(begun.elapsed() < Duration::from_secs(4), "it stays open for nobody");
}

#[test]
fn a_server_that_closes_every_new_connection_is_not_asked_for_ever() {
    let mesh = Mesh::new(HTTP);
    let listener = std::net::TcpListener::bind(mesh.address(2, 8080)).unwrap();
    let accepted = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = accepted.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            socket2::SockRef::from(&stream.unwrap())
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
    });
    let buyer = Client::buyer(&mesh);
    let begun = Instant::now();
    let asked = 20;
    for _ in 0..asked {
        let status = buyer.get("/list").status();
        assert!(matches!(status, 502 | 503), "{status}");
    }
    assert!(begun.elapsed() < Duration::from_secs(3));
    let accepted = accepted.load(std::sync::atomic::Ordering::SeqCst);
    assert!(accepted <= 6 * asked, "{accepted} connections for {asked} requests");
}

#[test]
fn idle_connections_to_servers_are_on_their_clients_account() {
    let mut config = world::config();
    config.limits = Limits {
        idle_upstreams_per_pod: 2,
        ..Limits::default()
    };
    let mesh = Mesh::with(config, HTTP);
    for port in 9000..9005 {
        Server::web(mesh.address(2, port), "one");
    }
    for port in 9000..9005 {
        let buyer = Client::connect(&mesh, "buyer", mesh.address(2, port));
        assert_eq!(buyer.get("/list").status(), 200);
    }
    mesh.until("the two that were used last are left", |stats| {
        stats.upstream_idle == 2 && stats.upstream_evicted == 3
    });
    // One that works is not idle.
    let buyer = Client::connect(&mesh, "buyer", mesh.address(2, 9004));
    let (response, mut body) = buyer.open(request("POST", "/up"), false);
    mesh.until("one works", |stats| stats.upstream_idle == 1);
    body.send_data("".into(), true).unwrap();
    assert_eq!(wait(read(response)).unwrap().status(), 200);
    mesh.until("it rests again", |stats| stats.upstream_idle == 2);
}

#[test]
fn a_clients_connection_is_not_counted_as_open_for_the_sake_of_one_to_a_server() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let open = || crate::observe::scrape(&mesh).sum("weir_connections_open", &[]);
    let buyer = Client::buyer(&mesh);
    buyer.get("/list");
    assert_eq!(open(), 1.0);
    drop(buyer);
    eventually("it is closed", || open() == 0.0);
}

#[test]
fn answers_that_a_client_does_not_read_are_on_its_account_and_bounded() {
    const STREAMS: u32 = 200;
    const BODY: usize = 60_000;
    let mesh = Mesh::with(world::config(), HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(vec![7; BODY].into(), true).unwrap();
    });
    let mut raw = Raw::buyer(&mesh);
    socket2::SockRef::from(&raw.0.stream)
        .set_recv_buffer_size(8192)
        .unwrap();
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    (0..STREAMS).for_each(|at| raw.send_bytes(&raw::get(1 + 2 * at, "/list")));
    mesh.until("all are under way", |stats| stats.requests == u64::from(STREAMS));
    // What the sockets hold is the kernel's; the rest waits in the agent, and is known to wait.
    mesh.until("answers wait", |stats| {
        stats.buffered_bytes > 300_000 && stats.requests_in_flight > u64::from(STREAMS) / 10
    });
    std::thread::sleep(Duration::from_millis(200));
    assert!(mesh.stats().buffered_bytes > 300_000, "they wait on");
    raw.0.reset();
    mesh.until("nothing is left", |stats| {
        (stats.buffered_bytes, stats.requests_in_flight, stats.open) == (0, 0, 0)
    });
}

#[test]
fn all_of_it_arrives_at_a_client_that_reads_late() {
    const BODY: usize = 200_000;
    let mesh = Mesh::with(world::config(), HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(vec![7; BODY].into(), true).unwrap();
    });
    let mut raw = Raw::buyer(&mesh);
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    (0..100).for_each(|at| raw.send_bytes(&raw::get(1 + 2 * at, "/list")));
    mesh.until("all are under way", |stats| stats.requests == 100);
    std::thread::sleep(Duration::from_millis(300));
    let (mut bytes, mut ends) = (0, 0);
    while ends < 100 {
        let frame = raw.next(raw::DATA);
        bytes += frame.payload.len();
        ends += u32::from(frame.flags & END_STREAM != 0);
    }
    assert_eq!(bytes, 100 * BODY);
    mesh.until("nothing is kept", |stats| stats.buffered_bytes == 0);
}

#[test]
fn bodies_that_wait_for_a_connection_are_on_their_clients_account() {
    let mesh = Mesh::new(HTTP);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&mesh.address(2, 8080).into()).unwrap();
    listener.listen(0).unwrap();
    let _filler = TcpStream::connect(mesh.address(2, 8080)).unwrap();
    let mut raw = Raw::buyer(&mesh);
    for at in 0..20 {
        let stream = 1 + 2 * at;
        raw.send_bytes(&frame(HEADERS, END_HEADERS, stream, &raw::block("POST", "/up", &[])));
        (0..4).for_each(|_| raw.send_bytes(&frame(raw::DATA, 0, stream, &[7; 10_000])));
    }
    // What has come with the last turn is known with the next one.
    mesh.until("nearly all of it is there and known", |stats| {
        stats.buffered_bytes >= 700_000
    });
    raw.0.reset();
    mesh.until("nothing is left", |stats| {
        (stats.buffered_bytes, stats.requests_in_flight) == (0, 0)
    });
}

#[test]
fn a_server_that_resets_what_it_has_answered_early_keeps_its_connection() {
    let mut config = world::config();
    config.limits.http2.resets = 5;
    config.limits.http2.resets_per_second = 1;
    let mesh = Mesh::with(config, HTTP);
    let store = Server::start(mesh.address(2, 8080), |request, mut respond| async move {
        ok(&mut respond, "enough", true);
        drop(request);
    });
    for _ in 0..50 {
        // What clients reset is another matter.
        let buyer = Client::buyer(&mesh);
        let (response, _body) = buyer.open(request("POST", "/up"), false);
        assert_eq!(wait(read(response)).unwrap().status(), 200);
    }
    assert_eq!(store.accepted(), 1);
}

#[test]
fn a_stream_that_waits_to_connect_is_not_sent_once_its_grant_has_gone() {
    let mesh = Mesh::new(HTTP);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&mesh.address(2, 8080).into()).unwrap();
    listener.listen(0).unwrap();
    let filler = TcpStream::connect(mesh.address(2, 8080)).unwrap();
    let buyer = Client::buyer(&mesh);
    let streams: Vec<_> = (0..50).map(|_| buyer.open(get("/list"), true)).collect();
    eventually("they are about to connect", || {
        !mesh.table.shown.lock().unwrap().is_empty()
    });
    // A stream that was not looked at by then is left out by the GOAWAY.
    mesh.until("all of them wait", |stats| stats.requests == 50);
    mesh.remove(Kind::TrafficTarget, "shopping");
    for (response, _) in streams {
        assert_eq!(wait(read(response)).unwrap().status(), 403);
    }
    drop(listener.accept().unwrap());
    drop(filler);
    // Whatever still connects is closed without a request on it.
    listener.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    while let Ok((stream, _)) = listener.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut seen = Vec::new();
        // It ends with a reset.
        let _ = TcpStream::from(stream).read_to_end(&mut seen);
        assert!(
            !seen.windows(5).any(|bytes| bytes == b"store"),
            "{}",
            seen.escape_ascii()
        );
    }
    assert_eq!(mesh.table.shown.lock().unwrap().len(), 1, "nobody has connected again");
}
