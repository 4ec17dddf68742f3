//! TCP that stays open: what is sent has to come back, round by round.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use weir_tests::http;
use weir_tests::protocol::Seen;

use super::{Me, Span, Worker, wire};
use crate::clock;
use crate::event::{Ask, Kind, Outcome, Work};
use crate::rng::Rng;

/// The beginning of a ClientHello for `store.shop` (RFC 8446, section 4.1.2), as far as a relay looks.
const HELLO: &[u8] = &[
    0x16, 3, 1, 0, 0x40, 1, 0, 0, 0x3c, 3, 3, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 2, 0x13, 1, 1, 0, 0, 0x11, 0, 0, 0, 13, 0, 11, 0, 0, 8, b's', b't', b'o', b'r', b'e',
    b'.', b's', b'h',
];

pub struct Echo {
    kind: Kind,
    to: SocketAddr,
    rng: Rng,
    open: Option<Open>,
}

struct Open {
    reader: BufReader<TcpStream>,
    server: String,
    fine: u64,
    left: u64,
}

impl Echo {
    pub fn new(work: &Work, rng: Rng) -> Echo {
        Echo {
            kind: work.kind,
            to: work.to,
            rng,
            open: None,
        }
    }

    /// Opens and plays the first round. The server says its name first; the client does not wait for that, mostly.
    fn first(&mut self, me: &Me) -> Result<Open, Outcome> {
        let refused = |error: io::Error| wire::before_an_answer(&error);
        let stream = wire::connect(self.to).map_err(refused)?;
        let local = stream.local_addr().map_err(refused)?;
        let mut reader = BufReader::with_capacity(64 * 1024, stream);
        let bytes = match self.kind {
            Kind::Tls => HELLO.to_vec(),
            _ => vec![0, 1, 2, 3, 4, 5, 6, 7],
        };
        let waits = self.rng.once_in(6);
        if !waits {
            reader.get_ref().write_all(&bytes).map_err(refused)?;
        }
        let line = http::read_line(&mut reader).map_err(refused)?;
        if line.is_empty() {
            return Err(Outcome::Refused("closed".into()));
        }
        let seen: Seen = serde_json::from_str(&line).map_err(|error| Outcome::Torn(format!("{error}: {line:?}")))?;
        if !me.is_me(seen.peer) || seen.peer.port() != local.port() || seen.accepted != seen.peer {
            return Err(Outcome::Torn(format!(
                "{local} was seen as {} and {}",
                seen.peer, seen.accepted
            )));
        }
        if waits {
            reader.get_ref().write_all(&bytes).map_err(|error| cut(&error))?;
        }
        back(&mut reader, &bytes)?;
        Ok(Open {
            reader,
            server: seen.name,
            fine: clock::now(),
            left: 20 + self.rng.below(400),
        })
    }
}

/// Bytes that have to come back, as many and as random as may be.
pub fn round(rng: &mut Rng, reader: &mut BufReader<TcpStream>) -> Result<(), Outcome> {
    let most = if rng.once_in(10) { 20_000 } else { 200 };
    let len = 1 + rng.below(most);
    let seed = rng.next();
    let bytes: Vec<u8> = (0..len)
        .map(|at| (seed.rotate_left(at as u32 % 64) ^ at) as u8)
        .collect();
    reader.get_ref().write_all(&bytes).map_err(|error| cut(&error))?;
    back(reader, &bytes)
}

impl Worker for Echo {
    fn turn(&mut self, me: &Me) {
        let span = Span::from_now(self.open.as_ref().map(|open| open.fine));
        let held = self.open.as_ref().map(|open| open.server.clone());
        let result = match self.open.take() {
            None => self.first(me),
            Some(mut open) => round(&mut self.rng, &mut open.reader).map(|()| open),
        };
        let outcome = match result {
            Err(outcome) => outcome,
            Ok(mut open) => {
                let server = open.server.clone();
                (open.fine, open.left) = (clock::now(), open.left - 1);
                self.open = Some(open).filter(|open| open.left > 0);
                Outcome::Served(Some(server))
            }
        };
        me.report_held(self.kind, self.to, Ask::Bytes, held, span, outcome);
    }

    fn rest(&mut self) {
        self.open = None;
    }
}

/// Reads what was sent.
fn back(reader: &mut BufReader<TcpStream>, bytes: &[u8]) -> Result<(), Outcome> {
    let mut got = vec![0; bytes.len()];
    reader.read_exact(&mut got).map_err(|error| cut(&error))?;
    match got == bytes {
        true => Ok(()),
        false => Err(Outcome::Torn(format!("{} bytes came back changed", bytes.len()))),
    }
}

/// An end in the midst of it.
fn cut(error: &io::Error) -> Outcome {
    match wire::before_an_answer(error) {
        Outcome::Refused(how) => Outcome::Refused(format!("{how} while open")),
        other => other,
    }
}
