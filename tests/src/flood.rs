//! A process in a pod that floods, see `weir-testapp flood`.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};

use crate::exec;
use crate::world::Pod;

/// A running flood. Ends with the value.
pub struct Flood {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Flood {
    /// Starts it and waits until it is in full swing.
    pub fn start(pod: &Pod, kind: &str, to: SocketAddr) -> Result<Flood> {
        let mut command = pod.command(&exec::testapp()?)?;
        command.args(["flood", kind, &to.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("starting a flood in pod {}", pod.name))?;
        let output = child.stdout.take().context("the flood's standard output")?;
        let mut flood = Flood {
            child,
            output: BufReader::new(output),
        };
        match flood.line()?.as_str() {
            "on" => Ok(flood),
            other => bail!("the flood {kind} says {other:?}"),
        }
    }

    /// Ends it; how much it has done.
    pub fn stop(mut self) -> Result<u64> {
        drop(self.child.stdin.take());
        self.line()?.parse().context("the flood's count")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("the flood's standard output")?;
        Ok(line.trim_end().to_string())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
