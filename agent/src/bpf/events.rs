//! Refusals that the programs report, read from the ring buffer.
//!
//! Bias: each event stands for itself and for `suppressed` more of the same pod; what found the buffer full is counted by
//! the programs.

use std::os::fd::{AsRawFd, RawFd};

use aya::maps::{MapData, RingBuf};
use weir_abi::Event;

use super::load::{LoadError, Programs};

/// The reader. There may be only one.
pub struct Events {
    ring: RingBuf<MapData>,
}

impl Events {
    /// Takes the ring buffer out of the loaded programs.
    pub fn take(programs: &mut Programs) -> Result<Events, LoadError> {
        let map = programs.ebpf.take_map("EVENTS").ok_or(LoadError::Missing("EVENTS"))?;
        let ring = map
            .try_into()
            .map_err(|error| LoadError::Map { name: "EVENTS", error })?;
        Ok(Events { ring })
    }

    /// The next event, `None` when there is none for now. Readiness is told by the descriptor.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let item = self.ring.next()?;
            if item.len() >= size_of::<Event>() {
                // SAFETY: long enough, and any bytes are a valid event of integers.
                return Some(unsafe { std::ptr::read_unaligned(item.as_ptr().cast()) });
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}
