//! `cargo-fuzz`, built into the target directory, and the compilers that libFuzzer needs.

use anyhow::{Context, Result, bail};

use super::debian;
use crate::paths;
use crate::run::Run;

const VERSION: &str = "0.13.2";

/// libFuzzer is C++ and is built with the targets.
const PACKAGES: &[&str] = &["g++"];

/// Installs what is missing. A nightly compiler is looked for, not installed: it is the person's own toolchain.
pub fn install() -> Result<()> {
    debian::install(PACKAGES)?;
    let nightly = Run::new("rustup").args(["run", "nightly", "rustc", "--version"]);
    if nightly.without_env("RUSTUP_TOOLCHAIN").quiet().is_err() {
        bail!(
            "fuzzing needs a nightly compiler for its sanitizers: rustup toolchain install nightly --profile minimal"
        );
    }
    let stamp = paths::tools().join("cargo-fuzz.built");
    if paths::cargo_fuzz().exists() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == VERSION) {
        return Ok(());
    }
    eprintln!("setup: building cargo-fuzz {VERSION} (about a minute) …");
    Run::cargo()
        .args([
            "install",
            "cargo-fuzz",
            "--version",
            VERSION,
            "--locked",
            "--force",
            "--root",
        ])
        .arg(paths::tools())
        .env("CARGO_TARGET_DIR", paths::target().join("tools/build-fuzz"))
        .show()
        .context("cargo-fuzz did not build")?;
    let _ = std::fs::remove_dir_all(paths::target().join("tools/build-fuzz"));
    std::fs::write(&stamp, VERSION).with_context(|| format!("{}", stamp.display()))
}
