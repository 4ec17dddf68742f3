//! Buffers that nobody needs now.
//!
//! Bias: memory follows requests, not connections. Most connections are idle most of the time; a connection takes a set
//! of buffers at the first byte of a request and leaves it here behind the last one of the answer, so that no request
//! allocates and no idle connection holds. Owned by the core.

use std::cell::RefCell;

use bytes::BytesMut;

/// Sets that are kept.
const SETS: usize = 64;

/// What a large head or body has made a buffer grow to is given back beyond this.
const KEPT: usize = 16 * 1024;

/// One connection's buffers.
#[derive(Default)]
pub(super) struct Buffers {
    /// What the client has sent.
    pub input: BytesMut,
    /// What goes to the server.
    pub request: Vec<u8>,
    /// What the server has sent.
    pub response: BytesMut,
    /// What goes to the client.
    pub output: Vec<u8>,
}

/// A core's shelf.
#[derive(Default)]
pub(in super::super) struct Shelf(RefCell<Vec<Buffers>>);

impl Shelf {
    /// Takes a set; an empty one if there is none.
    pub(super) fn take(&self) -> Buffers {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    /// Leaves a set, without what is in it.
    pub(super) fn put(&self, mut buffers: Buffers) {
        let mut sets = self.0.borrow_mut();
        if sets.len() >= SETS {
            return;
        }
        for buffer in [&mut buffers.input, &mut buffers.response] {
            buffer.clear();
            if buffer.capacity() > KEPT {
                *buffer = BytesMut::new();
            }
        }
        for buffer in [&mut buffers.request, &mut buffers.output] {
            buffer.clear();
            buffer.shrink_to(KEPT);
        }
        sets.push(buffers);
    }
}
