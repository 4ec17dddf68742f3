//! The engine without descriptors: it refuses, counts and recovers. In a process of its own, because the limit is one
//! of the process.

#![allow(dead_code, reason = "the harness is shared with the engine's tests")]

#[path = "../engine/mesh.rs"]
mod mesh;
#[path = "../engine/peer.rs"]
mod peer;

use std::fs::File;
use std::time::Duration;

use mesh::{HTTP, Mesh};
use peer::Server;

#[test]
fn accepting_pauses_without_descriptors_and_goes_on_with_them() {
    let mesh = Mesh::new(HTTP);
    Server::web(mesh.address(2, 8080), "one");
    assert_eq!(mesh.buyer().get("/").status(), 200);
    let mut all: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok())
        .take(1_000_000)
        .collect();
    // Room for the client's own socket only.
    all.pop();
    let mut buyer = mesh.buyer();
    let failed = || mesh.stats().accept_errors;
    mesh.until("accept has failed", |stats| stats.accept_errors > 0);
    let before = failed();
    std::thread::sleep(Duration::from_secs(1));
    let often = failed() - before;
    assert!(
        (5..=12).contains(&often),
        "{often} attempts in a second: it spins, or has given up"
    );
    drop(all);
    assert_eq!(buyer.get("/").status(), 200);
}
