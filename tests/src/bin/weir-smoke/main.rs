//! The smoke test for a kernel: can everything that Weir needs be loaded here, and does it capture, refuse and allow?
//!
//! Run as root it tries the kernel that it runs on. Run as process 1 it is the init of the virtual machines of
//! `cargo xtask kernels`, and tries theirs. Biased towards a whole picture: a check that fails does not stop the next.
//! One line per check, `KM-CHECK ok NAME` or `KM-CHECK fail NAME: why`; the exit code is 1 if any failed.

use std::process::ExitCode;

mod checks;
mod guest;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        guest::run();
    }
    let mut failed = 0;
    for (name, check) in checks::ALL {
        match check() {
            Ok(()) => println!("KM-CHECK ok {name}"),
            Err(error) => {
                failed += 1;
                // One line, whatever the error holds: the console is read line by line.
                println!("KM-CHECK fail {name}: {}", format!("{error:#}").replace('\n', " / "));
            }
        }
    }
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
