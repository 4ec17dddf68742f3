//! `weir suggest`: the policy that would allow what mode `audit` let pass.
//!
//! Bias: just what was seen and no more. Paths are exact, methods are those that came, ports are named. What can't be
//! put into a rule is said on standard error, never widened into one. The same log gives the same text, in whatever
//! order its lines are.

mod log;
mod policy;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

pub use policy::Suggestion;

/// Print the TrafficTargets and routes that allow what namespaces in mode `audit` let pass without a rule.
///
/// Reads the agent's log, text or JSON. Nothing is changed: read the result, make patterns of what is one thing, and
/// apply it before the mode becomes `enforce`.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit status: 0, 1 where something that was let pass is in no rule (standard error says why), 2 where FILE can't be read.

Examples:
  weir suggest agent.log > policy.yaml
  kubectl logs -n weir ds/weir | weir suggest - > policy.yaml")]
pub struct SuggestArgs {
    /// Log of the agent; - is standard input
    #[arg(value_name = "FILE|-")]
    log: PathBuf,
}

/// Runs `weir suggest`: policy on standard output, what is not in it on standard error.
///
/// # Errors
/// The log can't be read, or standard output is closed.
pub fn run(args: SuggestArgs) -> anyhow::Result<ExitCode> {
    let suggestion = if args.log.as_os_str() == "-" {
        suggest(io::stdin().lock()).context("can't read standard input")?
    } else {
        let path = args.log.display();
        let file = File::open(&args.log).with_context(|| format!("can't open the log {path}"))?;
        suggest(BufReader::new(file)).with_context(|| format!("can't read the log {path}"))?
    };
    io::stdout()
        .write_all(suggestion.yaml.as_bytes())
        .context("can't print the policy")?;
    for note in &suggestion.left_out {
        eprintln!("weir: {note}");
    }
    Ok(ExitCode::from(u8::from(!suggestion.left_out.is_empty())))
}

/// What the lines of a log suggest.
///
/// # Errors
/// A line can't be read.
pub fn suggest(log: impl BufRead) -> io::Result<Suggestion> {
    let mut seen = policy::Seen::default();
    // Not `lines()`: a byte that is no UTF-8 costs its line only.
    for line in log.split(b'\n') {
        seen.add(log::read(&String::from_utf8_lossy(&line?)));
    }
    Ok(seen.suggest())
}
