//! The project's own commands: `cargo xtask --help`.
//!
//! Everything that a checkout needs beside cargo itself, so that two commands do the whole job on a fresh machine. One
//! file per command; each says what it does while it does it, and stops at the first thing that is not as it should be.

use std::ffi::OsString;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod build;
mod demo;
mod lint;
mod paths;
mod preflight;
mod run;
mod setup;

/// Weir's set-up, build, tests and demo.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Debian packages, and bpf-linker into the target directory
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
    /// Set up, build, and run the demo; arguments go to it (try `--help` or `--keep`)
    #[command(disable_help_flag = true)]
    Demo {
        /// Arguments of the demo
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
  cargo xtask demo --keep         the demo; its playground stays up

CARGO_TARGET_DIR is honoured: everything named target/ here lies there then.";

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Setup { kernels } => {
            setup::run()?;
            if kernels { setup::kernels() } else { Ok(()) }
        }
        Command::Build { ebpf_only: true, .. } => build::object(setup::build()?),
        Command::Build { debug, .. } => build::run(debug),
        Command::Lint => lint::run(),
        Command::Demo { args } => demo::run(&args),
    }
}
