//! `kill -9` of the agent: what the kernel decides alone goes on, HTTP is refused, and the next agent takes over.

use std::time::Duration;

use anyhow::Result;
use weir_tests::protocol::{Command, Request};

use crate::stage::{Stage, at_once, errno, patiently, to_store, to_warehouse};
use weir_tests::stop;

pub fn play(stage: &mut Stage) -> Result<()> {
    stage.screen.act("The agent is killed (SIGKILL), then started again");
    let conn = stage.store.must_open(&to_warehouse())?;
    stage.store.run(&Command::ReadLine(conn))?;
    stage.store.run(&Command::Pump(conn))?;
    patiently("the store's connection stands still", || {
        Ok(Some(stage.store.pumped(conn)?).filter(|pumped| pumped.rounds > 10))
    })?;

    stage.agent.kill()?;
    let before = stage.store.pumped(conn)?.rounds;
    stop::pause(Duration::from_millis(300))?;
    let rounds = stage.store.pumped(conn)?.rounds - before;
    stage.screen.seen(
        "store",
        "its open TCP connection",
        &format!("goes on: {rounds} rounds in 300 ms without an agent"),
    );
    let seen = if rounds > 0 { "goes on" } else { "stands still" };
    stage.table.same("no agent: an open TCP connection", "goes on", seen);

    let opened = stage.store.open(&to_warehouse())?;
    let new = if opened.errno == 0 {
        "opens".to_string()
    } else {
        errno(&opened)
    };
    stage.screen.seen("store", "a new TCP connection", &new);
    stage.table.same("  a new one", "opens", &new);

    refused(stage, "buyer", "TCP to the warehouse")?;
    refused(stage, "buyer", "HTTP to the store")?;
    refused(stage, "thief", "HTTP to the store")?;

    let ready = stage.agent.run()?;
    let status = stage
        .buyer
        .get(&to_store(), &Request::get("/books"))?
        .status
        .to_string();
    let outcome = format!("{status}, {} ms after the agent was started", ready.as_millis());
    stage.screen.seen("buyer", "GET http://10.96.0.10/books", &outcome);
    stage.table.same("agent again: GET /books", "200", &status);
    let pumped = stage.store.pumped(conn)?;
    let outcome = format!("still open; its longest pause was {:.0} ms", pumped.longest_ms);
    let kept = pumped.ended == 0 && pumped.idle_ms < 1000.0;
    stage.screen.seen(
        "store",
        "the TCP connection from before",
        if kept { &outcome } else { "ended" },
    );
    stage.table.same(
        "  the TCP connection from before",
        "still open",
        if kept { "still open" } else { "ended" },
    );
    stage.store.run(&Command::Close(conn)).map(drop)
}

fn refused(stage: &mut Stage, who: &str, what: &str) -> Result<()> {
    let dial = if what.starts_with("HTTP") {
        to_store()
    } else {
        to_warehouse()
    };
    let client = if who == "thief" {
        &mut stage.thief
    } else {
        &mut stage.buyer
    };
    let opened = client.open(&dial)?;
    stage
        .screen
        .seen(who, what, &format!("{} in {:.1} ms", errno(&opened), opened.ms));
    let seen = format!(
        "{}{}",
        errno(&opened),
        if at_once(&opened) { " at once" } else { " late" }
    );
    stage
        .table
        .same(&format!("  {who}: {what}"), "ECONNREFUSED at once", &seen);
    Ok(())
}
