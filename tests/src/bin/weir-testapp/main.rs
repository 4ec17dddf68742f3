//! The application inside the pods: a server that tells what it saw, and a client that does what a line says.
//!
//! Bias: it tells everything and hides nothing: an errno is an errno, a reset is not an end. Threads and blocking calls,
//! because that is what most applications do.

use std::process::ExitCode;

use anyhow::{Result, bail};

mod conns;
mod dial;
mod flood;
mod forge;
mod get;
mod hijack;
mod pump;
mod serve;
mod serve_http;
mod serve_tcp;
mod serve_udp;
mod session;
mod syn;
mod udp;
mod wires;

const USAGE: &str = "\
usage: weir-testapp serve NAME MODE=ADDR:PORT…   modes: http whoami sink source reset silent udp
       weir-testapp session                      commands as JSON lines on standard input (see protocol.rs)
       weir-testapp get [-X METHOD] [-n COUNT] http://ADDR[:PORT]/PATH
       weir-testapp flood KIND ADDR:PORT         connect slow pipeline refused deaf bulk, until standard input ends
       weir-testapp janitor PID                  removes the worlds of a process at the end of standard input
       weir-testapp record ADDR:PORT | talk      the two ends of the corpus, as JSON lines (see protocol.rs)
       weir-testapp hold                         makes a world with one pod and waits to be killed";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir-testapp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    raise_file_limit();
    match args {
        [mode, name, listeners @ ..] if mode == "serve" => serve::run(name, listeners),
        [mode] if mode == "session" => session::run(),
        [mode, address] if mode == "record" => wires::record(address),
        [mode] if mode == "talk" => wires::talk(),
        [mode, rest @ ..] if mode == "get" => get::run(rest),
        [mode, kind, to] if mode == "flood" => flood::run(kind, to),
        [mode, pid] if mode == "janitor" => weir_tests::world::janitor::run(pid),
        [mode] if mode == "hold" => hold(),
        _ => bail!("unknown command\n{USAGE}"),
    }
}

/// Thousands of connections need more descriptors than the 1024 that a login shell usually gives. Where the limit can't
/// be raised, the connection that finds no descriptor says so.
fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` lives until the calls return.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// What the janitor is tested with.
fn hold() -> Result<()> {
    let world = weir_tests::World::new()?;
    let _pod = world.pod("pod")?;
    loop {
        std::thread::park();
    }
}
