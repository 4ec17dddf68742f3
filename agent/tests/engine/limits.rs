//! How long anything may take, and what is left behind.

use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use weir_agent::engine::Times;

use crate::mesh::{HTTP, Mesh, TCP, eventually};
use crate::peer::{Ended, Server};

#[test]
fn a_head_that_does_not_end_is_a_408() {
    let times = Times {
        head: Duration::from_millis(200),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, HTTP);
    let mut buyer = mesh.buyer();
    let begun = Instant::now();
    let mut sender = buyer.stream.try_clone().unwrap();
    std::thread::spawn(move || {
        // A byte now and then does not buy more time.
        let head = b"GET / HTTP/1.1\r\nHost: store\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'a'));
        for byte in head {
            if sender.write_all(&[*byte]).is_err() {
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
    let mesh = Mesh::timed(times, HTTP);
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
    let mesh = Mesh::timed(times, TCP);
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

#[test]
fn a_client_that_never_reads_is_ended() {
    let times = Times {
        response: Duration::from_millis(300),
        ..Times::default()
    };
    let mesh = Mesh::timed(times, HTTP);
    let (tell, told) = std::sync::mpsc::channel();
    Server::start(mesh.address(2, 8080), move |_, mut client| {
        client.request();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n");
        let some = vec![0; 1 << 20];
        let failed = (0..1000).find_map(|_| client.stream.write_all(&some).err());
        tell.send(failed.map(|error| error.kind())).unwrap();
    });
    let mut buyer = mesh.buyer();
    buyer.send("GET / HTTP/1.1\r\nHost: store\r\n\r\n");
    let failed = told.recv_timeout(Duration::from_secs(8)).unwrap();
    assert!(
        matches!(failed, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)),
        "{failed:?}"
    );
    mesh.until("its seat is free", |stats| stats.open == 0 && stats.buffered_bytes == 0);
}
