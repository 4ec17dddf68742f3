//! What a peer's frames cost us, and what it has left to spend.
//!
//! Bias: work that moves something is free, work that moves nothing is rationed. The h2 library bounds memory by itself;
//! what it does not bound is the rate of frames that it answers or ignores one by one (PING, SETTINGS, PRIORITY,
//! WINDOW_UPDATE, empty DATA, unknown types, resets). Looking at the nine bytes in front of each frame on its way into
//! the library costs a few comparisons per frame. Whoever spends more than it has is told ENHANCE_YOUR_CALM.
//!
//! Every frame of data or headers that we send earns its receiver allowance: it may have to answer with a
//! WINDOW_UPDATE and a PING (gRPC libraries measure the bandwidth that way).

use std::cell::Cell;
use std::rc::Rc;

use super::super::settings::Http2;
use super::super::turns::BYTES;

/// Bytes of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;

/// `PRI * HTTP/2.0…`, which only clients send.
pub(super) const PREFACE: usize = 24;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Why a peer is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Too many frames that move nothing.
    Control,
    /// Too many streams reset.
    Resets,
    /// Its first frame is not SETTINGS (RFC 9113 section 3.4): it may not speak HTTP/2 at all.
    NotHttp2,
}

/// One connection's account. Owned by its task and read by its byte stream.
#[derive(Debug)]
pub(super) struct Gauge {
    clock: Rc<Cell<u64>>,
    most: [u32; 2],
    per_second: [u32; 2],
    left: [Cell<u32>; 2],
    filled_at: Cell<u64>,
    settled: Cell<bool>,
    block_since: Cell<Option<u64>>,
    excess: Cell<Option<Excess>>,
    turn: Cell<usize>,
    blocked: Cell<bool>,
    /// The peer is a server: it may reset each stream that we open.
    server: bool,
}

/// What a frame costs of a turn besides its bytes, and what a request does: so many less than
/// [`BYTES`](super::super::turns::BYTES) are read in this turn.
const FRAME: usize = 256;
const REQUEST: usize = 16 * 1024;

impl Gauge {
    /// A full account. `clock` is the core's, in milliseconds.
    pub fn new(clock: Rc<Cell<u64>>, limits: &Http2) -> Gauge {
        let most = [limits.idle_frames, limits.resets];
        Gauge {
            filled_at: Cell::new(clock.get()),
            clock,
            most,
            per_second: [limits.idle_frames_per_second, limits.resets_per_second],
            left: most.map(Cell::new),
            settled: Cell::new(false),
            block_since: Cell::new(None),
            excess: Cell::new(None),
            turn: Cell::new(BYTES),
            blocked: Cell::new(false),
            server: false,
        }
    }

    /// The same for a server, which earns a reset by each request: many libraries reset what they have answered early.
    pub fn of_server(clock: Rc<Cell<u64>>, limits: &Http2) -> Gauge {
        Gauge {
            server: true,
            ..Gauge::new(clock, limits)
        }
    }

    /// What it has done wrong.
    pub fn excess(&self) -> Option<Excess> {
        self.excess.get()
    }

    /// Its SETTINGS have come.
    pub fn is_settled(&self) -> bool {
        self.settled.get()
    }

    /// Since when it owes the rest of a header block, in milliseconds of the clock.
    pub fn block_since(&self) -> Option<u64> {
        self.block_since.get()
    }

    /// A turn of the connection begins.
    pub fn begin_turn(&self) {
        self.turn.set(BYTES);
    }

    /// No more is read in this turn.
    pub fn is_turn_over(&self) -> bool {
        self.turn.get() == 0
    }

    /// The peer does not take what is to be written to it.
    pub fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// Notes whether the peer has taken what was last written.
    pub fn block(&self, blocked: bool) {
        self.blocked.set(blocked);
    }

