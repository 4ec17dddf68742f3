//! `cargo xtask test`: every test, those that need root and the kernel included, and at the end what ran.
//!
//! Biased towards a complete picture: a failing part does not keep the next one from running. The parts that need the
//! kernel fail where they can't run; only the virtual machines may be skipped, with the reason in the summary.

use std::io::{BufRead, BufReader, Write};
use std::process::{ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

mod summary;

use crate::kernels::{self, Verdict};
use crate::run::Run;
use crate::{build, paths, preflight, setup};
use summary::{Counts, Outcome, Part, Summary};

/// Runs all parts, or of each part the tests whose names contain one of the filters.
pub fn run(filters: &[String]) -> Result<ExitCode> {
    preflight::check()?;
    setup::run()?;
    setup::tests()?;
    build::run(false)?;

    let mut summary = Summary::default();
    summary.add(cargo_test(
        "unit, golden, property",
        &["--workspace", "--exclude", "weir-tests"],
        filters,
    ));
    summary.add(cargo_test("root and kernel", &["--package", "weir-tests"], filters));
    // The matrix is one test per kernel, by this name.
    if filters.is_empty() || filters.iter().any(|filter| "kernels".contains(filter.as_str())) {
        matrix().into_iter().for_each(|part| summary.add(part));
    }
    let total = summary.total();
    if total.passed + total.failed == 0 {
        bail!("no test has a name with {}", filters.join(" or "));
    }
    println!("{summary}");
    // No error after this: the sum stays the last line.
    Ok(if total.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// One `cargo test`, shown while it runs and counted by the harness's own result lines.
fn cargo_test(name: &str, packages: &[&str], filters: &[String]) -> Part {
    let start = Instant::now();
    let outcome = match count(packages, filters) {
        Ok(counts) => Outcome::Ran(counts),
        Err(error) => {
            eprintln!("{name}: {error:#}");
            Outcome::Ran(Counts {
                failed: 1,
                ..Counts::default()
            })
        }
    };
    Part {
        name: name.into(),
        outcome,
        time: start.elapsed(),
    }
}

fn count(packages: &[&str], filters: &[String]) -> Result<Counts> {
    let run = Run::cargo()
        .dir(&paths::root())
        .args(["test", "--no-fail-fast"])
        .args(packages)
        .arg("--")
        .args(filters)
        .env("WEIR_BIN", paths::release("weir"));
    let line = run.line();
    eprintln!("\ntest: {line}");
    let mut child = run.into_command().stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    let mut terminal = std::io::stdout().lock();
    for text in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|stdout| BufReader::new(stdout).lines())
    {
        let text = text?;
        writeln!(terminal, "{text}")?;
        counts += Counts::of_line(&text).unwrap_or_default();
    }
    let status = child.wait()?;
    let ran = counts.passed + counts.failed;
    if !status.success() && counts.failed == 0 {
        // It did not compile, or a test binary died before it could say what failed.
        eprintln!("{line}: {status} without a failed test; counted as one");
        counts.failed = 1;
    } else if ran == 0 && filters.is_empty() {
        bail!("{line}: no test ran");
    }
    Ok(counts)
}

/// The oldest kernel that is supported and one more, in virtual machines.
fn matrix() -> Vec<Part> {
    let start = Instant::now();
    eprintln!("\ntest: kernels");
    match kernels::check(kernels::IN_TESTS, false) {
        Ok(verdicts) => verdicts.into_iter().map(part).collect(),
        Err(error) => {
            eprintln!("kernels: {error:#}");
            let outcome = Outcome::Ran(Counts {
                failed: 1,
                ..Counts::default()
            });
            vec![Part {
                name: "kernels".into(),
                outcome,
                time: start.elapsed(),
            }]
        }
    }
}

fn part(verdict: Verdict) -> Part {
    let name = format!("kernel {}", verdict.name);
    let counts = Counts {
        passed: verdict.passed(),
        failed: verdict.failed(),
        ignored: 0,
    };
    let time = verdict.time;
    let outcome = match verdict.outcome {
        kernels::Outcome::Skipped(reason) => Outcome::Skipped(reason),
        _ => Outcome::Ran(counts),
    };
    Part { name, outcome, time }
}
