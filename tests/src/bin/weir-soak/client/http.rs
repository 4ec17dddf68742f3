//! HTTP/1.1: kept, fresh and pipelined requests of all shapes, each with a number that its answer has to have.

use std::io::{self, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};

use weir_tests::http::{self, Framing, Head};
use weir_tests::pattern;
use weir_tests::protocol::Seen;

use super::{Me, Span, Worker, wire};
use crate::clock;
use crate::event::{Ask, Kind, Outcome, Work};
use crate::rng::Rng;

/// Lengths of bodies, both ways.
const SIZES: &[u64] = &[0, 1, 1000, 16 * 1024, 70_001, 300_000];
/// Paths without a body.
const PATHS: &[&str] = &["/books", "/books/7", "/admin", "/slow/20", "/ctx", "/status/204", "/"];

static NEXT: AtomicU64 = AtomicU64::new(1);

pub struct Http {
    kind: Kind,
    to: SocketAddr,
    rng: Rng,
    open: Option<Open>,
}

struct Open {
    reader: BufReader<TcpStream>,
    fine: u64,
    left: u64,
    /// Who answered last.
    server: Option<String>,
}

/// A request to be made.
struct Asked {
    id: u64,
    method: &'static str,
    path: String,
    gold: bool,
    body: Option<u64>,
    chunked: bool,
    expect: bool,
    close: bool,
}

/// What came back.
enum Back {
    /// The outcome, and whether the connection can be used again.
    Answer(Outcome, bool),
    /// Nothing, because the connection ended before.
    Nothing(io::Error),
}

impl Http {
    pub fn new(work: &Work, rng: Rng) -> Http {
        Http {
            kind: work.kind,
            to: work.to,
            rng,
            open: None,
        }
    }

    fn request(&mut self) -> Asked {
        let size = self.rng.of(SIZES);
        let (method, path, body) = match self.rng.below(8) {
            0 | 1 => ("GET", format!("/bytes/{size}"), None),
            2 => ("GET", format!("/chunked/{size}"), None),
            3 if self.kind != Kind::Pipelined => ("POST", "/upload".to_string(), Some(size)),
            4 => ("HEAD", self.rng.of(PATHS).to_string(), None),
            _ => ("GET", self.rng.of(PATHS).to_string(), None),
        };
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Asked {
            id,
            method,
            path: format!("{path}?id={id}"),
            gold: self.rng.once_in(3),
            body,
            chunked: body.is_some() && self.rng.once_in(2),
            expect: body.is_some() && self.rng.once_in(4),
            close: self.kind == Kind::Fresh && self.rng.once_in(2),
        }
    }

    fn open(&mut self) -> io::Result<(Open, Option<u64>)> {
        if let Some(open) = self.open.take()
            && !wire::is_stale(open.reader.get_ref())
        {
            let fine = open.fine;
            return Ok((open, Some(fine)));
        }
        let reader = BufReader::with_capacity(64 * 1024, wire::connect(self.to)?);
        let left = if self.kind == Kind::Fresh {
            1
        } else {
            5 + self.rng.below(60)
        };
        let fine = clock::now();
        let server = None;
        Ok((
            Open {
                reader,
                fine,
                left,
                server,
            },
            None,
        ))
    }
}

impl Worker for Http {
    fn turn(&mut self, me: &Me) {
        let count = if self.kind == Kind::Pipelined { 4 } else { 1 };
        let asked: Vec<Asked> = (0..count).map(|_| self.request()).collect();
        let begun = Span::from_now(None);
        let (mut open, since) = match self.open() {
            Ok(open) => open,
            Err(error) => {
                me.report(
                    self.kind,
                    self.to,
                    asked[0].policy(),
                    begun,
                    wire::before_an_answer(&error),
                );
                return;
            }
        };
        let span = Span {
            since: since.unwrap_or(begun.since),
            from: begun.from,
        };
        // What can't be sent may have been answered already: the answer is read in any case.
        let heads: String = asked.iter().map(|one| one.head(self.to)).collect();
        let sent = open.reader.get_ref().write_all(heads.as_bytes());
        let mut kept = true;
        let mut sound = true;
        for one in &asked {
            let outcome = match one.answer(&mut open.reader, me) {
                Back::Answer(outcome, keep) => {
                    kept = keep;
                    outcome
                }
                // Behind an answer that closes, nothing is said about the others.
                Back::Nothing(_) if !sound => break,
                Back::Nothing(error) => {
                    kept = false;
                    wire::before_an_answer(sent.as_ref().err().unwrap_or(&error))
                }
            };
            sound &= matches!(outcome, Outcome::Served(_));
            let held = open.server.clone();
            if let Outcome::Served(server) = &outcome {
                open.server = server.clone();
            }
            me.report_held(self.kind, self.to, one.policy(), held, span, outcome);
            if !kept {
                break;
            }
        }
        open.left = open.left.saturating_sub(count);
        open.fine = clock::now();
        if kept && open.left > 0 {
            self.open = Some(open);
        }
    }