    /// A frame has come from the peer.
    fn came(&self, head: Head) {
        let cost = head.length + if head.kind == HEADERS { REQUEST } else { FRAME };
        self.turn.set(self.turn.get().saturating_sub(cost));
        if !self.settled.get() {
            let settings = head.kind == SETTINGS && head.flags & ACK == 0;
            return match settings {
                true => self.settled.set(true),
                false => self.excess.set(Some(Excess::NotHttp2)),
            };
        }
        match head.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => {
                let open = head.flags & END_HEADERS == 0;
                let since = self.block_since.get().unwrap_or_else(|| self.clock.get());
                self.block_since.set(open.then_some(since));
                if head.kind == CONTINUATION {
                    self.spend(0, Excess::Control);
                }
            }
            DATA if head.length > 0 || head.flags & END_STREAM != 0 => {}
            RST_STREAM => self.spend(1, Excess::Resets),
            _ => self.spend(0, Excess::Control),
        }
    }

    /// A frame has gone to the peer.
    fn went(&self, head: Head) {
        if matches!(head.kind, DATA | HEADERS) {
            let left = self.left[0].get().saturating_add(2);
            self.left[0].set(left.min(self.most[0]));
        }
        if self.server && head.kind == HEADERS {
            let left = self.left[1].get().saturating_add(1);
            self.left[1].set(left.min(self.most[1]));
        }
    }

    fn spend(&self, which: usize, excess: Excess) {
        self.fill();
        match self.left.get(which).map(|left| (left, left.get())) {
            Some((left, some @ 1..)) => left.set(some - 1),
            _ => self.excess.set(Some(excess)),
        }
    }

    fn fill(&self) {
        let passed = self.clock.get().saturating_sub(self.filled_at.get());
        if passed < 50 {
            return;
        }
        self.filled_at.set(self.clock.get());
        for ((left, most), rate) in self.left.iter().zip(self.most).zip(self.per_second) {
            let more = u64::from(rate).saturating_mul(passed) / 1000;
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            left.set(left.get().saturating_add(more).min(most));
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Head {
    length: usize,
    kind: u8,
    flags: u8,
}

/// Finds the frames in one direction of a connection.
#[derive(Debug)]
pub(super) struct Scanner {
    head: [u8; HEAD],
    have: usize,
    skip: usize,
}

impl Scanner {
    /// At the first byte of a connection; `preface` bytes come before the first frame.
    pub fn new(preface: usize) -> Scanner {
        Scanner {
            head: [0; HEAD],
            have: 0,
            skip: preface,
        }
    }

    /// Looks at bytes that have come from the peer.
    pub fn came(&mut self, bytes: &[u8], gauge: &Gauge) {
        self.scan(bytes, |head| gauge.came(head));
    }

    /// Looks at bytes that have gone to the peer.
    pub fn went(&mut self, bytes: &[u8], gauge: &Gauge) {
        self.scan(bytes, |head| gauge.went(head));
    }

    fn scan(&mut self, mut bytes: &[u8], mut see: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let taken = (HEAD - self.have).min(bytes.len());
            let (part, rest) = bytes.split_at_checked(taken).unwrap_or_default();
            if let Some(room) = self.head.get_mut(self.have..self.have + taken) {
                room.copy_from_slice(part);
            }
            self.have += taken;
            bytes = rest;
            if self.have == HEAD {
                let [a, b, c, kind, flags, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                (self.have, self.skip) = (0, length);
                see(Head { length, kind, flags });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gauge(clock: &Rc<Cell<u64>>) -> Gauge {
        let limits = Http2 {
            idle_frames: 3,
            idle_frames_per_second: 10,
            resets: 2,
            resets_per_second: 1,
            ..Http2::default()
        };
        Gauge::new(clock.clone(), &limits)
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    fn settled(clock: &Rc<Cell<u64>>) -> (Gauge, Scanner) {
        let (gauge, mut scanner) = (gauge(clock), Scanner::new(PREFACE));
        scanner.came(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &gauge);
        scanner.came(&frame(SETTINGS, 0, &[0; 6]), &gauge);
        assert!(gauge.is_settled());
        (gauge, scanner)
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(frame(SETTINGS, 0, &[0; 12]));
        for _ in 0..4 {
            bytes.extend(frame(6, 0, &[0; 8]));
        }
        for size in 1..bytes.len() {
            let clock = Rc::new(Cell::new(0));
            let (gauge, mut scanner) = (gauge(&clock), Scanner::new(PREFACE));
            let last = bytes.len() - 17;
            bytes[..last].chunks(size).for_each(|piece| scanner.came(piece, &gauge));
            assert_eq!(gauge.excess(), None, "{size}");
            bytes[last..].chunks(size).for_each(|piece| scanner.came(piece, &gauge));
            assert_eq!(gauge.excess(), Some(Excess::Control), "{size}");
        }
    }

    #[test]
    fn time_and_answers_earn_allowance() {
        let clock = Rc::new(Cell::new(0));
        let (gauge, mut scanner) = settled(&clock);
        let ping = frame(6, 0, &[0; 8]);
        (0..3).for_each(|_| scanner.came(&ping, &gauge));
        clock.set(100);
        scanner.came(&ping, &gauge);
        Scanner::new(0).went(&frame(DATA, 0, b"x"), &gauge);
        (0..2).for_each(|_| scanner.came(&ping, &gauge));
        assert_eq!(gauge.excess(), None);
        Scanner::new(0).went(&frame(6, ACK, &[0; 8]), &gauge);
        scanner.came(&ping, &gauge);
        assert_eq!(gauge.excess(), Some(Excess::Control));
    }

    #[test]
    fn resets_have_an_account_of_their_own_and_data_costs_nothing() {
        let clock = Rc::new(Cell::new(0));
        let (gauge, mut scanner) = settled(&clock);
        (0..100).for_each(|_| scanner.came(&frame(DATA, 0, b"x"), &gauge));
        (0..100).for_each(|_| scanner.came(&frame(DATA, END_STREAM, b""), &gauge));
        (0..100).for_each(|_| scanner.came(&frame(HEADERS, END_HEADERS, b"x"), &gauge));
        (0..2).for_each(|_| scanner.came(&frame(RST_STREAM, 0, &[0; 4]), &gauge));
        assert_eq!(gauge.excess(), None);
        scanner.came(&frame(RST_STREAM, 0, &[0; 4]), &gauge);
        assert_eq!(gauge.excess(), Some(Excess::Resets));
    }

    #[test]
    fn a_server_may_reset_each_stream_once_and_no_more() {
        let clock = Rc::new(Cell::new(0));
        let limits = Http2 {
            resets: 2,
            resets_per_second: 1,
            ..Http2::default()
        };
        let gauge = Gauge::of_server(clock, &limits);
        let mut scanner = Scanner::new(0);
        scanner.came(&frame(SETTINGS, 0, &[0; 6]), &gauge);
        let reset = frame(RST_STREAM, 0, &[0; 4]);
        for _ in 0..100 {
            Scanner::new(0).went(&frame(HEADERS, END_HEADERS, b"x"), &gauge);
            scanner.came(&reset, &gauge);
        }
        assert_eq!(gauge.excess(), None);
        (0..3).for_each(|_| scanner.came(&reset, &gauge));
        assert_eq!(gauge.excess(), Some(Excess::Resets));
    }

    #[test]
    fn an_open_header_block_has_a_beginning_and_an_end() {
        let clock = Rc::new(Cell::new(7));
        let (gauge, mut scanner) = settled(&clock);
        scanner.came(&frame(HEADERS, 0, b"x"), &gauge);
        clock.set(20);
        scanner.came(&frame(CONTINUATION, 0, b"x"), &gauge);
        assert_eq!(gauge.block_since(), Some(7));
        scanner.came(&frame(CONTINUATION, END_HEADERS, b"x"), &gauge);
        assert_eq!(gauge.block_since(), None);
    }

    #[test]
    fn the_first_frame_is_settings() {
        let gauge = gauge(&Rc::default());
        Scanner::new(0).came(b"HTTP/1.1 400 Bad Request\r\n", &gauge);
        assert_eq!(gauge.excess(), Some(Excess::NotHttp2));
    }
}
