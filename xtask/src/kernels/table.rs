//! What the machines said, and the table of it.
//!
//! The guest's words on the console, one a line: `KM-RELEASE uname`, `KM-CHECK ok NAME`, `KM-CHECK fallback NAME`,
//! `KM-CHECK fail NAME: why`, and at the end `KM-RC code`. A console without the last line is no result, whatever else it says.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// One check in the guest.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    name: String,
    standing: Standing,
}

/// How a check came out.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Holds,
    /// The kernel lacks it, and a second way took its place.
    SecondWay,
    /// It does not hold, because of this.
    Fails(String),
}

/// What became of one kernel.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The guest ran to its end.
    Ran {
        /// `uname -r` of the guest.
        release: String,
        /// Exit code of the smoke test.
        code: i32,
        /// All that it checked.
        checks: Vec<Check>,
    },
    /// No attempt came to its end: nothing is known about this kernel.
    NoResult {
        /// How often it was tried.
        attempts: u32,
    },
    /// It could not be tried on this machine, because of this.
    Skipped(String),
}

/// A kernel and what became of it.
pub struct Verdict {
    /// Its name in the matrix.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// The console of the last attempt.
    pub log: Option<PathBuf>,
    /// How long it took, all attempts together.
    pub time: Duration,
}

impl Outcome {
    /// Reads a console. None where the guest did not come to its end.
    pub fn of_console(console: &str) -> Option<Outcome> {
        let (mut release, mut checks, mut code) = (String::new(), Vec::new(), None);
        for line in console.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("KM-RELEASE ") {
                release = text.to_owned();
            } else if let Some(text) = line.strip_prefix("KM-CHECK ") {
                checks.extend(Check::of(text));
            } else if let Some(text) = line.strip_prefix("KM-RC ") {
                code = text.parse().ok();
            }
        }
        Some(Outcome::Ran {
            release,
            code: code?,
            checks,
        })
    }
}

impl Check {
    /// Reads what follows `KM-CHECK`.
    fn of(text: &str) -> Option<Check> {
        let (word, rest) = text.split_once(' ')?;
        let (name, fault) = rest.split_once(": ").unwrap_or((rest, ""));
        let (name, standing) = match word {
            "ok" => (rest, Standing::Holds),
            "fallback" => (rest, Standing::SecondWay),
            "fail" => (name, Standing::Fails(fault.to_owned())),
            _ => return None,
        };
        Some(Check {
            name: name.to_owned(),
            standing,
        })
    }

    fn failed(&self) -> bool {
        matches!(self.standing, Standing::Fails(_))
    }
}

impl Verdict {
    /// A kernel that was not tried.
    pub fn skipped(name: &'static str, reason: String) -> Verdict {
        Verdict {
            name,
            outcome: Outcome::Skipped(reason),
            log: None,
            time: Duration::ZERO,
        }
    }

    /// Checks that held, a second way included.
    pub fn passed(&self) -> u64 {
        self.checks().iter().filter(|check| !check.failed()).count() as u64
    }

    /// Checks that did not hold; one where the guest failed otherwise, or came to no result.
    pub fn failed(&self) -> u64 {
        let failed = self.checks().len() as u64 - self.passed();
        match &self.outcome {
            Outcome::Ran { code: 0, checks, .. } if !checks.is_empty() => failed,
            Outcome::Ran { .. } => failed.max(1),
            Outcome::NoResult { .. } => 1,
            Outcome::Skipped(_) => 0,
        }
    }

    fn checks(&self) -> &[Check] {
        match &self.outcome {
            Outcome::Ran { checks, .. } => checks,
            _ => &[],
        }
    }

    /// The kernel's own name for itself where it is known.
    fn release(&self) -> &str {
        match &self.outcome {
            Outcome::Ran { release, .. } => release,
            _ => self.name,
        }
    }

