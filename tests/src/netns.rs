//! Named network namespaces, as `ip netns` keeps them: a bind mount under `/run/netns`.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{io, io::Write, thread};

use anyhow::{Context, Result, bail};

/// Where `ip netns` keeps its names.
pub const DIR: &str = "/run/netns";

/// Path of a named namespace.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// Makes a namespace with that name.
pub fn add(name: &str) -> Result<()> {
    ip(&["netns", "add", name], "")
}

/// Removes the name. The namespace itself goes with its last process and socket. A missing name is no error.
pub fn remove(name: &str) -> Result<()> {
    let path = path(name);
    let c_path = CString::new(path.to_string_lossy().as_bytes())?;
    // SAFETY: a valid C string; the call keeps no pointer.
    if unsafe { libc::umount2(c_path.as_ptr(), libc::MNT_DETACH) } != 0 {
        let error = io::Error::last_os_error();
        if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) {
            return Err(error).with_context(|| format!("unmounting {}", path.display()));
        }
    }
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Names that begin with `prefix`.
pub fn list(prefix: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(DIR) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(DIR),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Runs `work` in a thread of its own that is inside the namespace; the caller's thread stays where it is.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = File::open(path(name)).with_context(|| format!("network namespace {name}"))?;
    let inside = || {
        enter(&file).with_context(|| format!("entering network namespace {name}"))?;
        work()
    };
    match thread::scope(|scope| scope.spawn(inside).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Moves the calling thread into the namespace. Safe between `fork` and `exec`.
pub fn enter(namespace: &File) -> io::Result<()> {
    // SAFETY: an open descriptor; `setns` touches no memory of ours.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Writes a setting below `/proc/sys` of the namespace.
pub fn sysctl(name: &str, settings: &[(&str, &str)]) -> Result<()> {
    within(name, || {
        for (key, value) in settings {
            fs::write(Path::new("/proc/sys").join(key), value).with_context(|| format!("{key}={value} in {name}"))?;
        }
        Ok(())
    })
}

/// Runs `ip` lines inside the namespace, one after the other; stops at the first that fails.
pub fn batch(name: &str, lines: &str) -> Result<()> {
    ip(&["-n", name, "-batch", "-"], lines)
}

fn ip(args: &[&str], input: &str) -> Result<()> {
    let what = || format!("ip {} <<< {input:?}", args.join(" "));
    let mut child = Command::new("ip")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running ip (Debian package iproute2)")?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).with_context(what)?;
    }
    let output = child.wait_with_output().with_context(what)?;
    if !output.status.success() {
        bail!(
            "{}: {}: {}",
            what(),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
