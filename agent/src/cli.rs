//! The command line. Each command has a file of its own with its arguments and a `run`.
//!
//! Output is for people by default and for programs with `-o json`; logs go to standard error. Exit codes: 0 fine,
//! 1 the answer is no (refused, findings, something is lacking), 2 the question could not be answered.

pub mod agent;
pub mod check;
pub mod explain;
mod limits;
pub mod lint;
pub mod suggest;
pub mod uninstall;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

/// Where an agent pins its programs and maps unless told otherwise.
const BPFFS: &str = "/sys/fs/bpf/weir";

/// A service mesh without sidecars: SMI policy, decided in the kernel where no L7 is needed.
#[derive(Debug, Parser)]
#[command(name = "weir", version, propagate_version = true)]
#[command(after_help = "Examples:\n  weir check\n  weir lint -f deploy/examples/shop\n  \
    weir explain -f deploy/examples/shop shop/buyer shop/store:80 GET /books\n  \
    weir agent --manifests deploy/examples/shop")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Agent(agent::AgentArgs),
    Check(check::CheckArgs),
    Explain(explain::ExplainArgs),
    Lint(lint::LintArgs),
    Suggest(suggest::SuggestArgs),
    Uninstall(uninstall::UninstallArgs),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How results look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Logs to standard error, from `info` up unless `RUST_LOG` says otherwise.
fn init_log(format: LogFormat) {
    // The HTTP/2 library warns about frames of peers, which would let a pod fill the log.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,h2=off"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    // A second initialisation, in tests, is no error.
    let _ = match format {
        LogFormat::Text => subscriber
            .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
            .try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Agent(args) => agent::run(args),
        Command::Check(args) => check::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Lint(args) => lint::run(args),
        Command::Suggest(args) => suggest::run(args),
        Command::Uninstall(args) => uninstall::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("weir: {error:#}");
        ExitCode::from(2)
    })
}
