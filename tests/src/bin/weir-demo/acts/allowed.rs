//! What is granted, on both ways: HTTP through the engine, TCP in the kernel alone.

use anyhow::Result;
use weir_tests::protocol::Request;

use crate::stage::{Stage, to_store};

pub fn play(stage: &mut Stage) -> Result<()> {
    stage.screen.act("What is granted is served");
    let response = stage.buyer.get(&to_store(), &Request::get("/books"))?;
    let outcome = format!(
        "{} from {} in {:.1} ms",
        response.status,
        response.server(),
        response.ms
    );
    stage.screen.seen("buyer", "GET http://10.96.0.10/books", &outcome);
    stage
        .table
        .same("buyer: GET /books", "200", &response.status.to_string());
    Ok(())
}
