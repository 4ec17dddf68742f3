//! Links: programs at the pods' cgroup and in the pods' network namespaces, pinned.
//!
//! Bias: a link that is there is kept and its program exchanged in place, so that an agent's restart leaves no gap.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tracing::{info, warn};

use super::load::Programs;
use super::netns::Netns;
use super::sys::{self, AttachType};

/// Program, attach type and pin name of each hook at the pods' cgroup. Enforcement first; and before it what notes which
/// answers are waited for.
pub const CGROUP_HOOKS: &[(&str, AttachType, &str)] = &[
    ("weir_leave", AttachType::CgroupEgress, "leave"),
    ("weir_arrive", AttachType::CgroupIngress, "arrive"),
    ("weir_connect4", AttachType::Connect4, "connect4"),
    ("weir_connect6", AttachType::Connect6, "connect6"),
    ("weir_sendmsg4", AttachType::SendMsg4, "sendmsg4"),
    ("weir_sendmsg6", AttachType::SendMsg6, "sendmsg6"),
    ("weir_recvmsg4", AttachType::RecvMsg4, "recvmsg4"),
    ("weir_recvmsg6", AttachType::RecvMsg6, "recvmsg6"),
    ("weir_peername4", AttachType::PeerName4, "peername4"),
    ("weir_peername6", AttachType::PeerName6, "peername6"),
];

/// A program could not be attached.
#[derive(Debug, Error)]
#[error("can't attach {hook} to {target}{hint}: {error}")]
pub struct LinkError {
    hook: String,
    target: String,
    hint: &'static str,
    error: io::Error,
}

/// The links of this agent.
#[derive(Debug)]
pub struct Links {
    folder: PathBuf,
    /// Pods whose namespace has a pinned sk_lookup link, an earlier agent's included.
    lookups: BTreeSet<u64>,
    /// Those of them whose link has this agent's program.
    current: BTreeSet<u64>,
}

impl Links {
    /// Attaches the cgroup hooks, or exchanges their programs where an earlier agent's links are pinned.
    ///
    /// To be called when the tables are filled.
    pub fn attach(programs: &Programs, cgroup: &Path) -> Result<Links, LinkError> {
        let folder = programs.bpffs.join("links");
        let failed = |hook: &str, error: io::Error| LinkError {
            hook: hook.to_owned(),
            target: cgroup.display().to_string(),
            hint: match error.raw_os_error() {
                Some(libc::EPERM) => ", maybe another program is attached there without the flag that lets others in",
                Some(libc::EBADF | libc::EINVAL) => ", maybe it is no cgroup v2 folder",
                _ => "",
            },
            error,
        };
        let target = File::open(cgroup).map_err(|error| failed("programs", error))?;
        let id = target.metadata().map_err(|error| failed("programs", error))?.ino();
        for (program, attach_type, name) in CGROUP_HOOKS {
            let fd = program_fd(programs, program).map_err(|error| failed(name, error))?;
            put(&folder.join(name), fd, target.as_fd(), *attach_type, Some(id)).map_err(|error| failed(name, error))?;
        }
        let lookups = lookups(&folder).unwrap_or_default();
        info!(cgroup = %cgroup.display(), hooks = CGROUP_HOOKS.len(), "eBPF programs attached");
        Ok(Links {
            folder,
            lookups,
            current: BTreeSet::new(),
        })
    }

    /// Attaches sk_lookup in a pod's namespace, or exchanges its program.
    pub fn attach_pod(&mut self, programs: &Programs, netns: &Netns) -> Result<(), LinkError> {
        let path = self.lookup_path(netns.cookie());
        program_fd(programs, "weir_lookup")
            .and_then(|fd| put(&path, fd, netns.as_fd(), AttachType::SkLookup, None))
            .map_err(|error| LinkError {
                hook: "sk_lookup".to_owned(),
                target: netns.path().display().to_string(),
                hint: "",
                error,
            })?;
        self.lookups.insert(netns.cookie());
        self.current.insert(netns.cookie());
        Ok(())
    }

    /// Detaches sk_lookup from every namespace that is not among `wanted`.
    pub fn keep_pods(&mut self, wanted: &BTreeSet<u64>) {
        let gone: Vec<u64> = self.lookups.difference(wanted).copied().collect();
        for cookie in gone {
            if let Err(error) = std::fs::remove_file(self.lookup_path(cookie)) {
                warn!(cookie, %error, "can't remove the sk_lookup link of a pod that is gone");
            }
            self.lookups.remove(&cookie);
            self.current.remove(&cookie);
        }
    }

    /// Whether the pod's link runs this agent's program. One that an earlier agent left may decide by tables that
    /// nobody fills any more.
    pub fn is_current(&self, cookie: u64) -> bool {
        self.current.contains(&cookie)
    }

    fn lookup_path(&self, cookie: u64) -> PathBuf {
        self.folder.join(format!("lookup-{cookie}"))
    }
}

fn lookups(folder: &Path) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        if let Some(cookie) = name.to_str().and_then(|name| name.strip_prefix("lookup-")) {
            found.extend(cookie.parse::<u64>());
        }
    }
    Ok(found)
}

fn program_fd<'a>(programs: &'a Programs, name: &str) -> io::Result<BorrowedFd<'a>> {
    let program = programs
        .ebpf
        .program(name)
        .ok_or_else(|| io::Error::other("no such program"))?;
    program.fd().map(|fd| fd.as_fd()).map_err(io::Error::other)
}

/// Exchanges the program of the link pinned at `path`, or makes and pins a new link. A link to another cgroup, or to
/// one that is gone, is replaced; `cgroup` is the id to compare with.
fn put(
    path: &Path,
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: AttachType,
    cgroup: Option<u64>,
) -> io::Result<()> {
    if path.exists() {
        let link = sys::open_pinned(path)?;
        let same = match cgroup {
            Some(id) => sys::link_info(link.as_fd())?.target == id,
            None => true,
        };
        if same && sys::link_update(link.as_fd(), program).is_ok() {
            return Ok(());
        }
        // The new link first: for a moment both run, which refuses twice and never opens.
        let fresh = sys::link_create(program, target, attach_type)?;
        std::fs::remove_file(path)?;
        return sys::pin(fresh.as_fd(), path);
    }
    let link = sys::link_create(program, target, attach_type)?;
    sys::pin(link.as_fd(), path)
}
