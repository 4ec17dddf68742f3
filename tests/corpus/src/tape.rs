//! Sockets for runners: a server that records bytes and answers as it is told, and a client that sends and listens.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::{OK, PROBE, PROBED, complete_requests};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ended {
    /// In order.
    Fin,
    /// With a reset.
    Reset,
}

/// What a server is to do with the next request.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Script {
    /// Its answer; what comes after that gets [`OK`].
    pub answer: Vec<u8>,
    /// Close behind it.
    pub closes: bool,
    /// Send it in small pieces.
    pub slowly: bool,
}

/// What a server has got.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Got {
    /// The bytes, in order, with the number of their connection.
    pub bytes: Vec<(usize, Vec<u8>)>,
    /// How connections ended that have.
    pub ended: BTreeMap<usize, Ended>,
}

/// The server's tape, shared by the threads of its connections.
#[derive(Default)]
pub struct Tape(Mutex<(Option<Script>, Got)>);

impl Tape {
    /// Begins anew.
    pub fn script(&self, script: Script) {
        *self.lock() = (Some(script), Got::default());
    }

    /// What has come so far.
    pub fn got(&self) -> Got {
        self.lock().1.clone()
    }

    /// Serves a connection: records what comes, answers each request that is whole. [`PROBE`] gets [`PROBED`].
    pub fn serve(&self, number: usize, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (mut pending, mut space) = (Vec::new(), vec![0; 65536]);
        let ended = loop {
            let read = match stream.read(&mut space) {
                Ok(0) => break Ended::Fin,
                Ok(read) => &space[..read],
                Err(_) => break Ended::Reset,
            };
            pending.extend_from_slice(read);
            self.lock().1.bytes.push((number, read.to_vec()));
            for length in complete_requests(&pending) {
                let request: Vec<u8> = pending.drain(..length).collect();
                let plain = |answer: &[u8]| Script {
                    answer: answer.to_vec(),
                    ..Script::default()
                };
                let script = match request == PROBE {
                    true => plain(PROBED),
                    false => self.lock().0.take().unwrap_or_else(|| plain(OK)),
                };
                answer(&mut stream, &script);
                if script.closes {
                    return;
                }
            }
        };
        self.lock().1.ended.insert(number, ended);
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Script>, Got)> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn answer(stream: &mut TcpStream, script: &Script) {
    let parts = if script.slowly { 400 } else { 1 };
    for piece in script.answer.chunks(script.answer.len().div_ceil(parts).max(1)) {
        // The mesh may hang up in the middle of a bad answer.
        if stream.write_all(piece).is_err() {
            return;
        }
        if script.slowly && piece.ends_with(b"\n") {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// What a client got, and how its connection ended; `None`: it is open.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Heard {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// The end, if there was one in time.
    pub ended: Option<Ended>,
}

/// Sends in so many pieces, then listens until the end, the answer to [`PROBE`], or for so long.
pub fn talk(stream: &mut TcpStream, wire: &[u8], pieces: usize, limit: Duration) -> Heard {
    let _ = stream.set_nodelay(true);
    for piece in wire.chunks(wire.len().div_ceil(pieces).max(1)) {
        // An end in the middle is looked at below.
        if stream.write_all(piece).is_err() {
            break;
        }
    }
    let (mut bytes, mut space) = (Vec::new(), vec![0; 65536]);
    let begun = Instant::now();
    while !bytes.ends_with(PROBED) {
        let left = limit.saturating_sub(begun.elapsed()).max(Duration::from_millis(1));
        let _ = stream.set_read_timeout(Some(left));
        let ended = match stream.read(&mut space) {
            Ok(0) => Some(Ended::Fin),
            Ok(read) => {
                bytes.extend_from_slice(&space[..read]);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(_) => Some(Ended::Reset),
        };
        return Heard { bytes, ended };
    }
    Heard { bytes, ended: None }
}
