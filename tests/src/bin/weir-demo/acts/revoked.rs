//! Grants that go while connections are open: a request on one gets 403, a connection of the kernel tier ends. Others
//! are not touched.

use std::time::Duration;

use anyhow::Result;
use weir_tests::protocol::{Command, Request};

use crate::stage::{PROMISE, Stage, errno, patiently, to_store, to_warehouse};

pub fn play(stage: &mut Stage) -> Result<()> {
    stage.screen.act("A grant is taken away while connections are open");
    let books = stage.shop.files.text("books")?;
    let result = request(stage);
    stage.shop.files.write("books", &books)?;
    result?;
    let served = patiently("GET /books is not granted again", || {
        let response = stage.buyer.call(&to_store(), &Request::get("/books"), 1)?;
        Ok(response
            .responses
            .first()
            .filter(|one| one.status == 200)
            .map(|one| one.status))
    })?;
    stage.table.same("  granted again", "200", &served.to_string());

    let stock = stage.shop.files.text("stock")?;
    let result = connection(stage);
    stage.shop.files.write("stock", &stock)?;
    result?;
    patiently("TCP to the warehouse is not granted again", || {
        Ok(stage.store.open(&to_warehouse())?.conn)
    })
    .map(|conn| stage.store.run(&Command::Close(conn)).map(drop))?
}

/// The route goes, the target stays.
fn request(stage: &mut Stage) -> Result<()> {
    let (conn, request) = (stage.buyer.must_open(&to_store())?, Request::get("/books"));
    let first = stage.buyer.http(conn, &request)?.status;
    let edited = stage
        .shop
        .files
        .edit("books", &[("methods: [GET, HEAD]", "methods: [HEAD]")])?;
    let response = patiently("GET /books stays granted", || {
        let response = stage.buyer.http(conn, &request)?;
        Ok(Some(response).filter(|response| response.status != 200))
    })?;
    let took = edited.elapsed();
    let outcome = format!(
        "{first}, then {} {} ms after the edit",
        response.status,
        took.as_millis()
    );
    stage
        .screen
        .seen("buyer", "GET on one connection; GET leaves books.yaml", &outcome);
    stage.screen.detail(&format!("body: {}", response.body.trim()));
    let seen = format!("{first}, then {}", response.status);
    stage
        .table
        .same("GET removed, on the open connection", "200, then 403", &seen);
    in_time(stage, took);
    Ok(())
}

/// The TCPRoute and its target go.
fn connection(stage: &mut Stage) -> Result<()> {
    let (bystander, request) = (stage.buyer.must_open(&to_store())?, Request::get("/books"));
    stage.buyer.http(bystander, &request)?;
    let conn = stage.store.must_open(&to_warehouse())?;
    stage.store.run(&Command::ReadLine(conn))?;
    stage.store.run(&Command::Pump(conn))?;
    patiently("the store's connection stands still", || {
        Ok(Some(stage.store.pumped(conn)?).filter(|pumped| pumped.rounds > 10))
    })?;
    let removed = stage.shop.files.remove("stock")?;
    let pumped = patiently("the store's connection goes on", || {
        Ok(Some(stage.store.pumped(conn)?).filter(|pumped| pumped.ended != 0))
    })?;
    let took = removed.elapsed();
    let how = match pumped.ended {
        libc::ECONNABORTED | libc::ECONNRESET => "aborted".to_string(),
        -1 => "ended as if in order".to_string(),
        other => std::io::Error::from_raw_os_error(other).to_string(),
    };
    let outcome = format!(
        "{how} {} ms after, having gone back and forth {} times",
        took.as_millis(),
        pumped.rounds
    );
    stage
        .screen
        .seen("store", "TCP to the warehouse; stock.yaml goes", &outcome);
    stage
        .table
        .same("TCPRoute removed, its open connection", "aborted", &how);
    in_time(stage, took);
    let again = errno(&stage.store.open(&to_warehouse())?);
    stage.table.same("  a new one", "ECONNREFUSED", &again);
    let other = stage.buyer.http(bystander, &request)?.status.to_string();
    stage.table.same("  the buyer's open connection", "200", &other);
    Ok(())
}

fn in_time(stage: &mut Stage, took: Duration) {
    let limit = format!("within {} ms", PROMISE.as_millis());
    stage.table.holds(
        "  in force",
        &limit,
        &format!("{} ms after the edit", took.as_millis()),
        took <= PROMISE,
    );
}
