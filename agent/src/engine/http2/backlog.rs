//! What waits in the library for one client's connection: answers that its socket does not take, and bodies that came
//! before there was a connection to their server.
//!
//! Bias: known and bounded. The library keeps up to a send buffer for each stream, of which a client that does not read
//! could make very many; so no stream hands over more once [`MOST`] waits. What does wait is on the client's account.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};

use h2::{FlowControl, RecvStream};

/// Bytes of answers that wait for a client's socket before its streams do.
const MOST: usize = 256 * 1024;

/// One connection's.
#[derive(Default)]
pub(super) struct Backlog {
    /// Bytes of answers, handed over since the socket last took all.
    answers: Cell<usize>,
    /// Streams that wait until it does.
    stalled: RefCell<Vec<Waker>>,
    /// Bodies of requests that have nowhere to go yet.
    bodies: RefCell<Vec<Weak<Waiting>>>,
}

/// A body that waits, until this is dropped.
pub(super) struct Waiting(FlowControl);

impl Backlog {
    /// So much more of an answer was handed over.
    pub fn add(&self, bytes: u64) {
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.answers.set(self.answers.get().saturating_add(bytes));
    }

    /// Nothing more is to be handed over; the task is woken when that has changed.
    pub fn is_full(&self, cx: &Context<'_>) -> bool {
        let full = self.answers.get() >= MOST;
        if full {
            let mut stalled = self.stalled.borrow_mut();
            if !stalled.iter().any(|known| known.will_wake(cx.waker())) {
                stalled.push(cx.waker().clone());
            }
        }
        full
    }

    /// Counts what has come of a body until the answer is dropped.
    pub fn wait(&self, body: &mut RecvStream) -> Option<Rc<Waiting>> {
        if body.is_end_stream() {
            return None;
        }
        let waiting = Rc::new(Waiting(body.flow_control().clone()));
        self.bodies.borrow_mut().push(Rc::downgrade(&waiting));
        Some(waiting)
    }

    /// To be called behind each turn of the library: how many bytes wait. `blocked`: the socket has not taken all.
    pub fn settle(&self, blocked: bool) -> usize {
        if !blocked {
            self.answers.set(0);
            self.stalled.take().into_iter().for_each(Waker::wake);
        }
        let mut bodies = self.bodies.borrow_mut();
        let mut bytes = self.answers.get();
        bodies.retain(|body| match body.upgrade() {
            Some(body) => {
                bytes = bytes.saturating_add(body.0.used_capacity());
                true
            }
            None => false,
        });
        bytes
    }
}