    fn cell(&self, name: &str) -> &'static str {
        let check = self.checks().iter().find(|check| check.name == name);
        match (&self.outcome, check.map(|check| &check.standing)) {
            (_, Some(Standing::Holds)) => "yes",
            (_, Some(Standing::SecondWay)) => "second way",
            (_, Some(Standing::Fails(_))) => "**no**",
            (Outcome::Ran { .. }, None) => "not reached",
            (Outcome::NoResult { .. }, None) => "no result",
            (Outcome::Skipped(_), None) => "skipped",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = self.name;
        match &self.outcome {
            Outcome::Ran { release, code, .. } => {
                let (passed, failed, seconds) = (self.passed(), self.failed(), self.time.as_secs_f32());
                write!(
                    f,
                    "{name} ({release}): {passed} passed, {failed} failed, {seconds:.1} s"
                )?;
                if *code != 0 {
                    write!(f, ", exit code {code}")?;
                }
                for Check { name, standing } in self.checks() {
                    if let Standing::Fails(fault) = standing {
                        write!(f, "\n  {name}: {}", shortened(fault))?;
                    }
                }
            }
            Outcome::NoResult { attempts } => write!(f, "{name}: no result in {attempts} attempts")?,
            Outcome::Skipped(reason) => write!(f, "{name}: skipped, because {reason}")?,
        }
        match &self.log {
            Some(log) if self.failed() > 0 => write!(f, "\n  its console is in {}", log.display()),
            _ => Ok(()),
        }
    }
}

/// Beginning and end of a long text: a verifier's refusal has its reason at the end. The console has all of it.
fn shortened(text: &str) -> String {
    const PART: usize = 240;
    let count = text.chars().count();
    if count <= 2 * PART {
        return text.to_owned();
    }
    let (head, tail) = (text.chars().take(PART), text.chars().skip(count - PART));
    head.chain(" … ".chars()).chain(tail).collect()
}

/// One row per check in the order of the first kernel that ran, one column per kernel.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut rows: Vec<&str> = Vec::new();
    for check in verdicts.iter().flat_map(Verdict::checks) {
        if !rows.contains(&check.name.as_str()) {
            rows.push(&check.name);
        }
    }
    let line = |first: &str, cells: Vec<&str>| format!("| {first} | {} |\n", cells.join(" | "));
    let mut text = line("", verdicts.iter().map(Verdict::release).collect());
    text += &line("---", vec!["---"; verdicts.len()]);
    for row in rows {
        text += &line(row, verdicts.iter().map(|verdict| verdict.cell(row)).collect());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str =
        "noise\r\nKM-RELEASE 6.1.0\r\nKM-CHECK ok a\r\nKM-CHECK fallback d\r\nKM-CHECK fail b c: why: so\r\n";

    #[test]
    fn a_console_without_an_end_is_no_result() {
        assert_eq!(Outcome::of_console(CONSOLE), None);
        assert_eq!(Outcome::of_console("KM-RC \r\n"), None);
    }

    #[test]
    fn a_failed_check_fails_the_kernel_and_shows_its_reason() {
        let outcome = Outcome::of_console(&format!("{CONSOLE}KM-RC 1\r\n")).unwrap();
        let verdict = Verdict {
            name: "6.1",
            outcome,
            log: None,
            time: Duration::from_secs(2),
        };
        assert_eq!((verdict.passed(), verdict.failed()), (2, 1));
        assert!(verdict.to_string().contains("b c: why: so"));
        let table = markdown(&[verdict]);
        assert!(table.contains("| d | second way |\n| b c | **no** |"), "{table}");
    }

    #[test]
    fn a_guest_that_checks_nothing_or_ends_badly_does_not_pass() {
        for console in ["KM-RC 0\n", "KM-CHECK ok a\nKM-RC 3\n"] {
            let outcome = Outcome::of_console(console).unwrap();
            assert_eq!(
                Verdict {
                    name: "6.1",
                    outcome,
                    log: None,
                    time: Duration::ZERO
                }
                .failed(),
                1
            );
        }
    }

    #[test]
    fn a_long_reason_keeps_both_ends() {
        let text = format!("refused: {} register R1", "x".repeat(1000));
        let short = shortened(&text);
        assert!(
            short.starts_with("refused: x") && short.ends_with("x register R1"),
            "{short}"
        );
        assert!(short.chars().count() < 500);
    }

    #[test]
    fn a_skipped_kernel_neither_passes_nor_fails() {
        let verdict = Verdict::skipped("6.1", "there is no qemu".into());
        assert_eq!((verdict.passed(), verdict.failed()), (0, 0));
        assert_eq!(verdict.to_string(), "6.1: skipped, because there is no qemu");
    }
}
