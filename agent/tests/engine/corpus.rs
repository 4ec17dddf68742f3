//! The corpus of doubtful HTTP/1.1 over sockets: a server that records bytes, a client that sends them.

use std::sync::Arc;
use std::time::Duration;

use weir_corpus::tape::{Got, Heard, Script, Tape, talk};
use weir_corpus::{Ends, check};

use crate::mesh::Mesh;
use crate::peer::Server;

/// Anything but `/s…`, for the buyer; and a port whose name says that it is HTTP.
const OPEN: &str = include_str!("corpus.yaml");

struct Loopback {
    mesh: Mesh,
    tape: Arc<Tape>,
}

impl Ends for Loopback {
    fn script(&mut self, script: Script) {
        self.tape.script(script);
    }

    fn talk(&mut self, wire: &[u8], pieces: usize, limit: Duration) -> Heard {
        talk(&mut self.mesh.buyer().stream, wire, pieces, limit)
    }

    fn got(&mut self) -> Got {
        self.tape.got()
    }

    fn is_one_core(&self) -> bool {
        self.mesh.config.cores == 1
    }
}

fn every_case(pieces: bool) {
    let mesh = Mesh::new(OPEN);
    let tape = Arc::new(Tape::default());
    let shared = tape.clone();
    Server::start(mesh.address(2, 8080), move |number, client| {
        client.stream.set_read_timeout(None).unwrap();
        shared.serve(number, client.stream);
    });
    let mut ends = Loopback { mesh, tape };
    let cases = weir_corpus::all();
    let mut wrong = Vec::new();
    for case in &cases {
        if let Err(error) = check(case, pieces, &mut ends) {
            wrong.push(format!("{}: {error}", case.name));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn every_case_of_the_corpus_comes_out_right_over_sockets() {
    every_case(false);
}

#[test]
fn every_case_of_the_corpus_comes_out_right_in_pieces() {
    every_case(true);
}
