//! One pod floods, another one goes on: what a flood costs its neighbours.
//!
//! `cargo xtask test neighbours` with `-- --nocapture` prints the ratios of docs/limits.md. They depend on the machine and on what else it
//! does, so that no test asks for more than: every request is answered, and in a time that says that nobody starves.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result};
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::HTTP;
use weir_tests::{Agent, Flood, Mesh, Pod, Session, eventually, smi};

/// Requests of one measurement, over one connection; and over one connection each.
const KEPT: u32 = 300;
const FRESH: u32 = 100;
const ROUNDS: usize = 3;
/// Longer than this is starving: without a flood it is about a millisecond.
const STARVING_MS: f64 = 1000.0;

struct Neighbours {
    mesh: Mesh,
    victim: Session,
    noisy: Pod,
    store: IpAddr,
    other: IpAddr,
    agent: Agent,
}

/// A victim with a store, and a noisy pod with a store of its own. All of it is HTTP, so that it goes through the engine.
fn open() -> Result<Neighbours> {
    let mut mesh = Mesh::new()?;
    let (victim, noisy) = (mesh.client("victim")?, mesh.client("noisy")?);
    let (store, other) = (mesh.server("store")?, mesh.server("other")?);
    nice(mesh.server_of(&other)?.pid())?;
    let routes = smi::routes("books", &[("read", "/(books|bytes/.*)", &["GET"])]);
    let rules: &[(&str, &str, &[&str])] = &[("HTTPRouteGroup", "books", &[])];
    let targets = [
        smi::target("victim-store", "store", &["victim"], rules),
        smi::target("noisy-other", "other", &["noisy"], rules),
    ];
    let [one, two] = targets;
    mesh.manifests.write("grants", &smi::documents(&[routes, one, two]))?;
    let agent = mesh.agent_with(&["--threads", "1"])?;
    Ok(Neighbours {
        victim: mesh.session(&victim)?,
        noisy,
        store: store.v4(),
        other: other.v4(),
        mesh,
        agent,
    })
}

/// Who floods, and the server that it floods, get what the others leave of the processors, as a cgroup would see to it:
/// what is measured is the engine. Threads that a process starts later are like the one that starts them.
fn nice(pid: u32) -> Result<()> {
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let thread: u32 = thread?.file_name().to_string_lossy().parse()?;
        // SAFETY: numbers only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, 10) };
    }
    Ok(())
}

/// 99th percentiles in milliseconds: of requests over one connection, and of requests that each need one of their own.
fn measure(victim: &mut Session, store: IpAddr) -> Result<[f64; 2]> {
    let (dial, request) = (Dial::to(store, HTTP), Request::get("/books"));
    let kept = victim.call(&dial, &request, KEPT)?;
    let fresh = victim.call_fresh(&dial, &request, FRESH)?;
    let mut p99 = [0.0; 2];
    for (p99, (called, count)) in p99.iter_mut().zip([(kept, KEPT), (fresh, FRESH)]) {
        let good = called
            .responses
            .iter()
            .filter(|response| response.status == 200)
            .count();
        let wrong = called.responses.iter().find(|response| response.status != 200);
        assert_eq!(good, count as usize, "of {count} requests: {wrong:?}");
        let mut times: Vec<f64> = called.responses.iter().map(|response| response.ms).collect();
        times.sort_by(f64::total_cmp);
        *p99 = times[times.len() * 99 / 100];
    }
    Ok(p99)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn flood(kind: &str) -> Result<()> {
    let mut there = open()?;
    let to = SocketAddr::new(there.other, HTTP);
    let (mut ratios, mut during, mut rate) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()], Vec::new());
    for _ in 0..ROUNDS {
        let calm = measure(&mut there.victim, there.store)?;
        let (flood, start) = (Flood::start(&there.noisy, kind, to)?, Instant::now());
        let stormy = measure(&mut there.victim, there.store).with_context(|| format!("during the flood {kind}"))?;
        let seconds = start.elapsed().as_secs_f64();
        rate.push(flood.stop()? as f64 / seconds);
        for at in 0..2 {
            ratios[at].push(stormy[at] / calm[at]);
            during[at].push(stormy[at]);
        }
        eventually("what the flood held is given back", || {
            let metrics = there.agent.metrics()?;
            Ok(metrics.sum("weir_engine_open", &[]) < 20.0)
        })?;
    }
    let [kept, fresh] = ratios.map(median);
    let worst = during.map(median);
    println!(
        "| {kind} | {kept:.1} | {fresh:.1} | {:.1} ms, {:.1} ms | {:.0} |",
        worst[0],
        worst[1],
        median(rate)
    );
    assert!(
        worst.iter().all(|ms| *ms < STARVING_MS),
        "the victim starves: p99 of {worst:?} ms"
    );
    drop(there.mesh);
    Ok(())
}

#[test]
fn a_flood_of_connections_starves_nobody() -> Result<()> {
    flood("connect")
}

#[test]
fn ten_thousand_slow_clients_starve_nobody() -> Result<()> {
    flood("slow")
}

#[test]
fn pipelined_requests_starve_nobody() -> Result<()> {
    flood("pipeline")
}

#[test]
fn a_flood_of_refused_requests_starves_nobody() -> Result<()> {
    flood("refused")
}

#[test]
fn clients_that_never_read_starve_nobody() -> Result<()> {
    flood("deaf")
}

#[test]
fn bulk_transfers_starve_nobody() -> Result<()> {
    flood("bulk")
}
