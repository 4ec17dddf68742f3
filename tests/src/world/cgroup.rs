//! Control groups (version 2) of a world: what captures and what ends processes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::wait;

/// The mount point of cgroup v2, from `/proc/self/mountinfo`; on hybrid systems it is not `/sys/fs/cgroup`.
pub fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    for line in mounts.lines() {
        // man 5 proc: the fifth field is the mount point, the file system type follows " - ".
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        if after.starts_with("cgroup2 ")
            && let Some(path) = before.split(' ').nth(4)
        {
            return Ok(PathBuf::from(path));
        }
    }
    bail!("no cgroup2 in /proc/self/mountinfo: mount it (mount -t cgroup2 none /sys/fs/cgroup)")
}

/// Makes a control group; one that exists is no error.
pub fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making control group {}", path.display()))
}

/// Opens `cgroup.procs`, so that a child can join between `fork` and `exec` by writing `0`.
pub fn procs(path: &Path) -> Result<File> {
    let file = path.join("cgroup.procs");
    OpenOptions::new()
        .write(true)
        .open(&file)
        .with_context(|| format!("opening {}", file.display()))
}

/// Control groups directly below the mount point whose names begin with `prefix`.
pub fn list(prefix: &str) -> Result<Vec<String>> {
    let root = mount_point()?;
    let entries = fs::read_dir(&root).with_context(|| format!("{}", root.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Kills every process in the group and below (`cgroup.kill`, Linux 5.14), waits for their end, removes the groups.
pub fn destroy(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let kill = path.join("cgroup.kill");
    fs::write(&kill, "1").with_context(|| format!("writing {}", kill.display()))?;
    wait::until(Duration::from_secs(5), || {
        let events = fs::read_to_string(path.join("cgroup.events"))?;
        if !events.contains("populated 0") {
            bail!("processes in {} do not end: {}", path.display(), events.trim());
        }
        Ok(())
    })?;
    remove_below(path).with_context(|| format!("removing control group {}", path.display()))
}

fn remove_below(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
