//! The agent goes and comes back: what the kernel decides alone goes on, everything else is refused meanwhile.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use weir_tests::pins::Pins;
use weir_tests::protocol::{Answer, Command, Dial, Pumped, Request};
use weir_tests::server::{HTTP, SOURCE, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::tier::Tier;
use weir_tests::{Shop, eventually, exec};

/// The longest pause of a connection that nothing may disturb: scheduling on a busy machine, and far from a second.
const GAP_MS: f64 = 400.0;

fn untouched(pumped: &Pumped) {
    assert_eq!(pumped.ended, 0, "the connection ended: {pumped:?}");
    assert!(
        pumped.longest_ms < GAP_MS && pumped.idle_ms < GAP_MS,
        "a gap: {pumped:?}"
    );
}

#[test]
fn the_kernel_tier_goes_on_without_a_gap_while_the_agent_is_killed_and_restarted() -> Result<()> {
    let mut tier = Tier::kernel()?;
    let thief = tier.mesh.client("thief")?;
    let mut agent = tier.mesh.agent()?;
    let (mut buyer, mut clerk) = (tier.mesh.session(&tier.buyer)?, tier.mesh.session(&tier.clerk)?);
    let mut thief = tier.mesh.session(&thief)?;
    let (conn, _) = tier.hello(&mut buyer)?;
    buyer.run(&Command::Pump(conn))?;
    // New connections all the time, through the kill, the absence and the take-over.
    let churn = Command::Churn {
        dial: tier.dial(WHOAMI),
        count: 8000,
        request: None,
    };
    clerk.begin(&churn)?;

    agent.kill()?;
    for _ in 0..20 {
        thief.open(&tier.dial(WHOAMI))?.refused().context("without an agent")?;
        thief
            .open(&Dial::to(tier.store.v4(), HTTP))?
            .refused()
            .context("without an agent")?;
        tier.hello(&mut buyer).context("without an agent")?;
        thread::sleep(Duration::from_millis(10));
    }
    let took = agent.run()?;
    println!("the next agent was ready after {} ms", took.as_millis());
    for _ in 0..20 {
        thief.open(&tier.dial(WHOAMI))?.refused()?;
        tier.hello(&mut buyer)?;
    }
    untouched(&buyer.pumped(conn)?);
    let Answer::Churned { opened, error, .. } = clerk.answer()? else {
        panic!("not a churn")
    };
    assert_eq!((opened, error), (8000, None), "no connection failed on the way");
    Ok(())
}

#[test]
fn what_a_dying_agent_narrowed_and_did_not_end_is_ended_by_the_next_one() -> Result<()> {
    let tier = Tier::kernel()?;
    let mut agent = tier.mesh.agent()?;
    let (mut buyer, mut clerk) = (tier.mesh.session(&tier.buyer)?, tier.mesh.session(&tier.clerk)?);
    let ((revoked, _), (kept, _)) = (tier.hello(&mut buyer)?, tier.hello(&mut clerk)?);
    buyer.run(&Command::Pump(revoked))?;
    clerk.run(&Command::Pump(kept))?;
    agent.kill()?;
    tier.mesh.manifests.remove("tcp-buyer")?;
    // As it is after a kill between the tables and the sweep: no difference tells the next agent what has been narrowed.
    Pins::of(&tier.mesh.world).clear("POLICY")?;
    assert_eq!(buyer.pumped(revoked)?.ended, 0, "open connections pass no program");
    agent.run()?;
    eventually("the connection without a grant ends", || {
        Ok(buyer.pumped(revoked)?.ended != 0)
    })?;
    untouched(&clerk.pumped(kept)?);
    Ok(())
}

#[test]
fn http_is_refused_at_once_while_no_agent_runs_and_served_again_after() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let mut buyer = shop.mesh.session(&shop.buyer)?;
    let ways = [(STORE4, HTTP), (shop.store.v4(), HTTP), (shop.store.v6(), HTTP)].map(|(ip, port)| Dial::to(ip, port));
    for round in 0..2 {
        let held = buyer.must_open(&ways[0])?;
        for dial in &ways {
            assert_eq!(buyer.get(dial, &Request::get("/books"))?.status, 200, "round {round}");
        }
        agent.kill()?;
        for dial in &ways {
            buyer.open(dial)?.refused().with_context(|| format!("{dial:?}"))?;
        }
        let lost = buyer.stream(&Command::Read { conn: held, len: None })?;
        assert_eq!(
            (lost.fin, lost.errno),
            (false, libc::ECONNRESET),
            "an open connection is reset"
        );
        agent.run()?;
    }
    assert_eq!(buyer.get(&ways[0], &Request::get("/books"))?.status, 200);
    Ok(())
}

#[test]
fn http_from_another_node_is_refused_at_once_while_no_agent_runs() -> Result<()> {
    let mut shop = Shop::open()?;
    let remote = shop.mesh.world.remote("node-b")?;
    let far = shop.mesh.world.remote_pod(&remote, "far")?;
    shop.mesh.declare(&far, "shop", "buyer")?;
    let thief = shop.mesh.remote_client(&remote, "far-thief")?;
    let mut agent = shop.mesh.agent()?;
    let (mut far, mut thief) = (shop.mesh.session(&far)?, shop.mesh.session(&thief)?);
    let (http, tcp) = (Dial::to(shop.store.v4(), HTTP), Dial::to(shop.store.v4(), WHOAMI));
    assert_eq!(far.get(&http, &Request::get("/books"))?.status, 200);
    agent.kill()?;
    far.open(&http)?.refused()?;
    far.must_open(&tcp).context("what the kernel allows goes on")?;
    thief.open(&tcp)?.refused()?;
    agent.run()?;
    assert_eq!(far.get(&http, &Request::get("/books"))?.status, 200);
    Ok(())
}

