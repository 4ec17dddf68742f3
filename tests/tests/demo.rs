//! The demo as people run it.

use std::process::Command;

use anyhow::Result;
use weir_tests::exec;

#[test]
fn the_demo_shows_what_it_promises() -> Result<()> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-demo"));
    let output = exec::run(command.env("WEIR_BIN", exec::weir()?))?;
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.ends_with("| yes") || line.ends_with("| NO"))
        .collect();
    assert!(rows.len() >= 30, "{} rows", rows.len());
    assert!(rows.iter().all(|row| row.ends_with("| yes")), "{rows:#?}");
    let last = text.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
    assert!(last.starts_with(&format!("All {} as expected", rows.len())), "{last}");
    Ok(())
}
