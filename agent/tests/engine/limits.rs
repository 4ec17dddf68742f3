//! Bounds, and what happens at each.

use std::time::{Duration, Instant};

use weir_agent::engine::{Config, Limits, Times};

use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Client, Ended, Server};

#[test]
fn a_connection_too_many_of_one_pod_is_reset_and_others_are_served() {
    let grant_thief = HTTP
        .replace("name: buyer", "name: thief")
        .replace("shopping", "stealing");
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
        &format!("{HTTP}---\n{grant_thief}"),
    );
    Server::web(mesh.address(2, 8080), "one");
    let mut kept: Vec<Client> = (0..3).map(|_| mesh.buyer()).collect();
    for buyer in &mut kept {
        assert_eq!(buyer.get("/").status(), 200);
    }
    assert_eq!(mesh.buyer().ended(), Ended::Reset);
    assert_eq!(mesh.stats().over_limit, 1);
    assert_eq!(mesh.notes(), 0, "what was noted of it is gone with it");
    assert_eq!(mesh.connect("thief", mesh.store()).get("/").status(), 200);
    kept.pop();
    eventually("a seat is free", || mesh.stats().open < 3);
    assert_eq!(mesh.buyer().get("/").status(), 200);
}

#[test]
fn a_head_that_does_not_end_is_a_408() {
    let times = Times {
        head: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::with(
        Config {
            cores: 1,
            times,
            ..Config::default()
        },
        HTTP,
    );
    let mut buyer = mesh.buyer();
    let begun = Instant::now();
    let mut sender = buyer.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        // A byte now and then does not buy more time.
        let head = b"GET / HTTP/1.1\r\nHost: store\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'a'));
        for byte in head {
            if std::io::Write::write_all(&mut sender, &[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    assert_eq!(buyer.response().status(), 408);
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_idle_connection_is_closed_in_order() {
    let times = Times {
        idle: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::with(
        Config {
            cores: 1,
            times,
            ..Config::default()
        },
        HTTP,
    );
    Server::web(mesh.address(2, 8080), "one");
    let mut buyer = mesh.buyer();
    assert_eq!(buyer.get("/").status(), 200);
    assert_eq!(buyer.ended(), Ended::Fin);
}

#[test]
fn a_relay_may_be_silent_for_longer_than_any_deadline() {
    let times = Times {
        idle: Duration::from_millis(50),
        head: Duration::from_millis(50),
        response: Duration::from_millis(50),
        connect: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::with(
        Config {
            cores: 1,
            times,
            ..Config::default()
        },
        TCP,
    );
    Server::start(mesh.address(2, 8080), |_, mut client| {
        client.exactly(1);
        client.exactly(1);
        client.send("x");
    });
    let mut buyer = mesh.buyer();
    buyer.send("\x01");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(buyer.send("2").exactly(1), b"x");
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

#[test]
fn thousands_of_connections_leave_nothing_behind() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    mesh.buyer().get("/");
    for _ in 0..3000 {
        let mut buyer = mesh.buyer();
        assert_eq!(buyer.get("/").status(), 200);
    }
    eventually("all are closed", || mesh.stats().open == 0);
    assert!(descriptors() < 2000, "{} descriptors are open", descriptors());
}
