//! `weir lint`: what is wrong with manifests, without a cluster.
//!
//! Bias: an error is something that is wrong whatever else there is. What the files refer to and don't hold may be
//! elsewhere: where they hold no object of that kind at all, that is a warning, and things that only pods can tell
//! are not asked. The findings are those of the converters and of the compiler, so `weir agent` says the same.

mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::Output;
pub use report::{Entry, Report, check};

/// Check manifests without a cluster: every finding with object, field and a hint.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Exit status: 0 without errors (there may be warnings), 1 with errors, 2 where a path can't be read.

Examples:
  weir lint deploy/                       every manifest of a folder, and how they fit together
  weir lint -f split.yaml -f routes.yaml  some files
  weir lint -o json deploy/ | jq '.entries[] | select(.severity == \"error\")'")]
pub struct LintArgs {
    /// File, or folder that is searched for *.yaml, *.yml and *.json; may be repeated
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE|DIR",
        required_unless_present = "paths"
    )]
    files: Vec<PathBuf>,
    /// The same without -f
    #[arg(value_name = "FILE|DIR")]
    paths: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Runs `weir lint` and prints the report on standard output.
///
/// # Errors
/// A path does not exist or can't be looked at, or standard output is closed.
pub fn run(args: LintArgs) -> anyhow::Result<ExitCode> {
    let paths = [args.files, args.paths].concat();
    let report = check(&paths)?;
    let text = match args.output {
        Output::Text => report.to_string(),
        Output::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("can't print the report")?;
    Ok(ExitCode::from(u8::from(report.errors > 0)))
}
