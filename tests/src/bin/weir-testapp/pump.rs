//! A connection that is always busy: eight bytes out, eight bytes back. Its gaps show what an application would feel.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use weir_tests::protocol::Pumped;

use crate::dial::errno;

struct State {
    pumped: Pumped,
    last: Instant,
}

/// A running pump; it ends with its connection.
pub struct Pump(Arc<Mutex<State>>);

impl Pump {
    /// Starts on a connection to a server that echoes.
    pub fn start(mut stream: TcpStream) -> Pump {
        let state = Arc::new(Mutex::new(State {
            pumped: Pumped::default(),
            last: Instant::now(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let mut number: u64 = 0;
            let ended = loop {
                number += 1;
                if let Err(error) = round(&mut stream, number) {
                    break if error.kind() == io::ErrorKind::UnexpectedEof {
                        -1
                    } else {
                        errno(&error)
                    };
                }
                let mut state = shared.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                let took = state.last.elapsed().as_secs_f64() * 1000.0;
                state.last = Instant::now();
                state.pumped.rounds = number;
                state.pumped.longest_ms = state.pumped.longest_ms.max(took);
                drop(state);
                thread::sleep(std::time::Duration::from_millis(1));
            };
            shared
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .pumped
                .ended = ended;
        });
        Pump(state)
    }

    /// What happened so far.
    pub fn state(&self) -> Pumped {
        let state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Pumped {
            idle_ms: state.last.elapsed().as_secs_f64() * 1000.0,
            ..state.pumped.clone()
        }
    }
}

fn round(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    stream.write_all(&number.to_be_bytes())?;
    let mut back = [0; 8];
    stream.read_exact(&mut back)?;
    match u64::from_be_bytes(back) == number {
        true => Ok(()),
        false => Err(io::Error::from_raw_os_error(libc::EBADMSG)),
    }
}
