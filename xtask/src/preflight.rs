//! What must hold before anything is changed: root, BPF, cgroup v2. Reads only.

use std::fs;
use std::io;

use anyhow::{Result, bail};

/// Capabilities that the agent and the tests use, by bit (`linux/capability.h`), and what for.
const CAPABILITIES: &[(u32, &str, &str)] = &[
    (12, "CAP_NET_ADMIN", "network namespaces, links and cgroup programs"),
    (21, "CAP_SYS_ADMIN", "entering network namespaces and mounting bpffs"),
    (39, "CAP_BPF", "loading programs"),
];

/// An error that names the first thing that is missing and why it is needed.
pub fn check() -> Result<()> {
    // SAFETY: geteuid has no preconditions and can't fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("not root: making network namespaces and loading eBPF programs needs it; run this with sudo -E");
    }
    let status = fs::read_to_string("/proc/self/status")?;
    for (bit, name, purpose) in CAPABILITIES {
        if effective_capabilities(&status).is_some_and(|set| set >> bit & 1 == 0) {
            bail!("no {name}: it is needed for {purpose}; in a container, run it privileged");
        }
    }
    if let Err(error) = make_map() {
        bail!("this kernel does not let us make a BPF map: {error}; is CONFIG_BPF_SYSCALL on, or a seccomp filter?");
    }
    if !has_cgroup2(&fs::read_to_string("/proc/self/mountinfo")?) {
        bail!("no cgroup v2 is mounted: programs are attached to it; mount -t cgroup2 none /sys/fs/cgroup");
    }
    Ok(())
}

/// The set of effective capabilities in `/proc/PID/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

/// True where a mountinfo line has the file system type cgroup2 (the first field after the dash).
fn has_cgroup2(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| {
        let after_dash = line.split_once(" - ").map(|(_, rest)| rest);
        after_dash.and_then(|rest| rest.split(' ').next()) == Some("cgroup2")
    })
}

/// Makes the smallest map there is and closes it again.
fn make_map() -> io::Result<()> {
    /// The head of `union bpf_attr` for `BPF_MAP_CREATE`.
    #[repr(C)]
    struct Attr {
        map_type: u32,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
        map_flags: u32,
    }
    const BPF_MAP_CREATE: libc::c_long = 0;
    const BPF_MAP_TYPE_ARRAY: u32 = 2;
    let attr = Attr {
        map_type: BPF_MAP_TYPE_ARRAY,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        map_flags: 0,
    };
    // SAFETY: the kernel reads `size_of::<Attr>()` bytes of the attribute, which lives until the call returns.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_MAP_CREATE, &raw const attr, size_of::<Attr>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made by the call above and nobody else knows it.
    unsafe { libc::close(fd as libc::c_int) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{effective_capabilities, has_cgroup2};

    #[test]
    fn cgroup2_is_found_by_type_and_not_by_path() {
        assert!(has_cgroup2(
            "29 28 0:26 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n"
        ));
        assert!(!has_cgroup2("29 28 0:26 / /sys/fs/cgroup2 rw - tmpfs cgroup2 rw\n"));
    }

    #[test]
    fn capabilities_are_read_as_a_mask() {
        let set = effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n");
        assert_eq!(set, Some(0x1ff_ffff_ffff));
    }
}
