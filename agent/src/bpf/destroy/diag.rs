//! sock_diag(7) over netlink, as far as sweeps need it: all TCP sockets of the thread's network namespace, and the end of
//! one. Layouts from Linux' `include/uapi/linux/inet_diag.h`.
//!
//! Bias: what the kernel says is taken as it is; a message that is too short is left out.

use std::io;
use std::mem::size_of;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use weir_abi::Addr;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

/// `struct inet_diag_sockid`: ports and addresses in network order.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct SockId {
    pub sport: u16,
    pub dport: u16,
    pub src: [u32; 4],
    pub dst: [u32; 4],
    pub interface: u32,
    pub cookie: [u32; 2],
}

/// `struct inet_diag_req_v2` behind its `struct nlmsghdr`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Request {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: SockId,
}

/// `struct inet_diag_msg`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Message {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: SockId,
    expires: u32,
    receive_queue: u32,
    write_queue: u32,
    uid: u32,
    inode: u32,
}

pub(super) struct Entry {
    pub family: u8,
    pub state: u8,
    pub inode: u32,
    pub id: SockId,
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

pub(super) struct Diag {
    socket: OwnedFd,
}

impl Diag {
    pub fn open() -> io::Result<Diag> {
        // SAFETY: plain system call; the descriptor is owned by nobody else.
        let socket = unsafe {
            let fd = libc::socket(
                libc::AF_NETLINK,
                libc::SOCK_RAW | libc::SOCK_CLOEXEC,
                libc::NETLINK_SOCK_DIAG,
            );
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Diag { socket })
    }

    fn send(&self, kind: u16, flags: i32, family: u8, id: SockId) -> io::Result<()> {
        let request = Request {
            length: size_of::<Request>() as u32,
            kind,
            flags: (libc::NLM_F_REQUEST | flags) as u16,
            sequence: 1,
            port: 0,
            family,
            protocol: libc::IPPROTO_TCP as u8,
            extensions: 0,
            pad: 0,
            states: u32::MAX,
            id,
        };
        // SAFETY: the request is plain data of the length that is passed.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                (&raw const request).cast(),
                size_of::<Request>(),
                0,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the buffer has the length that is passed.
        let length = unsafe { libc::recv(self.socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
        if length < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(length as usize)
        }
    }

    pub fn dump(&self, family: u8) -> io::Result<Vec<Entry>> {
        self.send(SOCK_DIAG_BY_FAMILY, libc::NLM_F_DUMP, family, SockId::default())?;
        let mut found = Vec::new();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            let length = self.receive(&mut buffer)?;
            let mut rest = &buffer[..length];
            while let Some((kind, body, next)) = split_message(rest) {
                match i32::from(kind) {
                    libc::NLMSG_DONE => return Ok(found),
                    libc::NLMSG_ERROR => return Err(error_of(body)),
                    _ => found.extend(entry_of(body)),
                }
                rest = next;
            }
        }
    }

    pub fn destroy(&self, entry: &Entry) -> io::Result<()> {
        self.send(SOCK_DESTROY, libc::NLM_F_ACK, entry.family, entry.id)?;
        let mut buffer = [0u8; 1024];
        let length = self.receive(&mut buffer)?;
        match split_message(&buffer[..length]) {
            Some((kind, body, _)) if i32::from(kind) == libc::NLMSG_ERROR && !is_ack(body) => Err(error_of(body)),
            _ => Ok(()),
        }
    }
}

/// One netlink message: its type, its body, and what follows it (aligned to 4).
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    const HEADER: usize = 16;
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

fn error_number(body: &[u8]) -> i32 {
    body.get(..4)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(-libc::EIO, i32::from_ne_bytes)
}

fn is_ack(body: &[u8]) -> bool {
    error_number(body) == 0
}

fn error_of(body: &[u8]) -> io::Error {
    io::Error::from_raw_os_error(-error_number(body))
}

fn entry_of(body: &[u8]) -> Option<Entry> {
    if body.len() < size_of::<Message>() {
        return None;
    }
    // SAFETY: long enough, and any bytes are a valid message; netlink aligns to 4 only, so it is read unaligned.
    let message = unsafe { std::ptr::read_unaligned(body.as_ptr().cast::<Message>()) };
    let address = |words: [u32; 4], port: u16| {
        let ip: IpAddr = match i32::from(message.family) {
            libc::AF_INET => Addr::from_v4_word(words[0]).to_ip(),
            _ => Addr(words).to_ip(),
        };
        SocketAddr::new(ip, u16::from_be(port))
    };
    Some(Entry {
        family: message.family,
        state: message.state,
        inode: message.inode,
        id: message.id,
        local: address(message.id.src, message.id.sport),
        remote: address(message.id.dst, message.id.dport),
    })
}

const _: () = {
    assert!(size_of::<SockId>() == 48);
    assert!(size_of::<Request>() == 16 + 56);
    assert!(size_of::<Message>() == 72);
};
