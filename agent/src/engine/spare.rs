//! A descriptor in reserve, for when there is none.
//!
//! Bias: refuse at once. `accept` needs a descriptor even to turn somebody away; without one the connection would hang
//! in the listener's queue until the pressure goes. So each core keeps one open: it is closed, the connection accepted
//! and reset, and it is opened again.

use std::cell::RefCell;
use std::fs::File;
use std::io;

/// The descriptor.
pub(super) struct Spare(RefCell<Option<File>>);

impl Spare {
    /// Opens it, if one is left.
    pub fn new() -> Spare {
        let spare = Spare(RefCell::default());
        spare.fill();
        spare
    }

    /// Opens it again if it is gone. To be called now and then.
    pub fn fill(&self) {
        let mut file = self.0.borrow_mut();
        if file.is_none() {
            *file = File::open("/dev/null").ok();
        }
    }

    /// Runs `work`, for which there is a descriptor then, and which has to give it back. Another thread may snatch it, and `None` is that one has.
    pub fn lend<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        drop(self.0.borrow_mut().take()?);
        let done = work();
        self.fill();
        Some(done)
    }
}

/// True if the process, or the system, has no descriptor left.
pub(super) fn is_out(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
