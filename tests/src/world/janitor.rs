//! Cleaning up after processes that could not.
//!
//! A test that panics unwinds and drops its world. One that is killed, or ended by Ctrl-C, does not: so each process
//! that makes worlds starts a janitor, a child in a session of its own that waits for the end of a pipe and then removes
//! every world of that process. What even a dead janitor left is swept by the next run.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use super::{PREFIX, cgroup, clean};
use crate::{exec, netns};

static JANITOR: OnceLock<Result<Child, String>> = OnceLock::new();

/// Starts this process's janitor and sweeps what dead processes left; the first call does it, later ones look.
pub fn start() -> Result<()> {
    let first = || {
        sweep_dead()?;
        let mut command = Command::new(exec::testapp()?);
        command
            .arg("janitor")
            .arg(std::process::id().to_string())
            .stdin(Stdio::piped());
        exec::own_session(&mut command);
        command.spawn().context("starting the janitor")
    };
    match JANITOR.get_or_init(|| first().map_err(|error| format!("{error:#}"))) {
        Ok(_) => Ok(()),
        Err(error) => Err(anyhow::anyhow!("{error}")),
    }
}

/// The janitor itself: waits for the end of standard input, then removes the worlds of process `pid`.
pub fn run(pid: &str) -> Result<()> {
    let mut nothing = Vec::new();
    std::io::stdin()
        .read_to_end(&mut nothing)
        .context("waiting for the end of the tests")?;
    let mut results = Vec::new();
    for id in worlds()? {
        if owner(&id) == Some(pid) {
            results.push(clean(&id));
        }
    }
    results.into_iter().collect()
}

fn sweep_dead() -> Result<()> {
    for id in worlds()? {
        if owner(&id).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Its own janitor may be at it right now: whoever comes second finds nothing.
            let _ = clean(&id);
        }
    }
    Ok(())
}

/// Ids of all worlds of which a namespace or a control group is there.
pub fn worlds() -> Result<BTreeSet<String>> {
    let names = netns::list(PREFIX)?.into_iter().chain(cgroup::list(PREFIX)?);
    Ok(names.filter_map(|name| id_of(&name)).collect())
}

/// `weir-t-12-3-client` → `weir-t-12-3`.
fn id_of(name: &str) -> Option<String> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    let (pid, number) = (parts.next()?, parts.next()?);
    Some(format!("{PREFIX}{pid}-{number}"))
}

fn owner(id: &str) -> Option<&str> {
    id.strip_prefix(PREFIX)?.split('-').next()
}
