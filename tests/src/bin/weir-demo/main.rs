//! The demo: a shop of pods on this machine, the real agent, and what it does to real requests.
//!
//! Bias: evidence over narration. Each act makes requests from client processes in the pods' own namespaces to servers in
//! others, says what was expected before it looks, and the table at the end is what decides the exit code.
//!
//! The playground belongs to `Playground`: whatever ends the demo, its drop removes everything (and, where this process
//! is killed, its janitor does).

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use weir_tests::{exec, stop};

mod acts;
mod files;
mod keep;
mod playground;
mod screen;
mod stage;
mod table;

use playground::Playground;
use screen::Screen;
use stage::Stage;

/// Shows what Weir does, on this machine: a shop of network namespaces with a buyer, a thief, a store in two versions
/// and a warehouse, and the agent on the manifests of deploy/examples/shop.
///
/// Exit code: 0 if everything was seen as expected, 1 if anything was not, 2 if it could not be played.
#[derive(Parser)]
#[command(bin_name = "cargo xtask demo", after_help = EXAMPLES)]
struct Args {
    /// Leave the shop and the agent up afterwards, say how to look around, and remove them at Ctrl-C
    #[arg(long)]
    keep: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask demo          play it, then remove everything
  cargo xtask demo --keep   play it, then leave the shop open until Ctrl-C

It needs root, BPF and cgroup v2; `weir check` says what is lacking. Nothing of the machine's own network is changed.";

fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Screen::new();
    let result = run(&args, &screen);
    match (result, stop::signal()) {
        (Ok(true), None) => ExitCode::SUCCESS,
        (Ok(same), Some(_)) if args.keep => ExitCode::from(u8::from(!same)),
        // 128 and the number of the signal, as shells have it.
        (_, Some(signal)) => ExitCode::from(128 + signal as u8),
        (Ok(false), None) => ExitCode::FAILURE,
        (Err(error), None) => {
            eprintln!("weir-demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Plays it; true if everything was as expected. The playground is gone when this returns.
fn run(args: &Args, screen: &Screen) -> Result<bool> {
    let start = Instant::now();
    stop::listen()?;
    preflight()?;
    stop::check()?;
    let shop = Playground::make(screen)?;
    let mut stage = Stage::open(&shop, screen)?;
    let result = acts::play(&mut stage);
    stop::check()?;
    let same = stage.table.show(screen);
    if result.is_err() || !same {
        screen.line(&format!("The agent's log ends so:\n{}", stage.log_tail()));
    }
    if let Err(error) = &result {
        screen.bad(&format!("not played to its end: {error:#}"));
    }
    result?;
    let verdict = format!("{} in {:.1} s", stage.table.verdict(), start.elapsed().as_secs_f64());
    if same {
        screen.good(&verdict);
    } else {
        screen.bad(&verdict);
    }
    if args.keep {
        keep::until_told(&mut stage)?;
    }
    Ok(same)
}

/// An error before anything is changed: what `weir check` finds lacking.
fn preflight() -> Result<()> {
    // SAFETY: no arguments, no memory.
    if unsafe { libc::geteuid() } != 0 {
        bail!("not root: making network namespaces and loading eBPF programs needs it; run it with sudo -E");
    }
    exec::testapp().context("the pods' application")?;
    let output = Command::new(exec::weir()?)
        .arg("check")
        .output()
        .context("running weir check")?;
    if !output.status.success() {
        bail!(
            "this machine lacks what is needed; weir check says:\n{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
