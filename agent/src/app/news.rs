//! What is wrong, on the log: once, when it comes up, and again when it comes back. Owned by the app's task.

use std::collections::BTreeSet;

use tracing::{error, warn};
use weir_core::finding::{Finding, Severity};

use crate::cluster::manifests::Batch;
use crate::publish::Report;

/// What is wrong and was logged already.
#[derive(Debug, Default)]
pub struct News {
    known: BTreeSet<String>,
}

impl News {
    /// Logs what is wrong now and was not before.
    pub fn log(&mut self, findings: &[Finding], batch: &Batch, report: &Report) {
        let mut now = BTreeSet::new();
        let mut log = |severity: Severity, text: String| {
            if !self.known.contains(&text) && !now.contains(&text) {
                match severity {
                    Severity::Error => error!(finding = %text, "something is wrong and costs what it names"),
                    Severity::Warning => warn!(finding = %text, "something is hardly as meant"),
                }
            }
            now.insert(text);
        };
        for problem in &report.problems {
            log(Severity::Error, format!("part of the plan is not in force: {problem}"));
        }
        for problem in &batch.problems {
            log(Severity::Error, problem.to_string());
        }
        for found in &batch.findings {
            log(found.finding.severity, format!("{}: {}", found.place, found.finding));
        }
        for finding in findings {
            log(finding.severity, finding.to_string());
        }
        self.known = now;
    }
}
