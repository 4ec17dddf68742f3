//! An agent that is told to stop: what is under way has its time, nothing new comes in, and the kernel tier goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use weir_tests::protocol::{Answer, Command, Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::tier::Tier;
use weir_tests::{Session, Shop, eventually};

/// A shop whose buyer may wait for slow answers.
fn shop() -> Result<Shop> {
    let shop = Shop::open()?;
    shop.mesh.grant_http("buyer", "store", "/(books|slow)")?;
    Ok(shop)
}

/// Asks and does not wait.
fn ask(session: &mut Session, conn: usize, path: &str) -> Result<()> {
    let request = Request::get(path);
    session.begin(&Command::Http { conn, request })
}

fn under_way(agent: &weir_tests::Agent, requests: f64) -> Result<()> {
    eventually("it is under way", || {
        Ok(agent.metrics()?.sum("weir_engine_requests_total", &[]) >= requests)
    })?;
    Ok(())
}

#[test]
fn a_slow_answer_under_way_is_whole_and_nothing_new_is_taken() -> Result<()> {
    let shop = shop()?;
    let mut agent = shop.mesh.agent()?;
    let (mut buyer, mut other) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.buyer)?);
    let (busy, idle) = (
        buyer.must_open(&Dial::to(STORE4, HTTP))?,
        other.must_open(&Dial::to(STORE4, HTTP))?,
    );
    assert_eq!(other.http(idle, &Request::get("/books"))?.status, 200);
    let kernel = other.must_open(&Dial::to(STORE4, WHOAMI))?;
    other.text(&Command::ReadLine(kernel))?;
    ask(&mut buyer, busy, "/slow/3000")?;
    under_way(&agent, 2.0)?;
    agent.tell(libc::SIGTERM)?;
    agent.wait_log(&["draining", "open=1"])?;
    // Idle: closed in order. New: refused. The kernel tier: untouched.
    let closed = other.stream(&Command::Read { conn: idle, len: None })?;
    assert!(closed.fin && closed.len == 0, "{closed:?}");
    other.open(&Dial::to(STORE4, HTTP))?.refused()?;
    other.must_open(&Dial::to(STORE4, WHOAMI))?;
    let Answer::Responses(responses) = buyer.answer()? else {
        bail!("no response");
    };
    assert_eq!((responses[0].status, responses[0].error.as_ref()), (200, None));
    let close = ("connection".to_string(), "close".to_string());
    assert!(responses[0].headers.contains(&close), "{:?}", responses[0].headers);
    let closed = buyer.stream(&Command::Read { conn: busy, len: None })?;
    assert!(closed.fin && closed.len == 0, "{closed:?}");
    assert_eq!(agent.ended()?.code(), Some(0));
    agent.wait_log(&["drained"])?;
    Ok(())
}

#[test]
fn what_is_still_open_when_the_time_is_over_is_reset() -> Result<()> {
    let tier = Tier::engine()?;
    let mut agent = tier.mesh.agent_with(&["--drain-seconds", "2"])?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let (conn, _) = tier.hello(&mut buyer)?;
    buyer.run(&Command::Pump(conn))?;
    let begun = Instant::now();
    agent.tell(libc::SIGTERM)?;
    agent.wait_log(&["draining"])?;
    std::thread::sleep(Duration::from_millis(1000));
    let pumped = buyer.pumped(conn)?;
    assert!(pumped.ended == 0 && pumped.idle_ms < 500.0, "it goes on: {pumped:?}");
    assert_eq!(agent.ended()?.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    eventually("it was reset", || Ok(buyer.pumped(conn)?.ended == libc::ECONNRESET))?;
    agent.wait_log(&["the time to drain is over", "open=1"])?;
    Ok(())
}

#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    let shop = shop()?;
    let mut agent = shop.mesh.agent_with(&["--drain-seconds", "60"])?;
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut buyer = shop.mesh.session(&shop.buyer)?;
        let conn = buyer.must_open(&Dial::to(STORE4, HTTP))?;
        ask(&mut buyer, conn, "/slow/60000")?;
        under_way(&agent, 1.0)?;
        agent.tell(libc::SIGTERM)?;
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        assert_eq!(agent.signal(signal)?.code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        let Answer::Responses(responses) = buyer.answer()? else {
            bail!("no answer");
        };
        assert_eq!(responses[0].errno, libc::ECONNRESET, "{responses:?}");
        agent.run()?;
    }
    Ok(())
}

#[test]
fn policy_goes_on_while_it_drains_and_the_next_agent_need_not_wait() -> Result<()> {
    let shop = shop()?;
    let mut agent = shop.mesh.agent_with(&["--drain-seconds", "30"])?;
    let (mut buyer, mut kept) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.buyer)?);
    let conns = (
        buyer.must_open(&Dial::to(STORE4, HTTP))?,
        kept.must_open(&Dial::to(STORE4, HTTP).timeout_ms(15_000))?,
    );
    ask(&mut buyer, conns.0, "/slow/20000")?;
    ask(&mut kept, conns.1, "/books")?;
    kept.answer()?;
    ask(&mut kept, conns.1, "/slow/6000")?;
    under_way(&agent, 3.0)?;
    agent.tell(libc::SIGTERM)?;
    agent.wait_log(&["draining"])?;
    // Another agent takes over the kernel and new connections meanwhile.
    let mut next = shop.mesh.agent_with(&["--drain-seconds", "1"])?;
    let mut new = shop.mesh.session(&shop.buyer)?;
    assert_eq!(new.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    // A rule less, and what stands on it ends under the old agent, too; what does not stays.
    shop.mesh.grant_http("buyer", "store", "/(books|slow/6)")?;
    let Answer::Responses(responses) = buyer.answer()? else {
        bail!("no answer");
    };
    assert_eq!(responses[0].errno, libc::ECONNRESET, "{responses:?}");
    let Answer::Responses(responses) = kept.answer()? else {
        bail!("no answer");
    };
    assert_eq!(responses[0].status, 200, "{responses:?}");
    assert_eq!(agent.ended()?.code(), Some(0));
    assert_eq!(next.terminate()?.code(), Some(0));
    Ok(())
}
