//! The soak: everything at once, for as long as one likes, against a model of what has to happen.
//!
//! Bias: doubt. Clients in pods use every protocol in every way while policy, pods and the agent change under them. What
//! they tell is held against an oracle of SMI (`model`) that shares nothing with the product, and against when each
//! change was made and reported (`history`). Whatever neither allows is a violation, and one is enough to fail.
//!
//! State: the world belongs to `Fleet`, whose drop removes it; what was in force when, to `History`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use weir_tests::stop;

mod client;
mod clock;
mod court;
mod director;
mod edits;
mod event;
mod fleet;
mod history;
mod judge;
mod life;
mod model;
mod play;
mod report;
mod rng;
mod watch;

/// Real clients and servers in pods, policy that changes every second, pods that come and go, an agent that is killed: and
/// a model that says of each answer whether it may be.
///
/// Exit code: 0 without a violation, 1 with one, 2 if it could not be run, 128 and the signal where one ended it.
#[derive(Parser)]
#[command(bin_name = "cargo xtask soak")]
struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 600, value_parser = clap::value_parser!(u64).range(10..))]
    seconds: u64,
    /// Chooses what is edited when; what clients do meanwhile depends on the machine, too [default: the time]
    #[arg(long, value_name = "N", default_value_t = seed(), hide_default_value = true)]
    seed: u64,
    /// Requests and rounds per second that are tried for, all clients together
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rate: u32,
    /// How long after an edit is reported as in force either answer is still right, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500)]
    grace_ms: u64,
    /// Where the agent's log goes at the end
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Sub>,
}

#[derive(Subcommand)]
enum Sub {
    /// A client process; the soak starts these itself
    #[command(hide = true)]
    Client,
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(1, |time| time.as_millis() as u64 % 1_000_000)
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match args.command {
        Some(Sub::Client) => client::run().map(|()| 0),
        None => soak(&args),
    };
    match (result, stop::signal()) {
        (Ok(0), None) => ExitCode::SUCCESS,
        (Ok(0) | Err(_), Some(signal)) => ExitCode::from(128 + signal as u8),
        (Ok(_), _) => ExitCode::FAILURE,
        (Err(error), None) => {
            eprintln!("weir-soak: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn soak(args: &Args) -> Result<u64> {
    // SAFETY: no arguments, no memory.
    if unsafe { libc::geteuid() } != 0 {
        bail!("not root: making network namespaces and loading eBPF programs needs it; run it with sudo -E");
    }
    stop::listen()?;
    report::line(&format!(
        "{} s, about {} rounds per second, seed {}",
        args.seconds, args.rate, args.seed
    ));
    play::run(args)
}