#[test]
fn a_killed_agent_leaves_resets_behind_and_no_clean_end() -> Result<()> {
    let tier = Tier::engine()?;
    let mut agent = tier.mesh.agent()?;
    let mut buyer = tier.mesh.session(&tier.buyer)?;
    let conn = buyer.must_open(&tier.dial(SOURCE))?;
    let len = 64_u64 << 30;
    buyer.stream(&Command::Send {
        conn,
        text: format!("{len}\n"),
    })?;
    buyer.stream(&Command::Read {
        conn,
        len: Some(1 << 20),
    })?;
    buyer.begin(&Command::Read { conn, len: None })?;
    thread::sleep(Duration::from_millis(50));
    agent.kill()?;
    let Answer::Stream(lost) = buyer.answer()? else {
        panic!("not a stream")
    };
    assert_eq!(
        (lost.fin, lost.errno),
        (false, libc::ECONNRESET),
        "half a stream must not look like a whole one"
    );
    let server = tier.mesh.server_of(&tier.store)?.wait_ended("source")?;
    assert!(
        server.errno == libc::ECONNRESET || server.errno == libc::EPIPE,
        "{server:?}"
    );
    Ok(())
}

#[test]
fn what_changed_while_no_agent_ran_is_in_force_with_the_next_one() -> Result<()> {
    let tier = Tier::kernel()?;
    let mut agent = tier.mesh.agent()?;
    let (mut buyer, mut clerk) = (tier.mesh.session(&tier.buyer)?, tier.mesh.session(&tier.clerk)?);
    let (revoked, _) = tier.hello(&mut buyer)?;
    let (kept, _) = tier.hello(&mut clerk)?;
    buyer.run(&Command::Pump(revoked))?;
    clerk.run(&Command::Pump(kept))?;
    agent.kill()?;
    tier.mesh.manifests.remove("tcp-buyer")?;
    tier.hello(&mut buyer).context("nobody has read the change yet")?;
    agent.run()?;
    buyer.open(&tier.dial(WHOAMI))?.refused()?;
    eventually("the open connection ends too", || Ok(buyer.pumped(revoked)?.ended != 0))?;
    untouched(&clerk.pumped(kept)?);
    Ok(())
}

#[test]
fn sigterm_and_sigint_end_the_agent_with_0_and_leave_policy_in_force() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let status = agent.signal(signal)?;
        assert_eq!(status.code(), Some(0), "{status:?}\n{}", agent.log());
        assert!(fs::read_dir(shop.mesh.world.bpffs())?.count() > 0, "pins stay");
        thief.open(&Dial::to(STORE4, WHOAMI))?.refused()?;
        buyer.must_open(&Dial::to(STORE4, WHOAMI))?;
        buyer.open(&Dial::to(STORE4, HTTP))?.refused()?;
        agent.run()?;
    }
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    Ok(())
}

#[test]
fn weir_uninstall_removes_everything_and_pods_are_left_alone() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    agent.kill()?;
    thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    exec::run(&mut agent.uninstall_command()?)?;
    nothing_left(&shop)?;
    // The kernel lets go of an unpinned link a little later (RCU).
    eventually("nothing is in the way", || {
        Ok(thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno == 0)
    })?;
    exec::run(&mut agent.uninstall_command()?).context("a second time finds nothing to do")?;
    Ok(())
}

#[test]
fn an_agent_with_uninstall_removes_everything_when_it_ends() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent_with(&["--uninstall"])?;
    let mut thief = shop.mesh.session(&shop.thief)?;
    thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.refused()?;
    assert_eq!(agent.terminate()?.code(), Some(0), "{}", agent.log());
    nothing_left(&shop)?;
    // The kernel lets go of an unpinned link a little later (RCU).
    eventually("nothing is in the way", || {
        Ok(thief.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno == 0)
    })?;
    Ok(())
}

#[test]
fn maps_of_other_sizes_are_not_used_again_and_policy_holds() -> Result<()> {
    let shop = Shop::open()?;
    let mut agent = shop.mesh.agent()?;
    agent.kill()?;
    let _agent = shop.mesh.agent_with(&["--max-policy-entries", "777"])?;
    let (mut buyer, mut thief) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.thief)?);
    buyer.must_open(&Dial::to(STORE4, WHOAMI))?;
    assert_eq!(buyer.get(&Dial::to(STORE4, HTTP), &Request::get("/books"))?.status, 200);
    for dial in [Dial::to(STORE4, WHOAMI), Dial::to(shop.store.v4(), HTTP)] {
        thief.open(&dial)?.refused()?;
    }
    Ok(())
}

fn nothing_left(shop: &Shop) -> Result<()> {
    let dir = shop.mesh.world.bpffs();
    let left: Vec<_> = match fs::read_dir(&dir) {
        Ok(entries) => entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect(),
        Err(_) => Vec::new(),
    };
    assert!(left.is_empty(), "pins in {}: {left:?}", dir.display());
    Ok(())
}
