//! Who sees whom: the server its real client, the client the address that it asked for. On both ways.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use weir_tests::protocol::{Command, Opened, Request, Seen};

use crate::stage::{Stage, to_store, to_warehouse};

pub fn play(stage: &mut Stage) -> Result<()> {
    stage
        .screen
        .act("Servers see the real client, clients see whom they asked for");
    let called = stage.buyer.call(&to_store(), &Request::get("/books"), 1)?;
    let seen = called.responses.first().context("no response")?.seen()?;
    // Behind the engine the port is that of the buyer's connection for which the pooled one was opened, maybe not this.
    both(stage, ("buyer", "store"), &called.opened, &seen, to_store().to, |at| {
        at.ip().to_string()
    })?;

    let opened = stage.store.open(&to_warehouse())?;
    let conn = opened.conn.context("the store's connection to the warehouse")?;
    let seen: Seen = serde_json::from_str(&stage.store.text(&Command::ReadLine(conn))?)?;
    stage.store.run(&Command::Close(conn))?;
    both(stage, ("store", "warehouse"), &opened, &seen, to_warehouse().to, |at| {
        at.to_string()
    })
}

/// `own` says what of the client's address has to be the same at the server.
fn both(
    stage: &mut Stage,
    (client, server): (&str, &str),
    opened: &Opened,
    seen: &Seen,
    asked: SocketAddr,
    own: fn(SocketAddr) -> String,
) -> Result<()> {
    let local = opened.local.context("getsockname of the client")?;
    let peer = opened.peer.context("getpeername of the client")?.to_string();
    // A dual-stack listener has its IPv4 peers as ::ffff:a.b.c.d.
    let [accepted, named] = [seen.accepted, seen.peer].map(|at| SocketAddr::new(at.ip().to_canonical(), at.port()));
    let saw = match accepted == named {
        true => own(named),
        false => format!("{accepted} by accept, {named} by getpeername"),
    };
    stage.screen.seen(
        client,
        &format!("at {local}"),
        &format!("asks {asked} and sees {peer}; the {server} sees {named}"),
    );
    stage
        .table
        .same(&format!("{client}, as the {server} sees it"), &own(local), &saw);
    stage
        .table
        .same(&format!("{server}, as the {client} sees it"), &asked.to_string(), &peer);
    Ok(())
}
