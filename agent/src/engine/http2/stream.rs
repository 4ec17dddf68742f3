//! One stream of a client: what is kept of it, its task, and how it is ended from outside.
//!
//! Bias: as little as possible between two frames. A stream is one task with one future; its deadline and the word that
//! its grant has gone are cells that the connection's task reads and writes. That task may have to wait for its turn, so a
//! stream that moves sees for itself that it was judged by the snapshot in force. Owned by the core's thread.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use weir_core::policy::Missing;

use super::super::conn::Conn;
use super::super::core::Core;
use super::super::judge::{self, Server};
use super::super::turns::Ticket;
use super::request::Asked;

/// A stream that was granted and is under way.
pub(super) struct Stream {
    /// Its request.
    pub asked: Asked,
    server: RefCell<Server>,
    ticket: Rc<Ticket>,
    clock: Rc<Cell<u64>>,
    deadline: Cell<u64>,
    stop: RefCell<Option<Stop>>,
    /// Generation of the snapshot that it was judged by last.
    judged: Cell<u64>,
    waker: RefCell<Option<Waker>>,
}

/// Why a stream's work is over before it was done.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its deadline has passed.
    Late,
    /// Nothing grants it any more. What is missing.
    Revoked(Missing),
    /// Its server is not who it was.
    Gone,
}

impl Stream {
    /// A stream that was judged by the snapshot of this generation, or a later one.
    pub fn new(core: &Core, asked: Asked, server: Server, judged: u64) -> Stream {
        Stream {
            asked,
            server: RefCell::new(server),
            ticket: Rc::default(),
            clock: core.clock(),
            deadline: Cell::new(u64::MAX),
            stop: RefCell::new(None),
            judged: Cell::new(judged),
            waker: RefCell::new(None),
        }
    }

    /// Where its request goes.
    pub fn server(&self) -> Server {
        self.server.borrow().clone()
    }

    /// Its request goes there from now on.
    pub fn goes_to(&self, server: Server) {
        self.server.replace(server);
    }

    /// It may go on for so long, give or take a tick.
    pub fn allow(&self, conn: &Conn, time: Duration) {
        let until = self.clock.get().saturating_add(time.as_millis() as u64);
        self.deadline.set(until);
        conn.allow_at_most_until(until);
    }

    /// When it has to have moved, in milliseconds of the core's clock. It is woken if that has passed.
    pub fn due(&self) -> u64 {
        let due = self.deadline.get();
        if due <= self.clock.get() {
            self.wake();
        }
        due
    }

    /// Judges it by the snapshot in force if it was not yet, and stops it if that has nothing for it.
    pub fn judge(&self, core: &Core, conn: &Conn) {
        let snapshot = core.snapshot();
        if self.judged.replace(snapshot.generation) == snapshot.generation {
            return;
        }
        core.counters.rejudged.one();
        let server = self.server.borrow();
        let stop = match judge::request_at(&snapshot, conn, &server, &self.asked) {
            _ if !server.is_current(&snapshot) => Stop::Gone,
            Ok(_) => return,
            Err(missing) => {
                super::report(core, conn, &server, &self.asked, &missing);
                Stop::Revoked(missing)
            }
        };
        core.counters.revoked.one();
        self.stop.replace(Some(stop));
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Runs the stream's work, in turns of its client, until it is through, too late, or stopped.
    pub async fn watched<F: Future>(&self, core: &Core, conn: &Conn, work: F) -> Result<F::Output, Stop> {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.judge(core, conn);
            if let Some(stop) = self.stop.borrow_mut().take() {
                return Poll::Ready(Err(stop));
            }
            let mut waker = self.waker.borrow_mut();
            if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *waker = Some(cx.waker().clone());
            }
            drop(waker);
            if !conn.account.may_go(&self.ticket, cx) {
                return Poll::Pending;
            }
            match work.as_mut().poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending if self.deadline.get() <= self.clock.get() => Poll::Ready(Err(Stop::Late)),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    }
}
