//! What is granted, on both ways: HTTP through the engine, TCP in the kernel alone. The agent's own counters tell which
//! way a connection took.

use anyhow::Result;
use weir_tests::metrics::Metrics;
use weir_tests::protocol::{Command, Request};

use crate::stage::{Stage, to_store, to_warehouse};

pub fn play(stage: &mut Stage) -> Result<()> {
    stage.screen.act("What is granted is served");
    let before = stage.agent.metrics()?;
    let response = stage.buyer.get(&to_store(), &Request::get("/books"))?;
    let outcome = format!(
        "{} from {} in {:.1} ms",
        response.status,
        response.server(),
        response.ms
    );
    stage.screen.seen("buyer", "GET http://10.96.0.10/books", &outcome);
    let between = stage.agent.metrics()?;
    let way = way(&before, &between);
    stage.screen.detail(&format!("TrafficTarget buyer-reads-books; {way}"));
    let status = response.status.to_string();
    stage.table.same("buyer: GET /books", "200", &status);
    stage.table.same("  its connection", "through the engine", way);

    let conn = stage.store.must_open(&to_warehouse())?;
    stage.store.run(&Command::ReadLine(conn))?;
    let (conn, text) = (conn, "12 books, please\n".to_string());
    stage.store.run(&Command::Send {
        conn,
        text: text.clone(),
    })?;
    let answer = stage.store.text(&Command::ReadLine(conn))?;
    stage.store.run(&Command::Close(conn))?;
    let way = self::way(&between, &stage.agent.metrics()?);
    stage.screen.seen(
        "store",
        "TCP 10.96.0.20:9000",
        &format!("echoed {:?}", answer.trim_end()),
    );
    stage
        .screen
        .detail(&format!("TrafficTarget store-asks-warehouse; {way}"));
    stage
        .table
        .same("store: TCP to the warehouse", text.trim_end(), answer.trim_end());
    stage.table.same("  its connection", "in the kernel alone", way);
    Ok(())
}

/// Which way the one connection between two scrapes took.
fn way(before: &Metrics, after: &Metrics) -> &'static str {
    let more = |name, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    let engine = more("weir_engine_accepted_total", &[]);
    let verdicts = |outcome| more("weir_kernel_verdicts_total", &["hook=\"connect\"", outcome]);
    match (engine, verdicts("outcome=\"allow\""), verdicts("outcome=\"l7\"")) {
        (1.0, 0.0, 1.0) => "through the engine",
        (0.0, 1.0, 0.0) => "in the kernel alone",
        _ => "not as one connection should",
    }
}
