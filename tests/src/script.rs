//! Programs that are not ours, as processes inside pods: spoken to by lines.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;
use crate::world::Pod;

/// The interpreter that Debian's `python3-…` packages belong to.
const PYTHON: &str = "/usr/bin/python3";

/// A process in a pod, with what it has said so far. Killed with the value.
pub struct Script {
    child: Child,
    input: Option<ChildStdin>,
    lines: Arc<Mutex<Vec<String>>>,
    name: String,
}

impl Script {
    /// Starts a Python program, given as text.
    pub fn python(pod: &Pod, text: &str, args: &[&str]) -> Result<Script> {
        let args = [&["-u", "-c", text], args].concat();
        Script::start(pod, Path::new(PYTHON), &args)
    }

    /// Starts a program. What it writes to standard output and standard error is told by lines.
    pub fn start(pod: &Pod, program: &Path, args: &[&str]) -> Result<Script> {
        if !program.is_file() {
            bail!("no {}: run `cargo xtask setup`", program.display());
        }
        let mut command = pod.command(program)?;
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {} in pod {}", program.display(), pod.name))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (output, errors) = (child.stdout.take(), child.stderr.take());
        follow(output.context("standard output")?, lines.clone());
        follow(errors.context("standard error")?, lines.clone());
        Ok(Script {
            input: child.stdin.take(),
            child,
            lines,
            name: pod.name.clone(),
        })
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("its standard input is closed")?;
        writeln!(input, "{line}").with_context(|| format!("the program in pod {} is gone", self.name))
    }

    /// Everything that it has said.
    pub fn said(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.clone()).unwrap_or_default()
    }

    /// Waits for a line that contains `words`, and takes it and what came before it out.
    pub fn hear(&self, words: &str) -> Result<String> {
        wait::until(Duration::from_secs(15), || {
            let mut lines = self
                .lines
                .lock()
                .map_err(|_| anyhow::anyhow!("a reader has panicked"))?;
            match lines.iter().position(|line| line.contains(words)) {
                Some(at) => Ok(lines.drain(..=at).next_back().unwrap_or_default()),
                None => bail!("the program in pod {} has not said {words:?}: {lines:?}", self.name),
            }
        })
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(from: impl std::io::Read + Send + 'static, to: Arc<Mutex<Vec<String>>>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Ok(mut lines) = to.lock() {
                lines.push(line);
            }
        }
    });
}
