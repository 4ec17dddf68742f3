//! Floods and standstills: each ends its own connection, in bounded memory, and a neighbour's latency holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::peer::{Client, Server};
use super::raw::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PREFACE, PRIORITY, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, block, field, frame, get, number,
};
use super::world;
use crate::mesh::{HTTP, Mesh, eventually};

/// Sends `flood` over and over until the engine has enough of it, while somebody else is served. The code that it says
/// goodbye with.
fn flood(mesh: &Mesh, open: &[u8], flood: impl Fn(u32) -> Vec<u8>) -> Option<u32> {
    let store = Server::web(mesh.address(2, 8080), "one");
    let neighbour = Client::buyer(mesh);
    neighbour.get("/list");
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let watched = std::thread::spawn(move || {
        let mut slowest = Duration::ZERO;
        while !over.load(Ordering::SeqCst) {
            let begun = Instant::now();
            assert_eq!(neighbour.get("/list").status(), 200);
            slowest = slowest.max(begun.elapsed());
        }
        slowest
    });
    let mut raw = Raw::buyer(mesh);
    raw.0.send(open);
    let begun = Instant::now();
    let mut stream = 3;
    // What it answers has to be read, or the flood would only stand still.
    let mut reading = Raw(crate::peer::Client::new(raw.0.stream.try_clone().unwrap()));
    let read = std::thread::spawn(move || reading.goaway());
    while !read.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(8), "it never ends");
        let bytes: Vec<u8> = (0..50).flat_map(|at| flood(stream + 2 * at)).collect();
        stream += 100;
        raw.try_send(&bytes);
    }
    done.store(true, Ordering::SeqCst);
    let slowest = watched.join().unwrap();
    assert!(slowest < Duration::from_secs(1), "a neighbour has waited {slowest:?}");
    assert_eq!(mesh.stats().bad_connections, 1);
    drop(store);
    read.join().unwrap()
}

const POST: fn(u32) -> Vec<u8> = |stream| frame(HEADERS, END_HEADERS, stream, &block("POST", "/up", &[]));

#[test]
fn a_flood_of_pings_settings_and_the_like_ends() {
    type One = fn(u32) -> Vec<u8>;
    let floods: [(&str, One); 6] = [
        ("PING", |_| frame(PING, 0, 0, &[0; 8])),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("WINDOW_UPDATE", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("PRIORITY", |stream| frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 1])),
        ("unknown frames", |_| frame(0x42, 0, 0, b"?")),
        ("empty DATA", |_| frame(DATA, 0, 1, &[])),
    ];
    for (what, one) in floods {
        let mesh = Mesh::with(world::config(), HTTP);
        assert_eq!(flood(&mesh, &POST(1), one), Some(ENHANCE_YOUR_CALM), "{what}");
    }
}

#[test]
fn rapid_reset_ends() {
    let mesh = Mesh::with(world::config(), HTTP);
    let one = |stream| [get(stream, "/list"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    assert_eq!(flood(&mesh, &[], one), Some(ENHANCE_YOUR_CALM));
}

#[test]
fn resets_one_by_one_end_as_well() {
    let mut config = world::config();
    config.limits.http2.resets = 20;
    config.limits.http2.resets_per_second = 1;
    let mesh = Mesh::with(config, HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut raw = Raw::buyer(&mesh);
    for at in 0..21 {
        let stream = 1 + 2 * at;
        raw.0.send(get(stream, "/list"));
        std::thread::sleep(Duration::from_millis(2));
        raw.send(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
    }
    assert_eq!(raw.goaway(), Some(ENHANCE_YOUR_CALM));
}

#[test]
fn a_flood_of_continuation_ends() {
    let mesh = Mesh::with(world::config(), HTTP);
    let open = frame(HEADERS, END_STREAM, 1, &block("GET", "/list", &[]));
    assert_eq!(
        flood(&mesh, &open, |_| frame(CONTINUATION, 0, 1, &[])),
        Some(ENHANCE_YOUR_CALM)
    );
    let mesh = Mesh::with(world::config(), HTTP);
    let long = |_| frame(CONTINUATION, 0, 1, &field("x", &[b'y'; 120]).repeat(100));
    assert!(flood(&mesh, &open, long).is_some_and(|code| code != 0));
}

#[test]
fn a_bomb_of_indexed_fields_is_too_large() {
    let mesh = Mesh::with(world::config(), HTTP);
    let store = Server::web(mesh.address(2, 8080), "one");
    let mut raw = Raw::buyer(&mesh);
    // One field of 120 bytes goes into the table, and then comes again with a byte each.
    let mut bomb = block("GET", "/list", &[]);
    let mut indexed = field("x", &[b'y'; 120]);
    indexed[0] = 0x40;
    bomb.extend(indexed);
    bomb.extend(vec![0xbe; 400]);
    raw.0.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb));
    assert_eq!(raw.next(HEADERS).stream, 1);
    let mut more = block("GET", "/list", &[]);
    more.extend(vec![0xbe; 16_000]);
    raw.0.send(frame(HEADERS, END_STREAM | END_HEADERS, 3, &more));
    assert_eq!(raw.goaway(), Some(ENHANCE_YOUR_CALM));
    assert_eq!(store.requests().len(), 0);
}

#[test]
fn more_streams_than_allowed_are_refused_one_by_one() {
    let mut config = world::config();
    config.limits.http2.streams = 3;
    let mesh = Mesh::with(config, HTTP);
    let store = Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let _ = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
    });
    let mut raw = Raw::buyer(&mesh);
    (0..4).for_each(|at| raw.send_bytes(&get(1 + 2 * at, "/list")));
    let refused = raw.next(RST_STREAM);
    assert_eq!((refused.stream, number(&refused.payload)), (7, 7));
    eventually("three are there", || store.requests().len() == 3);
}

