//! Many bytes one way, with a checksum. A part must never look like the whole.

use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr};

use weir_tests::http;
use weir_tests::pattern::{self, Sum};
use weir_tests::protocol::Stream;

use super::{Me, Span, Worker, wire};
use crate::event::{Ask, Kind, Outcome, Work};
use crate::rng::Rng;

/// How much, in bytes.
const SIZES: &[u64] = &[1, 100_000, 1 << 20, 4 << 20];

pub struct Transfer {
    kind: Kind,
    to: SocketAddr,
    rng: Rng,
}

impl Transfer {
    pub fn new(work: &Work, rng: Rng) -> Transfer {
        Transfer {
            kind: work.kind,
            to: work.to,
            rng,
        }
    }

    fn up(&self, len: u64) -> Result<(), Outcome> {
        let error = |error: std::io::Error| wire::before_an_answer(&error);
        let mut stream = wire::connect(self.to).map_err(error)?;
        http::write_pattern(&mut stream, len, false).map_err(error)?;
        stream.shutdown(Shutdown::Write).map_err(error)?;
        let line = http::read_line(&mut BufReader::new(stream)).map_err(error)?;
        if line.is_empty() {
            return Err(Outcome::Refused("closed".into()));
        }
        let got: Stream = serde_json::from_str(&line).map_err(|error| Outcome::Torn(format!("{error}: {line:?}")))?;
        let sent = pattern::sum(len);
        match (got.len, got.sum) == (sent.len, sent.sum) {
            true => Ok(()),
            false => Err(Outcome::Torn(format!("{sent:?} arrived as {got:?}"))),
        }
    }

    fn down(&self, len: u64) -> Result<(), Outcome> {
        let error = |error: std::io::Error| wire::before_an_answer(&error);
        let mut stream = wire::connect(self.to).map_err(error)?;
        stream.write_all(format!("{len}\n").as_bytes()).map_err(error)?;
        let (mut sum, mut buffer) = (Sum::default(), vec![0; 64 * 1024]);
        loop {
            match stream.read(&mut buffer).map_err(error)? {
                0 => break,
                size => sum.add(&buffer[..size]),
            }
        }
        match (sum == pattern::sum(len), sum.len) {
            (true, _) => Ok(()),
            (false, 0) => Err(Outcome::Refused("closed".into())),
            (false, got) if got < len => Err(Outcome::Cut(format!("{got} of {len} bytes and an orderly end"))),
            (false, _) => Err(Outcome::Torn(format!("{len} bytes arrived changed: {sum:?}"))),
        }
    }
}

impl Worker for Transfer {
    fn turn(&mut self, me: &Me) {
        let len = self.rng.of(SIZES);
        let span = Span::from_now(None);
        let result = match self.kind {
            Kind::Up => self.up(len),
            _ => self.down(len),
        };
        let outcome = result.map_or_else(|outcome| outcome, |()| Outcome::Served(None));
        me.report(self.kind, self.to, Ask::Bytes, span, outcome);
    }

    fn rest(&mut self) {}
}
