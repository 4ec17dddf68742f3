//! Programs of others that run in pods: curl, and what `cargo xtask setup` builds from Go.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;
use crate::world::Pod;

/// A program that `cargo xtask setup` builds: in `WEIR_TOOLS`, or in `tools/go` of the target directory.
pub fn built(name: &str) -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("WEIR_TOOLS") {
        return Ok(Path::new(&dir).join(name));
    }
    let exe = std::env::current_exe().context("path of this program")?;
    let found = exe
        .ancestors()
        .map(|dir| dir.join("tools/go").join(name))
        .find(|path| path.is_file());
    found.with_context(|| format!("no {name}: build it (cargo xtask setup) or set WEIR_TOOLS"))
}

/// A server in a pod. Ends with the value.
pub struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts it, and waits until somebody listens on `port` in the pod.
    pub fn start(pod: &Pod, program: &str, args: &[&str], port: u16) -> Result<Daemon> {
        let mut command = pod.command(&built(program)?)?;
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command
            .spawn()
            .with_context(|| format!("starting {program} in pod {}", pod.name))?;
        let daemon = Daemon { child };
        wait::until(Duration::from_secs(10), || {
            let listening = run(pod
                .command(Path::new("ss"))?
                .args(["-Hltn", &format!("sport = :{port}")]))?;
            match listening.trim().is_empty() {
                true => bail!("{program} does not listen on {port} of pod {}", pod.name),
                false => Ok(()),
            }
        })?;
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What it writes to standard output; anything but success is an error with both outputs.
pub fn run(command: &mut Command) -> Result<String> {
    let output = crate::exec::run(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
