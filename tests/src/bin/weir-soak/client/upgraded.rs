//! HTTP/1.1 that becomes another protocol: the request is judged, and what follows goes on as long as it would be.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use weir_tests::http;

use super::{Me, Span, Worker, echo, wire};
use crate::clock;
use crate::event::{Ask, Kind, Outcome, Work};
use crate::rng::Rng;

const PATHS: &[&str] = &["/books", "/admin", "/bytes/ws", "/ctx"];

pub struct Upgraded {
    to: SocketAddr,
    rng: Rng,
    open: Option<Open>,
}

struct Open {
    reader: BufReader<TcpStream>,
    ask: Ask,
    server: String,
    fine: u64,
    left: u64,
}

impl Upgraded {
    pub fn new(work: &Work, rng: Rng) -> Upgraded {
        Upgraded {
            to: work.to,
            rng,
            open: None,
        }
    }

    fn first(&mut self, path: &str, ask: Ask) -> Result<Open, Outcome> {
        let refused = |error: std::io::Error| wire::before_an_answer(&error);
        let mut reader = BufReader::with_capacity(64 * 1024, wire::connect(self.to).map_err(refused)?);
        let head = format!("GET {path} HTTP/1.1\r\nhost: store\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
        reader.get_ref().write_all(head.as_bytes()).map_err(refused)?;
        let head = http::read_head(&mut reader).map_err(refused)?;
        let head = head.ok_or_else(|| Outcome::Refused("closed".into()))?;
        match head.start[1].as_str() {
            "101" if head.get("upgrade") == Some("echo") => {}
            "403" => return Err(Outcome::Refused("403".into())),
            other => return Err(Outcome::Failed(format!("{other} where 101 was asked for"))),
        }
        let mut open = Open {
            reader,
            ask,
            server: head.get("server").unwrap_or_default().to_string(),
            fine: clock::now(),
            left: 20 + self.rng.below(200),
        };
        echo::round(&mut self.rng, &mut open.reader)?;
        open.fine = clock::now();
        Ok(open)
    }
}

impl Worker for Upgraded {
    fn turn(&mut self, me: &Me) {
        let span = Span::from_now(self.open.as_ref().map(|open| open.fine));
        let held = self.open.as_ref().map(|open| open.server.clone());
        let (ask, result) = match self.open.take() {
            None => {
                let path = self.rng.of(PATHS);
                let ask = Ask::Http {
                    method: "GET".into(),
                    path: path.into(),
                    gold: false,
                };
                (ask.clone(), self.first(path, ask))
            }
            Some(mut open) => (
                open.ask.clone(),
                echo::round(&mut self.rng, &mut open.reader).map(|()| open),
            ),
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
        me.report_held(Kind::Upgraded, self.to, ask, held, span, outcome);
    }

    fn rest(&mut self) {
        self.open = None;
    }
}
