//! The smoke test for a kernel: does it take every program, and do they capture, refuse and allow here?
//!
//! Run as root it tries the kernel that it runs on. Run as process 1 it is the init of the virtual machines of
//! `cargo xtask kernels`, and tries theirs. Biased towards a whole picture: a check that fails does not stop the next.
//! The exit code is 1 if any failed.

use std::process::ExitCode;

use anyhow::Result;

mod features;
mod guest;
mod traffic;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        guest::run();
    }
    let mut report = Report::default();
    features::run(&mut report);
    traffic::run(&mut report);
    if report.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Prints one line per check: `KM-CHECK ok NAME`, `KM-CHECK fallback NAME`, or `KM-CHECK fail NAME: why`.
/// A name holds no colon.
#[derive(Default)]
struct Report {
    failed: u32,
}

impl Report {
    /// A check that holds or not.
    fn check(&mut self, name: &str, result: Result<()>) {
        match result {
            Ok(()) => println!("KM-CHECK ok {name}"),
            Err(error) => {
                self.failed += 1;
                // One line, whatever the error holds: the console is read line by line.
                println!("KM-CHECK fail {name}: {}", format!("{error:#}").replace('\n', " / "));
            }
        }
    }

    /// Something that this kernel lacks and that has a second way.
    fn fallback(&mut self, name: &str) {
        println!("KM-CHECK fallback {name}");
    }
}
