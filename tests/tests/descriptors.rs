//! An agent that is out of file descriptors: clients are told at once, nothing spins, the kernel's part goes on, and
//! afterwards all is as before.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use weir_tests::protocol::{Dial, Request};
use weir_tests::server::{HTTP, WHOAMI};
use weir_tests::shop::STORE4;
use weir_tests::{Agent, Shop, eventually};

/// More than there are descriptors for.
const CONNECTIONS: u32 = 300;

/// Sets the limit on open files of the agent; the one that it had.
fn limit(agent: &Agent, files: u64) -> Result<u64> {
    let pid = agent.pid().context("the agent is not running")?;
    let (mut new, mut old) = (
        libc::rlimit {
            rlim_cur: files,
            rlim_max: files,
        },
        libc::rlimit {
            rlim_cur: 0,
            rlim_max: 0,
        },
    );
    // SAFETY: both live until the calls return; a null pointer is "leave as it is".
    let result = unsafe {
        libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut old);
        new.rlim_max = old.rlim_max;
        libc::prlimit(pid as i32, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut())
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("prlimit");
    }
    Ok(old.rlim_cur)
}

/// Time on the processor, in hundredths of a second.
fn busy(agent: &Agent) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", agent.pid().context("not running")?))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("stat")?.split_whitespace().collect();
    // proc(5): utime and stime are the 14th and 15th field; the name was the second.
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

/// The lowest limit under which nothing that is open is above it.
fn in_use(agent: &Agent) -> Result<u64> {
    let dir = format!("/proc/{}/fd", agent.pid().context("not running")?);
    let numbers = fs::read_dir(dir)?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
    Ok(numbers.max().unwrap_or(0) + 1)
}

#[test]
fn out_of_descriptors_clients_are_refused_at_once_and_served_again_with_them() -> Result<()> {
    let shop = Shop::open()?;
    let agent = shop.mesh.agent()?;
    let (mut buyer, mut other) = (shop.mesh.session(&shop.buyer)?, shop.mesh.session(&shop.buyer)?);
    let (dial, books) = (Dial::to(STORE4, HTTP), Request::get("/books"));
    assert_eq!(buyer.get(&dial, &books)?.status, 200);

    let before = limit(&agent, in_use(&agent)? + 5)?;
    let (mut served, mut told, mut reset, mut open) = (0, 0, 0, Vec::new());
    for _ in 0..CONNECTIONS {
        let start = Instant::now();
        let conn = buyer.must_open(&dial).context("connecting to the engine")?;
        let response = buyer.http(conn, &books)?;
        match (response.status, response.errno) {
            (200, _) => served += 1,
            (503, _) => {
                assert!(response.body.contains("file descriptors"), "{}", response.body);
                told += 1;
            }
            (0, libc::ECONNRESET | libc::EPIPE) => reset += 1,
            other => panic!("neither served nor refused: {other:?} {:?}", response.error),
        }
        assert!(
            start.elapsed() < Duration::from_secs(1),
            "an answer took {:?}",
            start.elapsed()
        );
        open.push(conn);
    }
    println!("{served} served, {told} told, {reset} reset");
    assert!(
        served > 0 && reset > CONNECTIONS / 3,
        "{served} served, {told} told, {reset} reset"
    );

    let spent = busy(&agent)?;
    thread::sleep(Duration::from_secs(1));
    let spent = busy(&agent)? - spent;
    assert!(spent < 25, "{spent} % of a processor while nothing happens: it spins");
    assert_eq!(
        other.open(&Dial::to(shop.store.v4(), WHOAMI))?.errno,
        0,
        "the kernel's part goes on"
    );

    limit(&agent, before)?;
    for conn in open {
        buyer.run(&weir_tests::protocol::Command::Close(conn))?;
    }
    eventually("all is served again", || Ok(buyer.get(&dial, &books)?.status == 200))?;
    let metrics = agent.metrics()?;
    assert!(metrics.sum("weir_engine_refused_no_descriptors_total", &[]) >= f64::from(reset));
    eventually("nothing is left", || {
        Ok(agent.metrics()?.sum("weir_engine_open", &[]) <= 1.0)
    })?;
    Ok(())
}
