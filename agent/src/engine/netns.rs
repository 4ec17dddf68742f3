//! Sockets in other network namespaces.
//!
//! Bias: a thread is away from home for a few system calls only, never across an `.await`, and never comes back to
//! the wrong place: if the way home fails the process aborts, because every socket it would open from then on would
//! belong to some pod. A [`Namespace`] owns a descriptor of the namespace, which keeps it alive.

use std::cell::OnceCell;
use std::fs::File;
use std::io;
use std::mem::size_of_val;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

thread_local! {
    /// Where this thread belongs: kept open, because the way home must not need a descriptor that may not be there.
    static HOME: OnceCell<Rc<File>> = const { OnceCell::new() };
}

/// A network namespace that sockets can be made in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Namespace(Option<Arc<OwnedFd>>);

impl Namespace {
    /// The one that the calling thread is in anyway.
    pub const fn own() -> Namespace {
        Namespace(None)
    }

    /// The one behind a file such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// The file can't be opened. That it is no network namespace shows at the first use.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Namespace> {
        Ok(Namespace::from(OwnedFd::from(File::open(path)?)))
    }

    /// Runs `make` inside the namespace, on this thread, and comes back.
    ///
    /// # Errors
    /// The namespace can't be entered (no `CAP_SYS_ADMIN`, or not a network namespace). `make` has not run then.
    pub(super) fn run<T>(&self, make: impl FnOnce() -> T) -> io::Result<T> {
        let Some(there) = &self.0 else { return Ok(make()) };
        let home = HOME.with(|home| match home.get() {
            Some(home) => Ok(home.clone()),
            None => File::open("/proc/thread-self/ns/net").map(|file| home.get_or_init(|| Rc::new(file)).clone()),
        })?;
        enter(there.as_fd())?;
        let _back = Back(home);
        Ok(make())
    }

    /// True if [`Namespace::run`] goes somewhere.
    pub(super) const fn is_elsewhere(&self) -> bool {
        self.0.is_some()
    }
}

impl From<OwnedFd> for Namespace {
    fn from(fd: OwnedFd) -> Namespace {
        Namespace(Some(Arc::new(fd)))
    }
}

/// Goes home when dropped, also while unwinding.
struct Back(Rc<File>);

impl Drop for Back {
    fn drop(&mut self) {
        if enter(self.0.as_fd()).is_err() {
            std::process::abort();
        }
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: setns takes a descriptor and a number, and changes this thread's network namespace only.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The cookie of the namespace that a socket belongs to (`SO_NETNS_COOKIE`, Linux 5.14).
pub(super) fn cookie_of(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the option writes at most `length` bytes, a u64, into `cookie`, which lives until the call returns.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok(cookie)
    } else {
        Err(io::Error::last_os_error())
    }
}
