//! Where cgroup v2 and bpffs are. Asked of `/proc/self/mountinfo`, never assumed: on hybrid systems cgroup v2 sits at
//! `/sys/fs/cgroup/unified`, and bpffs is often not mounted at all.

use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// `statfs` type of bpffs (`linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
/// `statfs` type of cgroup v2.
const CGROUP2_SUPER_MAGIC: i64 = 0x6367_7270;

/// The first mount of cgroup v2.
pub fn cgroup2() -> io::Result<Option<PathBuf>> {
    Ok(find_mount(&std::fs::read_to_string("/proc/self/mountinfo")?, "cgroup2"))
}

/// The mount point of the first file system of a type. Format: proc(5), `/proc/pid/mountinfo`.
fn find_mount(mountinfo: &str, fs_type: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next()? == fs_type).then(|| before.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// Whether a path lies in a bpffs.
pub fn is_bpffs(path: &Path) -> io::Result<bool> {
    Ok(fs_type(path)? == BPF_FS_MAGIC)
}

/// Whether a path is a cgroup v2 folder.
pub fn is_cgroup2(path: &Path) -> io::Result<bool> {
    Ok(fs_type(path)? == CGROUP2_SUPER_MAGIC)
}

fn fs_type(path: &Path) -> io::Result<i64> {
    let text = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: an all-zero statfs is valid; the path and the result live until the call returns.
    let info = unsafe {
        let mut info: libc::statfs = std::mem::zeroed();
        if libc::statfs(text.as_ptr(), &mut info) != 0 {
            return Err(io::Error::last_os_error());
        }
        info
    };
    Ok(info.f_type as i64)
}

/// Mounts bpffs on an existing folder.
pub fn mount_bpffs(path: &Path) -> io::Result<()> {
    let target = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    // SAFETY: plain system call; all strings live until it returns.
    let result = unsafe { libc::mount(c"bpf".as_ptr(), target.as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) };
    if result != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_type() {
        let text = "25 30 0:23 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro\n\
                    26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            find_mount(text, "cgroup2"),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(find_mount(text, "bpf"), None);
    }
}
