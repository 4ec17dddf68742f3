//! Network namespaces of pods: entered by a thread that ends there, named by the kernel's cookie.
//!
//! Bias: a thread for each visit costs some 50 µs and can't leave anything in the wrong namespace. The engine, which
//! opens sockets for requests, has its own way.

use std::fs::File;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// `getsockopt(SOL_SOCKET, …)` option of Linux 5.14: the cookie of the socket's network namespace.
const SO_NETNS_COOKIE: i32 = 71;

/// A namespace could not be used.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The file is not there.
    #[error(
        "can't open network namespace {path}, maybe the pod is gone or its annotation weir.dev/netns is wrong: {error}"
    )]
    Open {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// `setns` or what was done inside failed.
    #[error(
        "can't work in network namespace {path}, maybe it is no network namespace, or the agent lacks CAP_SYS_ADMIN: {error}"
    )]
    Enter {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

/// A pod's network namespace. It stays alive as long as this is open.
#[derive(Debug)]
pub struct Netns {
    path: PathBuf,
    file: File,
    cookie: u64,
}

impl Netns {
    /// Opens the namespace at `path` and asks for its cookie.
    pub fn open(path: &Path) -> Result<Netns, NetnsError> {
        let file = File::open(path).map_err(|error| NetnsError::Open {
            path: path.to_owned(),
            error,
        })?;
        let mut netns = Netns {
            path: path.to_owned(),
            file,
            cookie: 0,
        };
        netns.cookie = netns.run(|| cookie(UdpSocket::bind("0.0.0.0:0")?.as_fd()))?;
        Ok(netns)
    }

    /// The kernel's name for it: unique while the machine runs, never reused.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` inside.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, NetnsError> {
        let fd = self.file.as_raw_fd();
        let outcome = std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                // SAFETY: plain system call on an open descriptor; this thread never leaves the namespace again.
                if unsafe { libc::setns(fd, libc::CLONE_NEWNET) } != 0 {
                    return Err(io::Error::last_os_error());
                }
                work()
            });
            inside
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("panicked inside the namespace")))
        });
        outcome.map_err(|error| NetnsError::Enter {
            path: self.path.clone(),
            error,
        })
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// The cookie of a socket's network namespace.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut value = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: `value` has the length that is passed and lives until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut value).cast(),
            &mut length,
        )
    };
    if result != 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(value)
    }
}
