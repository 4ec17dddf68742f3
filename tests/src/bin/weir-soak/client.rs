//! The client process in a pod: a thread for each piece of work, a line for each thing that happened.
//!
//! Bias: it judges nothing but whether an answer is whole and its own. Who may do what is decided where its lines are
//! read, since only there the manifests are known.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::clock;
use crate::event::{Ask, Event, Kind, Orders, Outcome, Work};
use crate::rng::Rng;

mod datagram;
mod echo;
mod http;
mod transfer;
mod upgraded;
mod wire;

/// Longest time that a connection may stand still. Above the engine's own limits for what it waits for first.
pub const PATIENCE: Duration = Duration::from_secs(12);

/// A protocol: one thread's work.
trait Worker {
    /// One round, reported to `me`.
    fn turn(&mut self, me: &Me);
    /// Closes what is open.
    fn rest(&mut self);
}

fn worker(work: &Work, rng: Rng) -> Box<dyn Worker> {
    match work.kind {
        Kind::Kept | Kind::Fresh | Kind::Pipelined => Box::new(http::Http::new(work, rng)),
        Kind::Echo | Kind::Tls => Box::new(echo::Echo::new(work, rng)),
        Kind::Upgraded => Box::new(upgraded::Upgraded::new(work, rng)),
        Kind::Udp => Box::new(datagram::Datagram::new(work, rng)),
        Kind::Up | Kind::Down => Box::new(transfer::Transfer::new(work, rng)),
    }
}

/// What every worker of the process knows.
struct Me {
    orders: Orders,
    paused: AtomicBool,
}

/// A connection's use: when it was fine last, and when this round began.
#[derive(Clone, Copy)]
struct Span {
    since: u64,
    from: u64,
}

impl Span {
    /// A round that begins now, on a connection that was fine at `since`.
    fn from_now(since: Option<u64>) -> Span {
        let from = clock::now();
        Span {
            since: since.unwrap_or(from),
            from,
        }
    }
}

impl Me {
    /// Tells what came of a round on a connection that goes where the address leads. The soak is gone where it can't, and then this process is about to end, too.
    fn report(&self, kind: Kind, to: SocketAddr, ask: Ask, span: Span, outcome: Outcome) {
        self.report_held(kind, to, ask, None, span, outcome);
    }

    /// The same where the connection has its server already.
    fn report_held(&self, kind: Kind, to: SocketAddr, ask: Ask, held: Option<String>, span: Span, outcome: Outcome) {
        let event = Event {
            client: self.orders.client.clone(),
            kind,
            to,
            ask,
            held,
            since: span.since,
            from: span.from,
            until: clock::now(),
            outcome,
        };
        if let Ok(line) = serde_json::to_string(&event) {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }

    /// Is this whom a server has to see?
    fn is_me(&self, peer: SocketAddr) -> bool {
        self.orders.ips.contains(&peer.ip().to_canonical())
    }
}

/// Works until standard input ends.
pub fn run() -> Result<()> {
    let mut lines = std::io::stdin().lock().lines();
    let first = lines.next().context("no orders")??;
    let me = Arc::new(Me {
        orders: serde_json::from_str(&first).context("orders")?,
        paused: AtomicBool::new(false),
    });
    let mut rng = Rng::new(me.orders.seed);
    for work in me.orders.work.clone() {
        let (me, rng) = (me.clone(), Rng::new(rng.next()));
        thread::spawn(move || go_on(&me, &work, rng));
    }
    for line in lines {
        me.paused.store(line? == "pause", Ordering::Relaxed);
    }
    Ok(())
}

fn go_on(me: &Me, work: &Work, mut rng: Rng) {
    let mut worker = worker(work, Rng::new(rng.next()));
    loop {
        // From half to one and a half of it, so that workers don't march in step.
        let pause = work.pause_ms / 2 + rng.below(work.pause_ms + 1);
        thread::sleep(Duration::from_millis(pause));
        if me.paused.load(Ordering::Relaxed) {
            worker.rest();
        } else {
            worker.turn(me);
        }
    }
}
