//! Processes inside pods.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

use crate::netns;
use crate::world::cgroup;

/// A command that joins the control group and the network namespace before it becomes `program`. It has a process
/// group of its own, so that Ctrl-C ends the tests and the tests end it.
pub fn command(program: &Path, namespace: &str, group: &Path) -> Result<Command> {
    let namespace = File::open(netns::path(namespace)).with_context(|| format!("network namespace {namespace}"))?;
    let mut procs = cgroup::procs(group)?;
    let mut command = Command::new(program);
    command.process_group(0);
    // SAFETY: the closure makes two system calls on descriptors that were opened before the fork, and one that sets the
    // signal mask; it allocates nothing.
    unsafe {
        command.pre_exec(move || {
            unblock_signals()?;
            procs.write_all(b"0")?;
            netns::enter(&namespace)
        });
    }
    Ok(command)
}

/// A child inherits the signals that its parent blocks, and an agent that blocks SIGTERM does not end.
fn unblock_signals() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is a valid value, and sigemptyset makes it the empty set; it lives through both calls,
    // which are async-signal-safe.
    let result = unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut())
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the child a session of its own: it outlives the terminal's Ctrl-C.
pub fn own_session(command: &mut Command) {
    // SAFETY: `setsid` is async-signal-safe and takes nothing.
    unsafe {
        command.pre_exec(|| match libc::setsid() {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

/// The test application: `WEIR_TESTAPP`, or `weir-testapp` beside this program or one directory above it.
pub fn testapp() -> Result<PathBuf> {
    find("WEIR_TESTAPP", "weir-testapp", None)
}

/// The product: `WEIR_BIN`, or `target/release/weir` of the workspace.
pub fn weir() -> Result<PathBuf> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/weir");
    find("WEIR_BIN", "weir", Some(default))
}

fn find(variable: &str, name: &str, default: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(variable).map(PathBuf::from) {
        if !path.is_file() {
            bail!("{variable}={}: no such file", path.display());
        }
        return path.canonicalize().with_context(|| format!("{}", path.display()));
    }
    let exe = std::env::current_exe().context("path of this program")?;
    let beside = exe.ancestors().skip(1).take(2).map(|dir| dir.join(name));
    match default.into_iter().chain(beside).find(|path| path.is_file()) {
        Some(path) => path.canonicalize().with_context(|| format!("{}", path.display())),
        None => bail!("no {name}: build it (cargo xtask build) or set {variable}"),
    }
}

/// Runs to the end; anything but success is an error with both outputs.
pub fn run(command: &mut Command) -> Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}
