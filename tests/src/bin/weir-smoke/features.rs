//! What the product itself says of this kernel: every row of `weir check`, which loads all programs for real.

use std::process::Command;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use weir_tests::exec;

use crate::Report;

/// One row per check of `weir check -o json`.
pub fn run(report: &mut Report) {
    let rows = match rows() {
        Ok(rows) => rows,
        Err(error) => return report.check("weir check", Err(error)),
    };
    for row in rows {
        let text = |field: &str| row.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = format!("weir check, {}", text("name"));
        match text("outcome") {
            "ok" => report.check(&name, Ok(())),
            "fallback" => report.fallback(&name),
            _ => report.check(&name, Err(anyhow!("{}", text("found").to_owned()))),
        }
    }
}

fn rows() -> Result<Vec<Value>> {
    // Its exit code says what the rows say.
    let output = Command::new(exec::weir()?).args(["check", "-o", "json"]).output()?;
    let error = || format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).with_context(error)?;
    if rows.is_empty() {
        return Err(anyhow!("weir check says nothing"));
    }
    Ok(rows)
}
