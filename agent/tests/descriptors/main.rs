//! The engine without descriptors: it refuses at once, counts and recovers. In a process of its own, because the limit
//! is one of the process.

#![allow(dead_code, reason = "the harness is shared with the engine's tests")]

#[path = "../engine/mesh.rs"]
mod mesh;
#[path = "../engine/peer.rs"]
mod peer;

use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mesh::{HTTP, Mesh};
use peer::{Ended, Server};

/// All descriptors of the process but a few. The tests take them in turn.
struct Pressure {
    files: Vec<File>,
    _alone: MutexGuard<'static, ()>,
}

impl Pressure {
    fn none() -> Pressure {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        limit(500);
        // What the test before has left closes by and by.
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let mut before = 0;
        while before != open() {
            before = open();
            std::thread::sleep(Duration::from_millis(200));
        }
        Pressure {
            files: Vec::new(),
            _alone: alone,
        }
    }

    /// Takes all but `left`.
    fn rise(&mut self, left: usize) {
        self.files.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
        self.files.truncate(self.files.len() - left);
    }
}

/// Descriptors have numbers below this from now on.
fn limit(files: u64) {
    let limit = libc::rlimit {
        rlim_cur: files,
        rlim_max: 500,
    };
    // SAFETY: `limit` lives until the call returns.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
}

/// Time on the processor of the whole process.
fn busy() -> Duration {
    // SAFETY: all zeroes is a rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` lives until the call returns.
    assert_eq!(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }, 0);
    let time = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

#[test]
fn connections_are_refused_at_once_without_descriptors_and_served_with_them() {
    let mut pressure = Pressure::none();
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    // Room for the client's own socket only.
    pressure.rise(1);
    for refused in 1..=20 {
        let begun = Instant::now();
        assert_eq!(mesh.buyer().ended(), Ended::Reset);
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "the refusal of connection {refused} took long"
        );
    }
    assert_eq!(mesh.stats().refused_no_descriptors, 20);
    assert_eq!(mesh.notes(), 0, "what was noted of them is gone with them");
    let before = (busy(), mesh.stats().no_descriptors);
    std::thread::sleep(Duration::from_secs(1));
    assert!(busy() - before.0 < Duration::from_millis(200), "it spins");
    assert_eq!(mesh.stats().no_descriptors, before.1, "it tries on and on");
    pressure.files.clear();
    assert_eq!(mesh.buyer().get("/").status(), 200);
}

#[test]
fn a_request_that_no_descriptor_is_left_for_is_a_503_that_says_so() {
    let mut pressure = Pressure::none();
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    // For the client's socket, and for the engine's side of it.
    pressure.rise(2);
    let mut buyer = mesh.buyer();
    let answer = buyer.get("/");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("out of file descriptors"), "{}", answer.text());
    assert_eq!(mesh.stats().refused_no_descriptors, 1);
    pressure.files.clear();
    assert_eq!(buyer.get("/").status(), 200, "on the same connection");
}

#[test]
fn idle_upstream_connections_give_their_descriptors_back_first() {
    let mut pressure = Pressure::none();
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    let mut first = mesh.buyer();
    assert_eq!(first.get("/").status(), 200);
    pressure.rise(1);
    let mut second = mesh.buyer();
    mesh.until("the second one is in", |stats| stats.open == 2);
    assert_eq!(
        (mesh.stats().upstream_evicted, mesh.stats().refused_no_descriptors),
        (1, 0)
    );
    pressure.files.clear();
    assert_eq!(second.get("/").status(), 200);
    assert_eq!(first.get("/").status(), 200);
}

#[test]
fn a_pause_ends_when_even_the_spare_descriptor_is_gone() {
    let mut pressure = Pressure::none();
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    pressure.rise(1);
    assert_eq!(mesh.buyer().ended(), Ended::Reset);
    // The spare one is of no use where its number is not allowed any more.
    let mut buyer = mesh.buyer_after(|| limit(3));
    mesh.until("accept has failed", |stats| stats.accept_errors > 0);
    let before = mesh.stats().accept_errors;
    std::thread::sleep(Duration::from_secs(1));
    let often = mesh.stats().accept_errors - before;
    assert!(
        (5..=12).contains(&often),
        "{often} attempts in a second: it spins, or has given up"
    );
    limit(500);
    pressure.files.clear();
    assert_eq!(buyer.get("/").status(), 200);
}
