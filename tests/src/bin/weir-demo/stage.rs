//! What every act works with: the agent, a client process in each pod that asks, and the table.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;
use weir_tests::protocol::{Dial, Opened};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::{Agent, Session};

use crate::playground::{Playground, STORE, WAREHOUSE};
use crate::screen::Screen;
use crate::table::Table;
use weir_tests::stop;

/// Lines of the agent's log that an error shows.
const TAIL: usize = 20;

/// In this time a changed file is in force, says the README.
pub const PROMISE: Duration = Duration::from_millis(250);

/// The agent is up and the clients wait for what to do.
pub struct Stage<'a> {
    pub shop: &'a Playground,
    pub screen: &'a Screen,
    pub table: Table,
    pub agent: Agent,
    pub buyer: Session,
    pub thief: Session,
    /// In the pod of version 1.
    pub store: Session,
}

impl<'a> Stage<'a> {
    /// Starts clients and agent.
    pub fn open(shop: &'a Playground, screen: &'a Screen) -> Result<Stage<'a>> {
        let [buyer, thief, store] = [&shop.buyer, &shop.thief, &shop.store_v1].map(Session::start);
        let dir = shop.files.dir();
        // JSON, since the demo reads its log.
        let agent = screen.step(&format!("weir agent --manifests {}", dir.display()), || {
            stop::check()?;
            Agent::start(&shop.world, dir, &["--log-format", "json"])
        })?;
        Ok(Stage {
            shop,
            screen,
            table: Table::default(),
            agent,
            buyer: buyer?,
            thief: thief?,
            store: store?,
        })
    }

    /// What the agent wrote about a refusal of `source` at `port`: the rule that was missing.
    pub fn logged(&self, by: &str, source: &str, port: u16) -> Result<String> {
        patiently("the agent's log has no line of that refusal", || {
            let lines = refusals(&self.agent.log());
            let found = lines
                .into_iter()
                .rfind(|line| line.by == by && line.source_pod == source && line.port == port);
            Ok(found.map(|line| line.missing))
        })
    }

    /// The end of the agent's log.
    pub fn log_tail(&self) -> String {
        let log = self.agent.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }
}

/// A refusal, as the agent's log has it (`--log-format json`).
#[derive(Debug, Deserialize)]
pub struct Refusal {
    pub by: String,
    pub source_pod: String,
    pub destination_pod: String,
    pub port: u16,
    pub method: String,
    pub path: String,
    pub missing: String,
    pub count: u64,
}

/// The refusals in a piece of log.
pub fn refusals(log: &str) -> Vec<Refusal> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let refused = lines.filter(|line| line["message"] == "refused");
    refused.filter_map(|line| serde_json::from_value(line).ok()).collect()
}

/// To the store's Service.
pub fn to_store() -> Dial {
    Dial::to(STORE, HTTP)
}

/// To the warehouse's Service.
pub fn to_warehouse() -> Dial {
    Dial::to(WAREHOUSE, WHOAMI)
}

/// Asks until there is an answer, for ten seconds. A failure ends it at once, as does a signal.
pub fn patiently<T>(what: &str, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        stop::check()?;
        if let Some(answer) = ask().with_context(|| what.to_string())? {
            return Ok(answer);
        }
        if start.elapsed() > Duration::from_secs(10) {
            bail!("{what}, after ten seconds");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What `connect()` gave, by the name that programmers know.
pub fn errno(opened: &Opened) -> String {
    match opened.errno {
        0 => "open".to_string(),
        libc::ECONNREFUSED => "ECONNREFUSED".to_string(),
        libc::EPERM => "EPERM".to_string(),
        libc::EAGAIN | libc::EINPROGRESS | libc::ETIMEDOUT => "no answer".to_string(),
        other => std::io::Error::from_raw_os_error(other).to_string(),
    }
}

/// True where `connect()` did not wait: half a second is far below the first retransmission of a SYN and far above what
/// a busy machine needs.
pub fn at_once(opened: &Opened) -> bool {
    opened.ms < 500.0
}
