//! Plain TCP: bytes whole and in order, ends and resets as the peers made them, in the kernel tier and through the
//! engine.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use weir_tests::protocol::{Command, Stream};
use weir_tests::server::{RESET, SILENT, SINK, SOURCE};
use weir_tests::tier::Tier;
use weir_tests::{eventually, on_both_tiers, pattern};

const MIB_64: u64 = 64 << 20;

on_both_tiers! {
    sixty_four_mebibytes_arrive_whole_both_ways
    both_sides_see_real_addresses
    a_half_closed_connection_still_carries_the_answer
    a_reset_of_the_client_reaches_the_server_as_one
    a_reset_of_the_server_reaches_the_client_as_one
    a_slow_reader_holds_its_sender_back_and_loses_nothing
    a_peer_that_never_reads_costs_bounded_memory
}

fn sixty_four_mebibytes_arrive_whole_both_ways(tier: Tier) -> Result<()> {
    let agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let expected = pattern::sum(MIB_64);

    let up = buyer.must_open(&tier.dial(SINK))?;
    let sent = buyer.stream(&Command::SendPattern { conn: up, len: MIB_64 })?;
    assert_eq!((sent.len, sent.errno), (MIB_64, 0));
    buyer.run(&Command::ShutdownWrite(up))?;
    let received: Stream = serde_json::from_str(&buyer.text(&Command::ReadLine(up))?)?;
    assert_eq!(
        (received.len, received.sum),
        (expected.len, expected.sum),
        "to the server"
    );

    let down = buyer.must_open(&tier.dial(SOURCE))?;
    buyer.stream(&Command::Send {
        conn: down,
        text: format!("{MIB_64}\n"),
    })?;
    let received = buyer.stream(&Command::Read { conn: down, len: None })?;
    assert_eq!(
        (received.len, received.sum, received.fin),
        (expected.len, expected.sum, true),
        "to the client"
    );
    tier.took_its_way(&agent)
}

fn both_sides_see_real_addresses(tier: Tier) -> Result<()> {
    let agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let opened = buyer.open(&tier.dial(weir_tests::server::WHOAMI))?;
    let conn = opened.conn.expect("an open connection");
    let seen: weir_tests::protocol::Seen = serde_json::from_str(&buyer.text(&Command::ReadLine(conn))?)?;
    let (peer, local) = (opened.peer.expect("peer"), opened.local.expect("local"));
    assert_eq!(peer, tier.dial(weir_tests::server::WHOAMI).to);
    assert_eq!(local.ip(), tier.buyer.v4());
    assert_eq!(
        (seen.peer.ip().to_canonical(), seen.peer.port()),
        (local.ip(), local.port())
    );
    assert_eq!(seen.accepted, seen.peer);
    tier.took_its_way(&agent)
}

fn a_half_closed_connection_still_carries_the_answer(tier: Tier) -> Result<()> {
    let _agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let conn = buyer.must_open(&tier.dial(SINK))?;
    buyer.stream(&Command::SendPattern { conn, len: 1000 })?;
    buyer.run(&Command::ShutdownWrite(conn))?;
    let answer: Stream = serde_json::from_str(&buyer.text(&Command::ReadLine(conn))?)?;
    assert_eq!(
        (answer.len, answer.fin),
        (1000, true),
        "the server saw an end, not a reset"
    );
    let rest = buyer.stream(&Command::Read { conn, len: None })?;
    assert_eq!((rest.fin, rest.errno), (true, 0), "and the client the server's");
    Ok(())
}

fn a_reset_of_the_client_reaches_the_server_as_one(tier: Tier) -> Result<()> {
    {
        let _agent = tier.mesh.agent()?;
        let mut buyer = tier.mesh.session(&tier.buyer)?;
        let (conn, _) = tier.hello(&mut buyer)?;
        buyer.run(&Command::Reset(conn))?;
        // The agent's own end must not be what the server sees: it stays until the server has said how it ended.
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(
        tier.mesh.server_of(&tier.store)?.wait_ended("whoami")?.errno,
        libc::ECONNRESET
    );
    Ok(())
}

fn a_reset_of_the_server_reaches_the_client_as_one(tier: Tier) -> Result<()> {
    let _agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let conn = buyer.must_open(&tier.dial(RESET))?;
    buyer.stream(&Command::Send {
        conn,
        text: "now\n".to_string(),
    })?;
    let received = buyer.stream(&Command::Read { conn, len: None })?;
    assert_eq!((received.fin, received.errno), (false, libc::ECONNRESET));
    Ok(())
}

fn a_slow_reader_holds_its_sender_back_and_loses_nothing(tier: Tier) -> Result<()> {
    let _agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let conn = buyer.must_open(&tier.dial(SOURCE))?;
    buyer.stream(&Command::Send {
        conn,
        text: format!("{MIB_64}\n"),
    })?;
    let (first, expected) = (1 << 20, pattern::sum(MIB_64));
    let mut read = 0;
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(100));
        read += buyer.stream(&Command::Read { conn, len: Some(first) })?.len;
    }
    let rest = buyer.stream(&Command::Read { conn, len: None })?;
    assert_eq!((read + rest.len, rest.fin), (expected.len, true));
    Ok(())
}

fn a_peer_that_never_reads_costs_bounded_memory(tier: Tier) -> Result<()> {
    let agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let before = agent.memory_kib()?;
    let silent = tier.dial(SILENT).timeout_ms(1500);
    let conn = buyer.must_open(&silent)?;
    let sent = buyer.stream(&Command::SendPattern { conn, len: 1 << 30 })?;
    assert_eq!(sent.errno, libc::EAGAIN, "the sender is held back: {sent:?}");
    assert!(
        sent.len < 256 << 20,
        "{} bytes were taken for a peer that reads nothing",
        sent.len
    );
    let grown = agent.memory_kib()?.saturating_sub(before);
    assert!(grown < 32 * 1024, "the agent grew by {grown} KiB");
    // The neighbour does not notice.
    let mut clerk = tier.mesh.session(&tier.clerk)?;
    let (conn, _) = tier.hello(&mut clerk)?;
    clerk.run(&Command::Pump(conn))?;
    eventually("the neighbour is served", || Ok(clerk.pumped(conn)?.rounds > 50))?;
    Ok(())
}
