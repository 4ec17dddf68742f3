//! 90 and 10 over 1,000 requests, then 50 and 50 by an edit of the file while requests run on one open connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use weir_tests::Session;
use weir_tests::protocol::Request;

use crate::stage::{PROMISE, Stage, to_store};
use weir_tests::stop;

/// Requests by which a change is recognised. In ten of them 90 and 10 give one to version 2, 50 and 50 give five.
const WINDOW: usize = 10;

pub fn play(stage: &mut Stage) -> Result<()> {
    stage
        .screen
        .act("A TrafficSplit of 90 and 10, and its change to 50 and 50 under way");
    let called = stage.buyer.call(&to_store(), &Request::get("/books"), 1000)?;
    let count = |server: &str| {
        called
            .responses
            .iter()
            .filter(|one| one.status == 200 && one.server() == server)
            .count()
    };
    let counts = Counts {
        v1: count("store-v1"),
        v2: count("store-v2"),
        all: called.responses.len(),
    };
    stage.screen.seen(
        "buyer",
        "1000 × GET on one connection",
        &format!("{} to v1, {} to v2", counts.v1, counts.v2),
    );
    let (expected, ok) = counts.expect(0.9);
    stage.table.holds(
        "1,000 requests, 90/10",
        &expected,
        &counts.text(),
        ok && counts.all == 1000,
    );

    let before = stage.shop.files.text("split")?;
    let result = change(stage);
    stage.shop.files.write("split", &before)?;
    result
}

/// One answer: when it was there, and who gave it. `None`: it failed.
struct Shot {
    at: Instant,
    server: Option<String>,
}

fn change(stage: &mut Stage) -> Result<()> {
    let conn = stage.buyer.must_open(&to_store())?;
    let (files, buyer) = (&stage.shop.files, &mut stage.buyer);
    let enough = AtomicBool::new(false);
    let (edited, shots) = thread::scope(|scope| {
        let requests = scope.spawn(|| shoot(buyer, conn, &enough));
        let edited = stop::pause(Duration::from_millis(400)).and_then(|()| {
            let at = files.edit("split", &[("weight: 90", "weight: 50"), ("weight: 10", "weight: 50")])?;
            stop::pause(Duration::from_millis(800)).map(|()| at)
        });
        enough.store(true, Ordering::Relaxed);
        (
            edited,
            requests.join().map_err(|_| anyhow!("the thread of requests panicked")),
        )
    });
    let (edited, shots) = (edited?, shots??);

    let served: Vec<(Instant, bool)> = shots
        .iter()
        .filter_map(|shot| Some((shot.at, shot.server.as_ref()? == "store-v2")))
        .collect();
    let followed = served
        .windows(WINDOW)
        .position(|window| window.iter().filter(|(_, v2)| *v2).count() >= WINDOW * 2 / 5)
        .map(|start| start + WINDOW - 1);
    let first_after = served.partition_point(|(at, _)| *at < edited);
    let before = Counts::of(&served[..first_after]);
    let after = Counts::of(followed.map_or(&[], |index| &served[index + 1..]));
    let took = followed.and_then(|index| served[index].0.checked_duration_since(edited));
    let took_text = took.map_or("not at all".to_string(), |took| {
        format!("{} ms after the edit", took.as_millis())
    });

    let outcome = format!("{} before, {} from {took_text} on", before.text(), after.text());
    stage
        .screen
        .seen("buyer", "GET on and on; split.yaml is edited", &outcome);
    let (expected, ok) = before.expect(0.9);
    stage
        .table
        .holds("running requests, before the edit", &expected, &before.text(), ok);
    let (expected, ok) = after.expect(0.5);
    stage.table.holds("  after it, 50/50", &expected, &after.text(), ok);
    let in_time = took.is_some_and(|took| took <= PROMISE);
    stage.table.holds(
        "  shares follow",
        &format!("within {} ms", PROMISE.as_millis()),
        &took_text,
        in_time,
    );
    let failed = shots.len() - served.len();
    stage.table.same("  requests that failed", "0", &failed.to_string());
    Ok(())
}

fn shoot(buyer: &mut Session, conn: usize, enough: &AtomicBool) -> Result<Vec<Shot>> {
    let request = Request::get("/books");
    let mut shots = Vec::new();
    while !enough.load(Ordering::Relaxed) {
        let response = buyer.http(conn, &request).context("requests while the split changes")?;
        let server = (response.status == 200).then(|| response.server().to_string());
        shots.push(Shot {
            at: Instant::now(),
            server,
        });
    }
    Ok(shots)
}

struct Counts {
    v1: usize,
    v2: usize,
    all: usize,
}

impl Counts {
    fn of(served: &[(Instant, bool)]) -> Counts {
        let v2 = served.iter().filter(|(_, v2)| *v2).count();
        Counts {
            v1: served.len() - v2,
            v2,
            all: served.len(),
        }
    }

    fn text(&self) -> String {
        format!("{} / {}", self.v1, self.v2)
    }

    /// What version 1 should have for its share, and whether it has: within three standard deviations of the binomial
    /// distribution, all others to version 2. A handful of requests shows nothing and is not accepted.
    fn expect(&self, share: f64) -> (String, bool) {
        let all = self.all as f64;
        let (mean, room) = (all * share, 3.0 * (all * share * (1.0 - share)).sqrt());
        let ok = self.all >= 100 && self.v1 + self.v2 == self.all && (self.v1 as f64 - mean).abs() <= room;
        (format!("{mean:.0} ± {room:.0} / {:.0} ± {room:.0}", all - mean), ok)
    }
}