    fn rest(&mut self) {
        self.open = None;
    }
}

impl Asked {
    fn policy(&self) -> Ask {
        Ask::Http {
            method: self.method.to_string(),
            path: self.path.clone(),
            gold: self.gold,
        }
    }

    fn head(&self, to: SocketAddr) -> String {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nhost: {to}\r\nx-id: {}\r\n",
            self.method, self.path, self.id
        );
        if self.gold {
            head += "x-tier: gold\r\n";
        }
        match self.body {
            Some(_) if self.chunked => head += "transfer-encoding: chunked\r\ntrailer: x-sum\r\n",
            Some(len) => head += &format!("content-length: {len}\r\n"),
            None => {}
        }
        if self.expect {
            head += "expect: 100-continue\r\n";
        }
        if self.close {
            head += "connection: close\r\n";
        }
        head + "\r\n"
    }

    fn answer(&self, reader: &mut BufReader<TcpStream>, me: &Me) -> Back {
        let mut sent = !self.expect && self.send_body(reader.get_ref()).is_ok();
        let head = loop {
            let head = match http::read_head(reader) {
                Ok(Some(head)) => head,
                Ok(None) => return Back::Nothing(ErrorKind::UnexpectedEof.into()),
                Err(error) => return Back::Nothing(error),
            };
            match head.start[1].as_str() {
                "100" if self.expect && !sent => sent = self.send_body(reader.get_ref()).is_ok(),
                status if status.len() == 3 && status.starts_with('1') => {}
                _ => break head,
            }
        };
        let bodyless = self.method == "HEAD" || matches!(head.start[1].as_str(), "204" | "304");
        let framing = match http::framing(&head, Framing::Close) {
            _ if bodyless => Framing::Empty,
            Ok(framing) => framing,
            Err(error) => return Back::Answer(Outcome::Torn(error.to_string()), false),
        };
        let body = match http::read_body(reader, framing, 64 * 1024) {
            Ok(body) => body,
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                return Back::Answer(Outcome::Torn(error.to_string()), false);
            }
            Err(error) => {
                let what = format!("in the body of a {}: {}", head.start[1], wire::text(&error));
                return Back::Answer(Outcome::Failed(what), false);
            }
        };
        // A body that was announced and not sent would be taken for the next request.
        let keep = !head.has("connection", "close") && framing != Framing::Close && (self.body.is_none() || sent);
        Back::Answer(self.outcome(&head, &body, me), keep)
    }

    fn send_body(&self, mut stream: &TcpStream) -> io::Result<()> {
        match self.body {
            Some(len) => http::write_pattern(&mut stream, len, self.chunked),
            None => Ok(()),
        }
    }

    fn outcome(&self, head: &Head, body: &http::Body, me: &Me) -> Outcome {
        match head.start[1].as_str() {
            "200" | "204" => {}
            "403" => return Outcome::Refused("403".into()),
            other => return Outcome::Failed(format!("{other} {}", String::from_utf8_lossy(&body.bytes).trim_end())),
        }
        match self.whole(head, body, me) {
            Ok(()) => Outcome::Served(head.get("server").map(str::to_string)),
            Err(what) => Outcome::Torn(what),
        }
    }

    /// Everything about the answer is as it has to be.
    fn whole(&self, head: &Head, body: &http::Body, me: &Me) -> Result<(), String> {
        let id = self.id.to_string();
        if head.get("x-id") != Some(&id) {
            return Err(format!("request {id} got the answer of {:?}", head.get("x-id")));
        }
        if self.method == "HEAD" || head.start[1] == "204" {
            return Ok(());
        }
        let path = self.path.split('?').next().unwrap_or_default();
        if let Some(len) = path.strip_prefix("/bytes/").or(path.strip_prefix("/chunked/")) {
            let wanted = pattern::sum(len.parse().unwrap_or(0));
            let same = body.sum == wanted;
            return if same {
                Ok(())
            } else {
                Err(format!("{:?} is not {wanted:?}", body.sum))
            };
        }
        let text = String::from_utf8_lossy(&body.bytes);
        let seen: Seen = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        let sent = pattern::sum(self.body.unwrap_or(0));
        let mine = seen.method == self.method && seen.path == self.path;
        if !mine || (self.body.is_some() && (seen.len, seen.sum) != (sent.len, sent.sum)) {
            return Err(format!("the server saw {text}"));
        }
        if !me.is_me(seen.peer) || !me.is_me(seen.accepted) {
            return Err(format!("the server saw {} and {}", seen.peer, seen.accepted));
        }
        Ok(())
    }
}
