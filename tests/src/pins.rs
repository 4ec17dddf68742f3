//! What an agent has pinned, asked of the kernel and not of the agent.
//!
//! Bias: raw `bpf(2)` and `/proc/self/fdinfo` rather than a library: the product uses one, and a fault there must not
//! hide here.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::world::Names;

// Commands of bpf(2), `linux/bpf.h`.
const MAP_LOOKUP_ELEM: i64 = 1;
const MAP_DELETE_ELEM: i64 = 3;
const MAP_GET_NEXT_KEY: i64 = 4;
const OBJ_GET: i64 = 7;
const MAP_GET_FD_BY_ID: i64 = 14;

/// The pins of one world's agent.
#[derive(Clone, Debug)]
pub struct Pins {
    dir: PathBuf,
}

/// A pinned link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number of the link. It stays while the program behind it is exchanged.
    pub link: u64,
    /// The kernel's number of the program that it runs.
    pub program: u64,
}

impl Pins {
    /// Those below the agent's folder in bpffs. There may be none.
    pub fn of(world: &Names) -> Pins {
        Pins { dir: world.bpffs() }
    }

    /// Names of all pins, relative to the folder; empty where there is no folder.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        collect(&self.dir, "", &mut names)?;
        names.sort();
        Ok(names)
    }

    /// The links by their pins' names.
    pub fn links(&self) -> Result<BTreeMap<String, Link>> {
        let mut names = Vec::new();
        collect(&self.dir.join("links"), "", &mut names)?;
        let mut links = BTreeMap::new();
        for name in names {
            let fd = open(&self.dir.join("links").join(&name))?;
            let (link, program) = (fdinfo(&fd, "link_id")?, fdinfo(&fd, "prog_id")?);
            links.insert(name, Link { link, program });
        }
        Ok(links)
    }

    /// Number of keys in the map pinned under that name.
    pub fn entries(&self, map: &str) -> Result<usize> {
        let fd = open(&self.dir.join("maps").join(map))?;
        Ok(keys(&fd).with_context(|| format!("reading map {map}"))?.len())
    }

    /// Empties the map pinned under that name, as an agent may have that died in the middle of its work.
    pub fn clear(&self, map: &str) -> Result<()> {
        let fd = open(&self.dir.join("maps").join(map))?;
        for key in keys(&fd).with_context(|| format!("reading map {map}"))? {
            let attr = [fd.as_raw_fd() as u64, key.as_ptr() as u64, 0, 0];
            // SAFETY: the key is as large as the map's.
            unsafe { bpf(MAP_DELETE_ELEM, &attr) }.with_context(|| format!("emptying map {map}"))?;
        }
        Ok(())
    }

    /// Number of keys in all the inner maps of a map of maps.
    pub fn inner_entries(&self, map: &str) -> Result<usize> {
        let outer = open(&self.dir.join("maps").join(map))?;
        let mut count = 0;
        for key in keys(&outer).with_context(|| format!("reading map {map}"))? {
            let mut id = [0_u8; 4];
            let attr = [outer.as_raw_fd() as u64, key.as_ptr() as u64, id.as_mut_ptr() as u64, 0];
            // SAFETY: key and value are as large as the map says (a map of maps shows ids, four bytes).
            match unsafe { bpf(MAP_LOOKUP_ELEM, &attr) } {
                // Its pod went meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
                result => result.with_context(|| format!("an entry of {map}"))?,
            };
            // SAFETY: the attribute holds no pointers.
            let Ok(inner) = (unsafe { bpf(MAP_GET_FD_BY_ID, &[u64::from(u32::from_ne_bytes(id)), 0]) }) else {
                continue;
            };
            // SAFETY: a new descriptor, nobody else's.
            let inner = unsafe { OwnedFd::from_raw_fd(inner) };
            count += keys(&inner).with_context(|| format!("an inner map of {map}"))?.len();
        }
        Ok(count)
    }
}

fn collect(dir: &Path, prefix: &str, names: &mut Vec<String>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("{}", dir.display())),
    };
    for entry in entries {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

fn open(pin: &Path) -> Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    // SAFETY: the path lives until the call returns.
    let fd = unsafe { bpf(OBJ_GET, &[path.as_ptr() as u64, 0]) }.with_context(|| format!("{}", pin.display()))?;
    // SAFETY: a new descriptor, nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A number that `/proc/self/fdinfo` tells of a BPF object.
fn fdinfo(fd: &OwnedFd, name: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"))
        .with_context(|| format!("no {name} in {text}"))?;
    value.trim().parse().with_context(|| format!("{name}: {value}"))
}

fn keys(map: &OwnedFd) -> Result<Vec<Vec<u8>>> {
    let size = usize::try_from(fdinfo(map, "key_size")?)?;
    let mut keys: Vec<Vec<u8>> = Vec::new();
    loop {
        let mut next = vec![0_u8; size];
        let last = keys.last().map_or(0, |key| key.as_ptr() as u64);
        let attr = [map.as_raw_fd() as u64, last, next.as_mut_ptr() as u64, 0];
        // SAFETY: both buffers are as large as the map's keys; null asks for the first one.
        match unsafe { bpf(MAP_GET_NEXT_KEY, &attr) } {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(keys),
            result => result?,
        };
        keys.push(next);
    }
}

/// `bpf(2)`. The attribute's fields are words here: those of 32 bits are at the lower end (little-endian machines).
///
/// # Safety
/// Pointers in the attribute have to be as the command wants them.
unsafe fn bpf(command: i64, attr: &[u64]) -> io::Result<i32> {
    // SAFETY: the caller's; the size is that of the attribute.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result as i32)
}
