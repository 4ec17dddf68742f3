//! How much of everything one client may have, and what is left for the next.

use std::io::{Read, Write};
use std::time::Duration;

use weir_agent::engine::{Config, Limits};

use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Client, Ended, Server};

const GET: &str = "GET / HTTP/1.1\r\nHost: store\r\n\r\n";

/// What the buyer may do, for the thief too.
fn for_both() -> String {
    let thief = HTTP
        .replace("name: buyer", "name: thief")
        .replace("shopping", "stealing");
    format!("{HTTP}---\n{thief}")
}

fn thief(mesh: &Mesh) -> Client {
    mesh.connect("thief", mesh.store())
}

/// A store that answers one request, any of those that wait, each time it is told to.
fn store_that_waits(mesh: &Mesh) -> std::sync::mpsc::Sender<()> {
    let (tell, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        while client.request().is_some() {
            told.lock().unwrap().recv().unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    tell
}

#[test]
fn a_connection_too_many_of_one_pod_is_reset_and_others_are_served() {
    let limits = Limits {
        connections_per_pod: 3,
        ..Limits::default()
    };
    let mesh = Mesh::with(
        Config {
            cores: 2,
            limits,
            ..Config::default()
        },
        &for_both(),
    );
    Server::web(mesh.address(2, 8080), "one");
    let mut kept: Vec<Client> = (0..3).map(|_| mesh.buyer()).collect();
    for buyer in &mut kept {
        assert_eq!(buyer.get("/").status(), 200);
    }
    assert_eq!(mesh.buyer().ended(), Ended::Reset);
    assert_eq!(mesh.stats().over_limit, 1);
    assert_eq!(mesh.notes(), 0, "what was noted of it is gone with it");
    assert_eq!(thief(&mesh).get("/").status(), 200);
    kept.pop();
    eventually("a seat is free", || mesh.stats().open < 3);
    assert_eq!(mesh.buyer().get("/").status(), 200);
}

#[test]
fn all_together_are_bounded_and_the_next_one_finds_room() {
    let limits = Limits {
        connections: 9,
        connections_per_pod: 9,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, &for_both());
    Server::web(mesh.address(2, 8080), "one");
    let mut kept = Vec::new();
    let mut take = |make: &dyn Fn() -> Client| {
        for taken in 0.. {
            let client = make();
            let served = (&client.stream).write_all(GET.as_bytes()).is_ok()
                && matches!((&client.stream).read(&mut [0; 1024]), Ok(read) if read > 0);
            if !served {
                return taken;
            }
            kept.push(client);
        }
        unreachable!()
    };
    assert_eq!(take(&|| mesh.buyer()), 4, "about half");
    assert_eq!(take(&|| thief(&mesh)), 2, "about half of what was left");
    assert_eq!(mesh.stats().over_limit, 2);
}

#[test]
fn who_connects_from_elsewhere_pays_by_its_address() {
    let limits = Limits {
        connections_per_pod: 2,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, HTTP);
    let store = mesh.address(2, 8080);
    Server::web(store, "one");
    let mut far: Vec<_> = (0..2).map(|_| mesh.arrive(9, store)).collect();
    for client in &mut far {
        assert_eq!(client.get("/").status(), 200);
    }
    assert_eq!(mesh.arrive(9, store).ended(), Ended::Reset);
    assert_eq!(mesh.arrive(1, store).get("/").status(), 200, "another address");
    assert_eq!(mesh.buyer().get("/").status(), 200, "the same pod by its own listener");
    assert_eq!(mesh.connect("store-1", mesh.store()).ended(), Ended::Reset);
    assert_eq!(mesh.stats().over_limit, 1, "the server's own was refused by policy");
}

#[test]
fn requests_in_flight_are_bounded() {
    let limits = Limits {
        requests_per_pod: 2,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, &for_both());
    let answer = store_that_waits(&mesh);
    let mut waiting = [mesh.buyer(), mesh.buyer(), thief(&mesh)];
    for client in &mut waiting {
        client.send(GET);
    }
    mesh.until("all are under way", |stats| stats.requests_in_flight == 3);
    let mut buyer = mesh.buyer();
    let refused = buyer.get("/");
    assert_eq!(refused.status(), 503);
    assert!(refused.text().contains("too many requests"), "{}", refused.text());
    assert_eq!(mesh.stats().over_requests, 1);
    (0..3).for_each(|_| answer.send(()).unwrap());
    for client in &mut waiting {
        assert_eq!(client.response().status(), 200);
    }
    answer.send(()).unwrap();
    assert_eq!(buyer.get("/").status(), 200, "on the same connection");
    mesh.until("all is over", |stats| stats.requests_in_flight == 0);
}

#[test]
fn a_request_that_is_cut_off_gives_its_place_back() {
    let limits = Limits {
        requests_per_pod: 1,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, HTTP);
    let answer = store_that_waits(&mesh);
    for _ in 0..3 {
        let mut buyer = mesh.buyer();
        buyer.send(GET);
        mesh.until("it is under way", |stats| stats.requests_in_flight == 1);
        buyer.reset();
        mesh.until("it is gone", |stats| stats.requests_in_flight == 0);
    }
    (0..4).for_each(|_| answer.send(()).unwrap());
    assert_eq!(mesh.buyer().get("/").status(), 200);
}

#[test]
fn heads_that_never_end_are_bounded_in_bytes() {
    let limits = Limits {
        buffered_bytes: 4 << 20,
        buffered_bytes_per_pod: 256 << 10,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, &for_both());
    Server::web(mesh.address(2, 8080), "one");
    let head = format!("GET / HTTP/1.1\r\nHost: store\r\nX: {}", "x".repeat(20_000));
    let mut slow: Vec<Client> = (0..100)
        .map(|_| {
            let mut buyer = mesh.buyer();
            buyer.send(&head);
            buyer
        })
        .collect();
    mesh.until("most are refused", |stats| stats.over_bytes >= 80);
    // At least 4 KiB each, for as long as they are there.
    assert!(mesh.stats().buffered_bytes <= (256 << 10) + 100 * 4096);
    assert_eq!(thief(&mesh).get("/").status(), 200);
    assert_eq!(slow.last_mut().unwrap().response().status(), 503);
    slow.clear();
    mesh.until("nothing is held any more", |stats| stats.buffered_bytes == 0);
    assert_eq!(mesh.buyer().get("/").status(), 200);
}

#[test]
fn what_one_connection_buffers_is_bounded() {
    for most in [64 << 10, 512 << 10] {
        let limits = Limits {
            buffered_bytes_per_connection: most,
            ..Limits::default()
        };
        let mesh = Mesh::limited(limits, TCP);
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let told = std::sync::Mutex::new(told);
        Server::start(mesh.address(2, 8080), move |_, _client| {
            told.lock().unwrap().recv().unwrap_or_default()
        });
        let buyer = mesh.buyer();
        buyer
            .stream
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let some = vec![1; 1 << 20];
        while (&buyer.stream).write_all(&some).is_ok() {}
        std::thread::sleep(Duration::from_millis(100));
        let held = mesh.stats().buffered_bytes as usize;
        assert!(held > 0 && held <= most, "{held} of {most}");
        drop(buyer);
        drop(tell);
        mesh.until("nothing is held any more", |stats| stats.buffered_bytes == 0);
    }
}

#[test]
fn idle_upstream_connections_are_bounded() {
    let limits = Limits {
        idle_upstreams_per_pod: 2,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, &for_both());
    let answer = store_that_waits(&mesh);
    let mut clients = [mesh.buyer(), mesh.buyer(), mesh.buyer(), thief(&mesh)];
    for client in &mut clients {
        client.send(GET);
    }
    mesh.until("all have one", |stats| stats.upstream_connects == 4);
    (0..4).for_each(|_| answer.send(()).unwrap());
    for client in &mut clients {
        assert_eq!(client.response().status(), 200);
    }
    mesh.until("two of the buyer's are kept, and the thief's", |stats| {
        stats.upstream_idle == 3
    });
    assert_eq!(mesh.stats().upstream_evicted, 1);
    (0..2).for_each(|_| answer.send(()).unwrap());
    assert_eq!(mesh.buyer().get("/").status(), 200);
    assert_eq!(thief(&mesh).get("/").status(), 200);
    assert_eq!((mesh.stats().upstream_reuses, mesh.stats().upstream_retries), (2, 0));
}

#[test]
fn connections_that_nobody_accepts_in_time_are_counted() {
    let limits = Limits {
        backlog: 1,
        ..Limits::default()
    };
    let mesh = Mesh::limited(limits, HTTP);
    Server::web(mesh.address(2, 8080), "one");
    *mesh.table.stall.lock().unwrap() = Duration::from_millis(700);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(mesh.buyer().get("/").status(), 200, "later, but served"));
        }
    });
    mesh.until("it was counted", |stats| stats.accept_overflows > 0);
    assert_eq!(mesh.stats().over_limit, 0);
}

#[test]
fn refusals_that_nobody_reads_are_counted_as_lost_and_leave_room_for_those_of_others() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    for _ in 0..200 {
        assert_eq!(buyer.get("/secret").status(), 403);
    }
    let stats = mesh.stats();
    // Half of a queue of 64: the share of one pod.
    assert_eq!((stats.refused_request, stats.reports_lost), (200, 200 - 32));
    assert_eq!(mesh.connect("thief", mesh.store()).ended(), Ended::Reset);
    assert_eq!(mesh.stats().reports_lost, 200 - 32);
    let reported: Vec<_> = (0..33).map(|_| mesh.refusal().client.ip()).collect();
    assert!(reported[..32].iter().all(|ip| *ip == mesh.ip(1)), "{reported:?}");
    assert_eq!(reported[32], mesh.ip(4));
    assert_eq!(buyer.get("/secret").status(), 403);
    assert_eq!(mesh.refusal().client.ip(), mesh.ip(1), "what was read has made room");
}
