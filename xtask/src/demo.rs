//! `cargo xtask demo`: set-up, build, then the demo itself in place of this process.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};

use crate::run::Run;
use crate::{build, paths, preflight, setup};

/// Becomes the demo. Returns only with an error.
pub fn run(args: &[OsString]) -> Result<()> {
    become_program("weir-demo", args)
}

/// Becomes that program of the tests, built in the release profile, so that Ctrl-C and every other signal reach it and it
/// can clean up. Returns only with an error.
pub fn become_program(name: &str, args: &[OsString]) -> Result<()> {
    // Whoever asks what it does needs neither root nor the eBPF toolchain.
    let asks = args.iter().any(|arg| arg == "--help" || arg == "-h");
    if !asks {
        preflight::check()?;
        setup::run()?;
        build::run(false)?;
    }
    Run::cargo()
        .dir(&paths::root())
        .args(["build", "--release", "--package", "weir-tests", "--bins"])
        .show()
        .with_context(|| format!("{name} did not build"))?;
    let program = Run::new(paths::release(name))
        .args(args)
        .env("WEIR_BIN", paths::release("weir"));
    let line = program.line();
    let error = program.into_command().exec();
    Err(error).context(line)
}
