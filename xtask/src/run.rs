//! Commands of other programs, run one at a time, with errors that say which command failed and how.
//!
//! Biased towards the person who reads the terminal: long steps show their own output, short ones show it only
//! when they fail. Nothing is kept between commands.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// One command and how to call it in an error.
pub struct Run {
    command: Command,
}

impl Run {
    /// A command by name or path, without standard input.
    pub fn new(program: impl AsRef<OsStr>) -> Run {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        Run { command }
    }

    /// The cargo that runs this xtask, or the one in `PATH`.
    pub fn cargo() -> Run {
        Run::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Run {
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Run {
        self.command.args(args);
        self
    }

    /// One variable of the environment.
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(key, value);
        self
    }

    /// A variable that the command must not inherit.
    pub fn without_env(mut self, key: &str) -> Run {
        self.command.env_remove(key);
        self
    }

    /// The folder that the command runs in.
    pub fn dir(mut self, dir: &Path) -> Run {
        self.command.current_dir(dir);
        self
    }

    /// Runs it with its output on our terminal. An error unless it exits with 0.
    pub fn show(mut self) -> Result<()> {
        let status = self.command.status().map_err(|error| self.not_started(&error))?;
        if !status.success() {
            bail!("{}: {status}", self.line());
        }
        Ok(())
    }

    /// Runs it silently. What it wrote is part of the error when it fails.
    pub fn quiet(self) -> Result<()> {
        self.output().map(drop)
    }

    /// Runs it silently and gives back what it wrote to standard output.
    pub fn read(self) -> Result<String> {
        let line = self.line();
        String::from_utf8(self.read_bytes()?).with_context(|| format!("{line}: output is not UTF-8"))
    }

    /// As [`Run::read`], for output that is not text.
    pub fn read_bytes(self) -> Result<Vec<u8>> {
        Ok(self.output()?.stdout)
    }

    /// The command itself, for callers that read its output while it runs or become it.
    pub fn into_command(self) -> Command {
        self.command
    }

    /// The command as one would type it: the program by its name alone, and without the environment.
    pub fn line(&self) -> String {
        let program = Path::new(self.command.get_program());
        let words = std::iter::once(program.file_name().unwrap_or(program.as_os_str())).chain(self.command.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// The error for a command that could not even start, with the likely cause.
    fn not_started(&self, error: &io::Error) -> anyhow::Error {
        let program = self.command.get_program().to_string_lossy();
        let cause = match error.kind() {
            io::ErrorKind::NotFound => "; is it installed?",
            io::ErrorKind::PermissionDenied => "; may this user run it?",
            _ => "",
        };
        anyhow::anyhow!("{program} did not start: {error}{cause}")
    }

    fn output(mut self) -> Result<Output> {
        let output = self.command.output().map_err(|error| self.not_started(&error))?;
        if output.status.success() {
            return Ok(output);
        }
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        bail!(
            "{}: {}\n{}",
            self.line(),
            output.status,
            tail(&String::from_utf8_lossy(&text), 30)
        );
    }
}

/// The last `lines` lines of a text, indented.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    let kept = all.get(all.len().saturating_sub(lines)..).unwrap_or_default();
    kept.iter().map(|line| format!("  {line}\n")).collect()
}
