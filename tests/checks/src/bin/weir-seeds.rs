//! `weir-seeds TARGET DIR`: writes the seeds of a fuzz target. For `cargo xtask fuzz`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, dir] = &args[..] else {
        eprintln!("usage: weir-seeds TARGET DIR");
        return ExitCode::FAILURE;
    };
    match weir_checks::seeds::write(target, Path::new(dir)) {
        Ok(count) => {
            println!("{count}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("weir-seeds: {dir}: {error}");
            ExitCode::FAILURE
        }
    }
}
