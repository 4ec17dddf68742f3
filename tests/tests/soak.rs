//! The soak, for a short while. `cargo xtask soak` runs it for as long as one likes.

use std::process::Command;

use anyhow::Result;
use weir_tests::exec;

#[test]
fn half_a_minute_of_everything_at_once_shows_no_violation() -> Result<()> {
    // A wide grace: other things may run on this machine at the same time.
    let args = ["--seconds", "25", "--rate", "400", "--grace-ms", "1500", "--seed", "1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-soak"));
    let output = exec::run(command.args(args).env("WEIR_BIN", exec::weir()?))?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert_eq!(text.lines().last(), Some("0 violations, seed 1"));
    for kind in [
        "kept",
        "fresh",
        "pipelined",
        "upgraded",
        "echo",
        "tls",
        "up",
        "down",
        "udp",
    ] {
        let line = text.lines().find(|line| line.starts_with(kind)).unwrap_or_default();
        let mut numbers = line
            .split_whitespace()
            .skip(1)
            .map(|number| number.parse().unwrap_or(0));
        let (served, refused): (u64, u64) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        assert!(served > 10 && refused > 10, "too little of it: {line}");
    }
    Ok(())
}
