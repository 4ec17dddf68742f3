//! Another `sk_lookup` program in the pod's namespace that hands every connection to one of the app's own listeners.
//!
//! A program that selects a socket overrules another one's refusal (kernel: `BPF_PROG_SK_LOOKUP_RUN_ARRAY`): what such a
//! program opens must still be refused. Assembled by hand, because nothing of the product may be used here.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result};

// Numbers of linux/bpf.h.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;
const MAP_LOOKUP_ELEM: i32 = 1;
const SK_RELEASE: i32 = 86;
const SK_ASSIGN: i32 = 124;

/// One instruction: operation, registers (destination in the low half), offset, immediate.
const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> [u8; 8] {
    let (off, imm) = (offset.to_le_bytes(), immediate.to_le_bytes());
    [code, registers, off[0], off[1], imm[0], imm[1], imm[2], imm[3]]
}

/// Puts the listener into a map and attaches the program to this process's network namespace. Both stay until the
/// process ends.
pub fn attach(listener: &TcpListener) -> Result<()> {
    // key size, value size, entries, flags
    let map = bpf(MAP_CREATE, &words(&[MAP_TYPE_SOCKMAP, 4, 8, 1, 0])).context("making a sockmap")?;
    let (key, value) = (0_u32, listener.as_raw_fd() as u64);
    let update = [
        map.as_raw_fd() as u64,
        &raw const key as u64,
        &raw const value as u64,
        0,
    ];
    // SAFETY: key and value are alive, and as large as the map says.
    check(unsafe { libc::syscall(libc::SYS_bpf, MAP_UPDATE_ELEM, update.as_ptr(), size_of_val(&update)) })
        .context("putting the listener into the sockmap")?;

    let program = load(map.as_raw_fd()).context("loading the program")?;
    let namespace = File::open("/proc/self/ns/net").context("/proc/self/ns/net")?;
    let link = bpf(
        LINK_CREATE,
        &words(&[
            program.as_raw_fd() as u32,
            namespace.as_raw_fd() as u32,
            ATTACH_SK_LOOKUP,
            0,
        ]),
    )
    .context("attaching the program")?;
    // The link lives as long as its descriptor; the process's end closes it.
    std::mem::forget(link);
    Ok(())
}

fn load(map: RawFd) -> Result<OwnedFd> {
    let program: Vec<u8> = [
        instruction(0xbf, 0x16, 0, 0),            // r6 = r1
        instruction(0x62, 0x0a, -4, 0),           // *(u32 *)(r10 - 4) = 0
        instruction(0x18, 0x11, 0, map),          // r1 = map
        instruction(0, 0, 0, 0),                  //   second half of the wide instruction
        instruction(0xbf, 0xa2, 0, 0),            // r2 = r10
        instruction(0x07, 0x02, 0, -4),           // r2 += -4
        instruction(0x85, 0, 0, MAP_LOOKUP_ELEM), // r0 = the socket
        instruction(0x15, 0x00, 7, 0),            // if r0 == 0 goto out
        instruction(0xbf, 0x07, 0, 0),            // r7 = r0
        instruction(0xbf, 0x61, 0, 0),            // r1 = r6
        instruction(0xbf, 0x72, 0, 0),            // r2 = r7
        instruction(0xb7, 0x03, 0, 0),            // r3 = 0
        instruction(0x85, 0, 0, SK_ASSIGN),       // the lookup's answer is this socket
        instruction(0xbf, 0x71, 0, 0),            // r1 = r7
        instruction(0x85, 0, 0, SK_RELEASE),      //
        instruction(0xb7, 0x00, 0, 1),            // out: r0 = SK_PASS
        instruction(0x95, 0, 0, 0),               // exit
    ]
    .concat();
    let license = c"Apache-2.0";
    let mut log = vec![0_u8; 64 * 1024];
    let mut attr = Vec::new();
    attr.extend(words(&[PROG_TYPE_SK_LOOKUP, (program.len() / 8) as u32]));
    attr.extend((program.as_ptr() as u64).to_ne_bytes());
    attr.extend((license.as_ptr() as u64).to_ne_bytes());
    attr.extend(words(&[1, log.len() as u32]));
    attr.extend((log.as_mut_ptr() as u64).to_ne_bytes());
    // kernel version, flags, name (16 bytes), interface, expected attach type
    attr.extend(words(&[0, 0, 0, 0, 0, 0, 0, ATTACH_SK_LOOKUP]));
    bpf(PROG_LOAD, &attr).with_context(|| String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_string())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// A bpf(2) command that answers with a descriptor.
fn bpf(command: libc::c_long, attr: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: every pointer inside `attr` is alive in the caller; the kernel reads `attr.len()` bytes.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), attr.len()) })?;
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: libc::c_long) -> io::Result<RawFd> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        fd => Ok(fd as RawFd),
    }
}
