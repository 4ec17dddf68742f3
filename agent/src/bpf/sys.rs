//! The few bpf(2) commands that aya has no public call for: links that are updated in place, and a lookup that
//! removes what it finds. Layouts from `union bpf_attr` in Linux' `include/uapi/linux/bpf.h`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const MAP_CREATE: i32 = 0;
const MAP_UPDATE_ELEM: i32 = 2;
const OBJ_PIN: i32 = 6;
const OBJ_GET: i32 = 7;
const OBJ_GET_INFO_BY_FD: i32 = 15;
const MAP_LOOKUP_AND_DELETE_ELEM: i32 = 21;
const LINK_CREATE: i32 = 28;
const LINK_UPDATE: i32 = 29;

/// `enum bpf_attach_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AttachType {
    /// cgroup_skb ingress.
    CgroupIngress = 0,
    /// cgroup_skb egress.
    CgroupEgress = 1,
    /// cgroup/connect4.
    Connect4 = 10,
    /// cgroup/connect6.
    Connect6 = 11,
    /// cgroup/sendmsg4.
    SendMsg4 = 14,
    /// cgroup/sendmsg6.
    SendMsg6 = 15,
    /// cgroup/recvmsg4.
    RecvMsg4 = 19,
    /// cgroup/recvmsg6.
    RecvMsg6 = 20,
    /// cgroup/getpeername4.
    PeerName4 = 29,
    /// cgroup/getpeername6.
    PeerName6 = 30,
    /// sk_lookup.
    SkLookup = 36,
}

fn bpf<T>(command: i32, attr: &mut T) -> io::Result<i64> {
    // SAFETY: `attr` is a prefix of `union bpf_attr` of the size that is passed, and lives until the call returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            (attr as *mut T).cast::<libc::c_void>(),
            size_of::<T>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn owned(fd: i64) -> OwnedFd {
    // SAFETY: a descriptor that the kernel has just returned and that nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

#[repr(C)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    // The rest of the command's members stay zero.
    rest: [u32; 3],
}

/// A hash map (`BPF_MAP_TYPE_HASH`) that grows as it is filled.
pub fn hash_map<K: aya::Pod, V: aya::Pod>(max_entries: u32) -> io::Result<OwnedFd> {
    const HASH: u32 = 1;
    const NO_PREALLOC: u32 = 1;
    map_create::<K, V>(HASH, max_entries, NO_PREALLOC)
}

/// A hash map that loses its oldest entries when it is full (`BPF_MAP_TYPE_LRU_HASH`). All its memory is taken at once.
pub fn lru_hash_map<K: aya::Pod, V: aya::Pod>(max_entries: u32) -> io::Result<OwnedFd> {
    const LRU_HASH: u32 = 9;
    map_create::<K, V>(LRU_HASH, max_entries, 0)
}

fn map_create<K: aya::Pod, V: aya::Pod>(kind: u32, max_entries: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut attr = MapCreate {
        kind,
        key_size: size_of::<K>() as u32,
        value_size: size_of::<V>() as u32,
        max_entries,
        flags,
        rest: [0; 3],
    };
    bpf(MAP_CREATE, &mut attr).map(owned)
}

#[repr(C)]
struct MapElement {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// Takes an entry out of a hash map (Linux 5.14). `None` where there is none.
pub fn map_take<K: aya::Pod, V: aya::Pod + Default>(map: BorrowedFd<'_>, key: &K) -> io::Result<Option<V>> {
    let mut value = V::default();
    let mut attr = MapElement {
        map: map.as_raw_fd() as u32,
        pad: 0,
        key: (key as *const K) as u64,
        value: (&raw mut value) as u64,
        flags: 0,
    };
    match bpf(MAP_LOOKUP_AND_DELETE_ELEM, &mut attr) {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets an entry. The map's key and value sizes must be those of `K` and `V`.
pub fn map_set<K: aya::Pod, V: aya::Pod>(map: BorrowedFd<'_>, key: &K, value: &V) -> io::Result<()> {
    let mut attr = MapElement {
        map: map.as_raw_fd() as u32,
        pad: 0,
        key: (key as *const K) as u64,
        value: (value as *const V) as u64,
        flags: 0,
    };
    bpf(MAP_UPDATE_ELEM, &mut attr).map(drop)
}

#[repr(C)]
struct LinkCreate {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    // The kernel refuses sizes that cut a member of the union; the rest stays zero.
    rest: [u64; 4],
}

/// Attaches a program to a cgroup (beside others, as links always are) or a network namespace.
pub fn link_create(program: BorrowedFd<'_>, target: BorrowedFd<'_>, attach_type: AttachType) -> io::Result<OwnedFd> {
    let mut attr = LinkCreate {
        program: program.as_raw_fd() as u32,
        target: target.as_raw_fd() as u32,
        attach_type: attach_type as u32,
        flags: 0,
        rest: [0; 4],
    };
    bpf(LINK_CREATE, &mut attr).map(owned)
}

#[repr(C)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

/// Puts another program in the place of a link's, atomically.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdate {
        link: link.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        flags: 0,
        old_program: 0,
    };
    bpf(LINK_UPDATE, &mut attr).map(drop)
}

#[repr(C)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

fn path_text(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Pins a link, program or map.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let text = path_text(path)?;
    let mut attr = Object {
        path: text.as_ptr() as u64,
        fd: fd.as_raw_fd() as u32,
        flags: 0,
    };
    bpf(OBJ_PIN, &mut attr).map(drop)
}

/// Opens what is pinned.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let text = path_text(path)?;
    let mut attr = Object {
        path: text.as_ptr() as u64,
        fd: 0,
        flags: 0,
    };
    bpf(OBJ_GET, &mut attr).map(owned)
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_link_info`, as far as cgroup and namespace links fill it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkInfo {
    /// `enum bpf_link_type`.
    pub kind: u32,
    /// Link id.
    pub id: u32,
    /// Id of the program in force.
    pub program: u32,
    pad: u32,
    /// Cgroup links: the cgroup's id (its inode). Namespace links: inode in the low half.
    pub target: u64,
    rest: [u64; 8],
}

/// What a link is.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr = InfoByFd {
        fd: link.as_raw_fd() as u32,
        length: size_of::<LinkInfo>() as u32,
        info: (&raw mut info) as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}
