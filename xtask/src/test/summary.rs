//! What ran: one line per part, and the sum as the last line, alone and plain, because scripts read it.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Marked `#[ignore]`.
    pub ignored: u64,
}

impl Counts {
    /// Reads libtest's `test result: ok. 5 passed; 0 failed; 1 ignored; …`. None for any other line.
    pub fn of_line(line: &str) -> Option<Counts> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut counts = Counts::default();
        for field in numbers.split("; ") {
            match field.split_once(' ') {
                Some((number, "passed")) => counts.passed = number.parse().ok()?,
                Some((number, "failed")) => counts.failed = number.parse().ok()?,
                Some((number, "ignored")) => counts.ignored = number.parse().ok()?,
                _ => {}
            }
        }
        Some(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, more: Counts) {
        self.passed += more.passed;
        self.failed += more.failed;
        self.ignored += more.ignored;
    }
}

/// What became of a part.
pub enum Outcome {
    /// It ran.
    Ran(Counts),
    /// It could not run on this machine, because of this.
    Skipped(String),
}

/// A part of the tests.
pub struct Part {
    /// What it is called in the summary.
    pub name: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took, building included.
    pub time: Duration,
}

/// All parts, in the order in which they ran.
#[derive(Default)]
pub struct Summary {
    parts: Vec<Part>,
}

impl Summary {
    /// One more part.
    pub fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    /// The sum of what ran.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for part in &self.parts {
            if let Outcome::Ran(counts) = part.outcome {
                total += counts;
            }
        }
        total
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "\nWhat ran:")?;
        for Part { name, outcome, time } in &self.parts {
            let seconds = time.as_secs_f32();
            match outcome {
                Outcome::Ran(Counts {
                    passed,
                    failed,
                    ignored,
                }) => {
                    writeln!(
                        f,
                        "  {name:<28} {passed:>5} passed {failed:>4} failed {ignored:>4} ignored {seconds:>7.1} s"
                    )?;
                }
                Outcome::Skipped(reason) => writeln!(f, "  {name:<28} skipped, because {reason}")?,
            }
        }
        let total = self.total();
        write!(f, "{} passed, {} failed", total.passed, total.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_of_libtest_are_counted_and_no_others() {
        let line = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.00s";
        assert_eq!(
            Counts::of_line(line),
            Some(Counts {
                passed: 5,
                failed: 2,
                ignored: 1
            })
        );
        assert_eq!(Counts::of_line("test a_result ... ok"), None);
    }

    #[test]
    fn the_last_line_is_the_sum_of_what_ran_alone() {
        let ran = |passed, failed| {
            Outcome::Ran(Counts {
                passed,
                failed,
                ignored: 3,
            })
        };
        let mut summary = Summary::default();
        for outcome in [ran(5, 0), Outcome::Skipped("there is no qemu".into()), ran(2, 1)] {
            summary.add(Part {
                name: "part".into(),
                outcome,
                time: Duration::from_secs(1),
            });
        }
        let text = summary.to_string();
        assert_eq!(text.lines().last(), Some("7 passed, 1 failed"));
        assert!(text.contains("skipped, because there is no qemu"));
    }
}
