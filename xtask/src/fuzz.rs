//! `cargo xtask fuzz`: each fuzz target for a while, on seeds made from the corpus.
//!
//! Biased towards a result: a target that finds something does not keep the next one from running; what was found is
//! kept where `cargo test -p weir-checks` runs it from then on. What libFuzzer has learnt stays under the target
//! directory, so that a second run goes on where the first one ended.

use std::path::{Path, PathBuf};
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::run::Run;
use crate::setup;

/// Every target; `fuzz/Cargo.toml` has the same.
const TARGETS: &[&str] = &["head", "body", "path", "detect", "sni", "manifests", "differential"];

/// Runs these targets, or all, each for so many seconds.
pub fn run(targets: &[String], seconds: u64) -> Result<()> {
    let targets: Vec<&str> = match targets {
        [] => TARGETS.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = targets.iter().find(|target| !TARGETS.contains(target)) {
        bail!("no fuzz target is called {unknown}; there are {}", TARGETS.join(", "));
    }
    setup::fuzz()?;
    let started = Instant::now();
    let mut found = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        eprintln!("\nfuzz: {target} for {seconds} s ({} of {})", number + 1, targets.len());
        let dirs = Dirs::new(target);
        let seeds = dirs.seed(target)?;
        let outcome = fuzz(target, &dirs, seconds);
        let kept = dirs.keep(target)?;
        match (outcome, kept.is_empty()) {
            (Ok(()), true) => eprintln!("fuzz: {target}: nothing found, {seeds} seeds"),
            (Err(error), true) => return Err(error.context(format!("{target} could not be fuzzed"))),
            (_, false) => found.push((*target, kept)),
        }
    }
    let seconds = started.elapsed().as_secs();
    if found.is_empty() {
        println!("fuzz: {} targets, nothing found, {seconds} s", targets.len());
        return Ok(());
    }
    for (target, files) in &found {
        for file in files {
            eprintln!("fuzz: {target}: {}", file.display());
        }
    }
    bail!("something was found: `cargo test -p weir-checks` fails on it until it is mended; commit the files then")
}

/// Where a target's inputs lie.
struct Dirs {
    seeds: PathBuf,
    learnt: PathBuf,
    artifacts: PathBuf,
}

impl Dirs {
    fn new(target: &str) -> Dirs {
        let root = paths::target().join("fuzz-corpus");
        Dirs {
            seeds: root.join("seeds").join(target),
            learnt: root.join("learnt").join(target),
            artifacts: root.join("artifacts").join(target),
        }
    }

    /// Makes the folders and writes the seeds anew; how many.
    fn seed(&self, target: &str) -> Result<usize> {
        let _ = fs::remove_dir_all(&self.seeds);
        let _ = fs::remove_dir_all(&self.artifacts);
        for dir in [&self.seeds, &self.learnt, &self.artifacts] {
            fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
        }
        let text = Run::cargo()
            .dir(&paths::root())
            .args([
                "run",
                "--quiet",
                "--package",
                "weir-checks",
                "--bin",
                "weir-seeds",
                "--",
                target,
            ])
            .arg(&self.seeds)
            .read()
            .context("the seeds")?;
        text.trim().parse().with_context(|| format!("weir-seeds said {text:?}"))
    }

    /// Copies what was found to where tests run it.
    fn keep(&self, target: &str) -> Result<Vec<PathBuf>> {
        let found = paths::root().join("tests/checks/found").join(target);
        let mut kept = Vec::new();
        for file in fs::read_dir(&self.artifacts)?.flatten() {
            fs::create_dir_all(&found)?;
            let to = found.join(file.file_name());
            fs::copy(file.path(), &to).with_context(|| format!("{}", to.display()))?;
            kept.push(to);
        }
        Ok(kept)
    }
}

fn fuzz(target: &str, dirs: &Dirs, seconds: u64) -> Result<()> {
    let artifacts = format!("-artifact_prefix={}/", dirs.artifacts.display());
    Run::new("rustup")
        .args(["run", "nightly"])
        .arg(paths::cargo_fuzz())
        .args(["fuzz", "run", "--fuzz-dir"])
        .arg(paths::root().join("fuzz"))
        .arg("--target-dir")
        .arg(paths::target().join("fuzz"))
        .arg(target)
        .args([&dirs.learnt as &Path, &dirs.seeds])
        .args(["--", &format!("-max_total_time={seconds}"), &artifacts])
        .args(["-max_len=4096", "-timeout=10", "-print_final_stats=1", "-verbosity=1"])
        .dir(&paths::root())
        .env(
            "RUST_BACKTRACE",
            env::var_os("RUST_BACKTRACE").unwrap_or_else(|| "0".into()),
        )
        .without_env("CARGO")
        .without_env("RUSTC")
        .without_env("RUSTUP_TOOLCHAIN")
        .without_env("LD_LIBRARY_PATH")
        .show()
}
