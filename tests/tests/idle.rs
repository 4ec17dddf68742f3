//! What an idle connection costs: memory of the agent, for each of thousands.

use anyhow::Result;
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::HTTP;
use weir_tests::shop::STORE4;
use weir_tests::{Shop, eventually};

const CONNECTIONS: u32 = 3000;
/// In a debug build, where a task is larger than it has to be.
const MOST: u64 = 12 * 1024;

#[test]
fn an_idle_connection_costs_a_few_kilobytes() -> Result<()> {
    let shop = Shop::open()?;
    // One connection to the server is enough for all, and buffers are those of requests under way.
    let agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let (dial, books) = (Dial::to(STORE4, HTTP), Request::get("/books"));
    buyer.call_fresh(&dial, &books, 200)?;
    let before = agent.memory_kib()?;
    for _ in 0..CONNECTIONS {
        let conn = buyer.must_open(&dial)?;
        assert_eq!(buyer.http(conn, &books)?.status, 200);
    }
    eventually("no request is under way", || {
        Ok(agent.metrics()?.sum("weir_engine_buffered_bytes", &[]) == 0.0)
    })?;
    let each = (agent.memory_kib()? - before) * 1024 / u64::from(CONNECTIONS);
    println!("{each} bytes for an idle connection");
    assert!(each < MOST, "{each} bytes for an idle connection");
    Ok(())
}
