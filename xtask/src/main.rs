//! The project's own commands: `cargo xtask --help`.
//!
//! Everything that a checkout needs beside cargo itself, so that two commands do the whole job on a fresh machine. One
//! file per command; each says what it does while it does it, and stops at the first thing that is not as it should be.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod build;
mod demo;
mod fuzz;
mod kernels;
mod lint;
mod paths;
mod preflight;
mod run;
mod setup;
mod soak;
mod test;

/// Weir's set-up, build, tests and demo.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Debian packages; bpf-linker and the tests' Go tools into the target directory
    Setup {
        /// Also what `cargo xtask kernels` needs (qemu, busybox)
        #[arg(long)]
        kernels: bool,
    },
    /// Build the eBPF programs and the agent: target/release/weir
    Build {
        /// The agent in the debug profile: target/debug/weir
        #[arg(long)]
        debug: bool,
        /// Only the eBPF object: target/bpf/weir.o
        #[arg(long)]
        ebpf_only: bool,
    },
    /// Run rustfmt, clippy with warnings denied (eBPF programs too) and the documentation build
    Lint,
    /// Set up, build, and run every test: without root, with root and the kernel, and on other kernels
    Test {
        /// Only tests whose names contain one of these; `kernels` is the virtual machines
        filters: Vec<String>,
    },
    /// Boot other kernels in virtual machines, load every program and run a smoke test on each
    Kernels {
        /// Which: 6.1, 6.12, 6.18 or newest; all where none is named
        versions: Vec<String>,
        /// Look for newer packages of these kernels
        #[arg(long)]
        refresh: bool,
    },
    /// Fuzz codec, paths, detection and manifests; what is found becomes a test (needs a nightly compiler)
    Fuzz {
        /// Which: head, body, path, detect, sni, manifests or differential; all where none is named
        targets: Vec<String>,
        /// For how long each
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Set up, build, and run the demo; arguments go to it (try `--help` or `--keep`)
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of the demo
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Set up, build, and run the soak: every protocol at once while policy, pods and the agent change (try `--help`)
    #[command(disable_help_flag = true)]
    Soak {
        /// Arguments of the soak
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
}

const EXAMPLES: &str = "\
Examples:
  cargo xtask setup               everything that build, demo and tests need
  cargo xtask build               target/release/weir with the eBPF object inside
  cargo xtask build --ebpf-only   only target/bpf/weir.o
  cargo xtask lint                what has to be clean before a commit
  cargo xtask test                every test; the last line is their sum
  cargo xtask test split          tests whose names contain `split`
  cargo xtask kernels 6.1 newest  the smoke test on two kernels
  cargo xtask fuzz --seconds 600  every fuzz target, ten minutes each
  cargo xtask demo --keep         the demo; its playground stays up
  cargo xtask soak --seconds 60   a minute of everything at once

CARGO_TARGET_DIR is honoured: everything named target/ here lies there then.";

fn main() -> ExitCode {
    // Printed here, not by the standard library: a backtrace helps nobody who lacks a package.
    run(Cli::parse().command).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Setup { kernels } => {
            setup::run()?;
            setup::tests()?;
            if kernels {
                setup::kernels()?;
            }
        }
        Command::Build { ebpf_only: true, .. } => build::object(setup::build()?)?,
        Command::Build { debug, .. } => build::run(debug)?,
        Command::Lint => lint::run()?,
        Command::Test { filters } => return test::run(&filters),
        Command::Kernels { versions, refresh } => kernels::run(&versions, refresh)?,
        Command::Fuzz { targets, seconds } => fuzz::run(&targets, seconds)?,
        Command::Demo { args } => demo::run(&args)?,
        Command::Soak { args } => soak::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
