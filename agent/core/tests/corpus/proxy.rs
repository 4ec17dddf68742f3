//! One client connection through the codec, as the engine drives it, without sockets.
//!
//! The policy is the corpus's: a path that begins with `/secret` is a 403. A server's connection is a byte string.

use weir_core::http1::{
    Body, BodyMode, Downstream, Limits, MAX_INTERIM, Upstream, Version, parse_request, parse_response, refusal,
    write_request, write_response,
};

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Close,
    Reset,
    Wait,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    head: bool,
    version: Version,
    keep_alive: bool,
}

enum State {
    /// Between two requests, or inside a head.
    Head,
    /// A request is on its way to the server.
    Up(Asked, Body),
    /// All of it has arrived.
    Answer(Asked),
    /// A refused request's body is dropped.
    Drop(Body),
    Closed(Then),
}

/// The connection.
pub struct Proxy {
    state: State,
    input: Vec<u8>,
    /// What the servers got.
    pub gets: Vec<u8>,
    /// What the client got.
    pub receives: Vec<u8>,
    /// Final statuses so far.
    pub statuses: Vec<u16>,
    /// The server's connection can be used again.
    pub reusable: bool,
}

impl Proxy {
    pub fn new() -> Proxy {
        Proxy {
            state: State::Head,
            input: Vec::new(),
            gets: Vec::new(),
            receives: Vec::new(),
            statuses: Vec::new(),
            reusable: true,
        }
    }

    /// Bytes from the client. Ends early where an answer of the server is wanted: give it, then feed nothing to go on.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        // What is at hand of a body is judged before anything of it is sent.
        let mut pending = Vec::new();
        while self.step(&mut pending) {}
        self.gets.append(&mut pending);
    }

    pub fn wants_answer(&self) -> bool {
        matches!(self.state, State::Answer(_))
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    pub fn then(&self) -> Then {
        match self.state {
            State::Closed(then) => then,
            State::Head if self.input.is_empty() => Then::Keep,
            _ => Then::Wait,
        }
    }

    fn step(&mut self, pending: &mut Vec<u8>) -> bool {
        match std::mem::replace(&mut self.state, State::Head) {
            State::Head if self.input.is_empty() => false,
            State::Head => self.head(pending),
            State::Up(asked, mut body) => match drive(&mut body, &mut self.input, pending) {
                Err(()) => {
                    pending.clear();
                    self.refuse(400, "malformed body");
                    false
                }
                Ok(true) => {
                    self.state = State::Answer(asked);
                    false
                }
                Ok(false) => {
                    self.state = State::Up(asked, body);
                    false
                }
            },
            State::Drop(mut body) => match drive(&mut body, &mut self.input, &mut Vec::new()) {
                Err(()) => {
                    self.state = State::Closed(Then::Close);
                    false
                }
                Ok(true) => true,
                Ok(false) => {
                    self.state = State::Drop(body);
                    false
                }
            },
            other => {
                self.state = other;
                false
            }
        }
    }

    fn head(&mut self, pending: &mut Vec<u8>) -> bool {
        let limits = Limits::default();
        let input = std::mem::take(&mut self.input);
        let head = match parse_request(&input, &limits) {
            Ok(Some(head)) => head,
            Ok(None) => {
                self.input = input;
                return false;
            }
            Err(error) => {
                self.refuse(error.status, error.reason);
                return false;
            }
        };
        let body = Body::new(head.framing, BodyMode::Wire, &limits);
        let asked = Asked {
            head: head.is_head(),
            version: head.version,
            keep_alive: head.keep_alive,
        };
        if head.path.starts_with(b"/secret") {
            let keep = head.keep_alive && head.version == Version::Http11 && !head.expect_continue;
            refusal(403, "no rule", !keep, head.is_head(), &mut self.receives);
            self.statuses.push(403);
            self.state = if keep {
                State::Drop(body)
            } else {
                State::Closed(Then::Close)
            };
        } else {
            let upstream = Upstream {
                authority: b"10.0.0.100:80",
                close: false,
            };
            write_request(&head, upstream, pending);
            self.state = State::Up(asked, body);
        }
        self.input = input[head.head_len..].to_vec();
        true
    }

    fn refuse(&mut self, status: u16, reason: &str) {
        refusal(status, reason, true, false, &mut self.receives);
        self.statuses.push(status);
        self.state = State::Closed(Then::Close);
    }

    /// What the server says to the request that is whole, in pieces that end at `cuts`.
    pub fn answer(&mut self, wire: &[u8], cuts: &[usize], closes: bool) {
        let State::Answer(asked) = self.state else {
            panic!("no answer is wanted");
        };
        match self.relay(asked, wire, cuts, closes) {
            Ok((status, keeps)) => {
                self.statuses.push(status);
                self.state = if keeps { State::Head } else { State::Closed(Then::Close) };
            }
            Err(true) => {
                self.reusable = false;
                let keep = asked.keep_alive && asked.version == Version::Http11;
                refusal(502, "bad response", !keep, asked.head, &mut self.receives);
                self.statuses.push(502);
                self.state = if keep { State::Head } else { State::Closed(Then::Close) };
            }
            Err(false) => {
                self.reusable = false;
                self.state = State::Closed(Then::Reset);
            }
        }
    }

    /// The status and whether the client's connection stays; or whether the client can still be told of a fault.
    fn relay(&mut self, asked: Asked, wire: &[u8], cuts: &[usize], closes: bool) -> Result<(u16, bool), bool> {
        let limits = Limits::default();
        let mut ends = cuts.iter().copied().chain([wire.len()]);
        let (mut start, mut end) = (0, ends.next().unwrap_or_default());
        let mut interim = 0;
        let (status, sent, mut body) = loop {
            let Some(head) = parse_response(&wire[start..end], asked.head, &limits).map_err(|_| true)? else {
                match ends.next() {
                    Some(next) => end = next,
                    // The rest never comes: a server that stays is waited for, and one that goes is a fault.
                    None => return Err(true),
                }
                continue;
            };
            start += head.head_len;
            let downstream = Downstream {
                version: asked.version,
                keep_alive: asked.keep_alive,
            };
            let mut out = Vec::new();
            let sent = write_response(&head, downstream, &mut out);
            if !head.is_interim() {
                self.reusable = head.keep_alive;
                break (head.status, (out, sent), Body::new(head.framing, sent.body, &limits));
            }
            interim += 1;
            if interim > MAX_INTERIM {
                return Err(true);
            }
            if asked.version == Version::Http11 {
                self.receives.append(&mut out);
            }
        };
        let (mut out, sent) = sent;
        let mut first = true;
        loop {
            let mut input = wire[start..end].to_vec();
            let before = input.len();
            let done = drive(&mut body, &mut input, &mut out).map_err(|()| first)?;
            first = false;
            start += before - input.len();
            self.receives.append(&mut out);
            if done {
                break;
            }
            match ends.next() {
                Some(next) => end = next,
                None if closes => {
                    body.close().map_err(|_| false)?;
                    break;
                }
                None => return Err(false),
            }
        }
        self.reusable &= start == wire.len() && !closes;
        Ok((status, sent.keep_alive))
    }
}

/// Moves what is at hand of a body. True once it has ended.
fn drive(body: &mut Body, input: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<bool, ()> {
    loop {
        let step = body.advance(input).map_err(|_| ())?;
        out.extend_from_slice(&input[step.skip..step.consumed()]);
        input.drain(..step.consumed());
        if body.is_done() || step.consumed() == 0 {
            return Ok(body.is_done());
        }
    }
}
