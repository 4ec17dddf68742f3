//! Clients and servers that let go at any moment, while the policy changes: whatever was counted up is counted down again.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use weir_agent::engine::Times;

use crate::http2::peer as h2peer;
use crate::http2::raw::{self, DATA, END_HEADERS, END_STREAM, HEADERS, RST_STREAM, Raw};
use crate::mesh::{HTTP, Mesh, eventually};
use crate::peer::{Client, Server};

/// How long it goes on.
const TIME: Duration = Duration::from_secs(3);

/// Numbers that look random and are the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }

    fn pause(&mut self) {
        std::thread::sleep(Duration::from_micros(self.roll(3000)));
    }
}

/// Something has come that looks like a request.
fn hears(client: &mut Client) -> bool {
    let mut space = [0; 64 * 1024];
    client.stream.read(&mut space).is_ok_and(|read| read > 0)
}

/// A server of HTTP/1 that may let go at any moment.
fn store(mesh: &Mesh) {
    Server::start(mesh.address(2, 8080), |number, mut client| {
        let mut dice = Dice(77 + number as u64);
        let _ = client.stream.set_read_timeout(Some(Duration::from_secs(2)));
        while hears(&mut client) {
            dice.pause();
            let answer: &[u8] = match dice.roll(8) {
                0 => return client.reset(),
                1 => return,
                2 => b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
                3 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                4 => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokand more",
                5 => b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            };
            if client.stream.write_all(answer).is_err() || answer.ends_with(b"hel") {
                return;
            }
        }
    });
}

/// One of HTTP/2.
fn http2_store(mesh: &Mesh) {
    h2peer::Server::start(mesh.address(2, 9000), |request, mut respond| async move {
        let path = request.uri().path().len();
        match path % 6 {
            0 => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            1 => drop(request),
            2 => tokio::time::sleep(Duration::from_millis(path as u64)).await,
            3 => {
                let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else {
                    return;
                };
                let _ = stream.send_data(vec![7; 100_000].into(), false);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            _ => {
                let Ok(mut stream) = respond.send_response(http::Response::new(()), false) else {
                    return;
                };
                let _ = stream.send_data(vec![7; 20_000].into(), true);
            }
        }
    });
}

fn buyer(mesh: &Mesh, dice: &mut Dice) {
    let mut client = mesh.buyer();
    for _ in 0..=dice.roll(3) {
        let sent: &[u8] = match dice.roll(5) {
            0 => b"GET /li",
            1 => b"POST /up HTTP/1.1\r\nHost: store\r\nContent-Length: 50000\r\n\r\npart",
            2 => b"GET /secret HTTP/1.1\r\nHost: store\r\n\r\n",
            3 => b"GET /chat HTTP/1.1\r\nHost: store\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            _ => b"GET /list HTTP/1.1\r\nHost: store\r\n\r\n",
        };
        if client.stream.write_all(sent).is_err() {
            return;
        }
        dice.pause();
    }
    let_go(client, dice);
}

fn http2_buyer(mesh: &Mesh, dice: &mut Dice) {
    let mut client = Raw(mesh.connect("buyer", mesh.address(2, 9000)));
    let mut sent = raw::PREFACE.to_vec();
    sent.extend(raw::frame(raw::SETTINGS, 0, 0, &[]));
    for at in 0..dice.roll(20) as u32 {
        let stream = 1 + 2 * at;
        let path = format!("/{}", "u".repeat(1 + dice.roll(12) as usize));
        match dice.roll(4) {
            0 => {
                sent.extend(raw::frame(
                    HEADERS,
                    END_HEADERS,
                    stream,
                    &raw::block("POST", "/up", &[]),
                ));
                sent.extend(raw::frame(DATA, 0, stream, &[7; 5000]));
            }
            1 => sent.extend(raw::get(stream, "/secret")),
            _ => sent.extend(raw::get(stream, &path)),
        }
        if dice.roll(3) == 0 {
            if !client.try_send(&sent) {
                return;
            }
            sent.clear();
            dice.pause();
            match dice.roll(3) {
                0 => sent.extend(raw::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])),
                1 => sent.extend(raw::frame(DATA, END_STREAM, stream, &[7; 100])),
                _ => {}
            }
        }
    }
    client.try_send(&sent);
    dice.pause();
    let_go(client.0, dice);
}

fn let_go(client: Client, dice: &mut Dice) {
    match dice.roll(2) {
        0 => client.reset(),
        _ => drop(client),
    }
}

#[test]
fn whatever_lets_go_at_any_moment_nothing_stays_counted() {
    let mut config = crate::http2::world::config();
    config.times = Times {
        idle_upstream: Duration::from_millis(300),
        connect: Duration::from_millis(500),
        response: Duration::from_secs(1),
        stream: Duration::from_secs(1),
        ..config.times
    };
    let mesh = Mesh::with(config, HTTP);
    store(&mesh);
    http2_store(&mesh);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for seed in 1..5 {
            let mesh = &mesh;
            scope.spawn(move || {
                let mut dice = Dice(seed * 7919);
                while begun.elapsed() < TIME {
                    match seed % 2 {
                        0 => buyer(mesh, &mut dice),
                        _ => http2_buyer(mesh, &mut dice),
                    }
                }
            });
        }
        scope.spawn(|| {
            while begun.elapsed() < TIME {
                for manifests in [HTTP.replace("[^s]", "[^l]"), HTTP.to_owned()] {
                    mesh.apply(&manifests);
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
    });
    let stats = mesh.stats();
    assert!(stats.requests > 500 && stats.revoked > 0, "{stats:?}");
    mesh.until("all counts are back at nothing", |stats| {
        let held = (
            stats.open,
            stats.requests_in_flight,
            stats.buffered_bytes,
            stats.upstream_idle,
        );
        held == (0, 0, 0, 0)
    });
    eventually("workloads have nothing open either", || {
        crate::observe::scrape(&mesh).sum("weir_connections_open", &[]) == 0.0
    });
    // All that was taken was given back, so that everybody is served.
    let again = mesh.connect("buyer", mesh.address(3, 8080));
    Server::web(mesh.address(3, 8080), "two");
    assert_eq!({ again }.get("/list").status(), 200);
}