#[test]
fn whoever_owes_settings_or_the_rest_of_a_head_is_sent_away() {
    let head = frame(HEADERS, END_STREAM, 1, &block("GET", "/list", &[]));
    let settings = frame(SETTINGS, 0, 0, &[]);
    let settled = [PREFACE, &settings[..]].concat();
    for (what, sent) in [
        ("SETTINGS", PREFACE.to_vec()),
        ("CONTINUATION", [&settled[..], &head].concat()),
        ("CONTINUATION, later", [&settled[..], &get(1, "/secret")].concat()),
        ("half a frame", [PREFACE, &settings[..5]].concat()),
    ] {
        let mut config = world::config();
        config.times.head = Duration::from_millis(200);
        let mesh = Mesh::with(config, HTTP);
        let mut raw = Raw(mesh.buyer());
        raw.0.send(sent);
        if what == "CONTINUATION, later" {
            raw.next(HEADERS);
            std::thread::sleep(Duration::from_millis(300));
            raw.0.send(frame(HEADERS, END_STREAM, 3, &block("GET", "/list", &[])));
        }
        let begun = Instant::now();
        assert_eq!(raw.goaway(), Some(ENHANCE_YOUR_CALM), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{what}");
    }
}

#[test]
fn whoever_drips_the_preface_is_refused() {
    let mesh = Mesh::with(world::config(), HTTP);
    let mut raw = Raw(mesh.buyer());
    raw.0.send(&PREFACE[..10]);
    assert_eq!(raw.0.ended(), crate::peer::Ended::Reset);
    assert_eq!(mesh.refusal().reason.name(), "silent");
}

#[test]
fn a_first_frame_that_is_not_settings_ends_the_connection() {
    let mesh = Mesh::with(world::config(), HTTP);
    let mut raw = Raw(mesh.buyer());
    raw.0.send(PREFACE).send(frame(PING, 0, 0, &[0; 8]));
    assert_eq!(raw.goaway(), Some(super::raw::PROTOCOL_ERROR));
}

#[test]
fn a_client_that_does_not_read_costs_itself_alone() {
    let mut config = world::config();
    config.times.response = Duration::from_millis(300);
    let mesh = Mesh::with(config, HTTP);
    Server::start(mesh.address(2, 8080), |_, mut respond| async move {
        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
        stream.send_data(vec![7; 4_000_000].into(), true).unwrap();
    });
    let mut raw = Raw::buyer(&mesh);
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]);
    raw.send(WINDOW_UPDATE, 0, 0, &[0x7f, 0, 0, 0]);
    (0..20).for_each(|at| raw.send_bytes(&get(1 + 2 * at, "/list")));
    mesh.until("all are under way", |stats| stats.requests == 20);
    // Its socket is full soon; nothing more than a window of each stream is kept for it.
    std::thread::sleep(Duration::from_millis(200));
    let before = mesh.stats().bytes_from_servers;
    std::thread::sleep(Duration::from_millis(100));
    assert!(before < 20 * 200_000 + 8_000_000, "{before}");
}
