//! Whose turn it is: a core's time, shared out among clients and not among connections.
//!
//! Bias: a client with ten thousand busy connections gets no more turns than one with a single connection that has
//! something to do. A runtime polls whatever is ready in order of arrival, so that the one with more connections gets
//! more. Here each account may have [`QUANTUM`] turns in a round; who wants more waits in the account's own queue, and
//! a task of the core begins the next round behind everything that is ready. Nobody who stays below its quantum ever
//! waits, and a core that only one client keeps busy begins rounds as fast as it can.
//!
//! A turn is one poll of a connection, which ends behind one request or behind the read that makes it [`BYTES`], or one accept. So a flood
//! delays another client's turn by [`QUANTUM`] such turns at most, however many connections it comes by.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::account::Account;

/// Turns of one account in a round.
const QUANTUM: usize = 16;

/// A turn ends once so many bytes were moved in it.
pub(super) const BYTES: usize = 64 * 1024;

/// A core's rounds.
#[derive(Default)]
pub(super) struct Turns {
    round: Cell<u64>,
    /// Accounts that somebody waits in.
    waiting: RefCell<VecDeque<Rc<Account>>>,
    /// The task that begins rounds, while it sleeps.
    sleeper: RefCell<Option<Waker>>,
}

/// An account's part.
#[derive(Default)]
pub(super) struct Turn {
    round: Cell<u64>,
    taken: Cell<usize>,
    queue: RefCell<VecDeque<(Rc<Ticket>, Waker)>>,
}

/// Where one connection, or one listener, stands in its account's queue.
#[derive(Debug, Default)]
pub(super) struct Ticket(Cell<Stand>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stand {
    /// Not in it.
    #[default]
    Out,
    /// In it.
    Waits,
    /// Its turn has come.
    Called,
}

impl Account {
    /// True if it is the turn of who holds this ticket; else it waits, and its task is woken when it is.
    pub fn may_go(self: &Rc<Account>, ticket: &Rc<Ticket>, cx: &Context<'_>) -> bool {
        match ticket.0.get() {
            Stand::Called => {
                ticket.0.set(Stand::Out);
                return true;
            }
            Stand::Waits => return false,
            Stand::Out => {}
        }
        let (turn, turns) = (&self.turn, self.turns());
        if turn.round.get() != turns.round.get() {
            turn.round.set(turns.round.get());
            turn.taken.set(0);
        }
        let mut queue = turn.queue.borrow_mut();
        if queue.is_empty() && turn.taken.get() < QUANTUM {
            turn.taken.set(turn.taken.get() + 1);
            return true;
        }
        ticket.0.set(Stand::Waits);
        if queue.is_empty() {
            turns.waiting.borrow_mut().push_back(self.clone());
            if let Some(sleeper) = turns.sleeper.borrow_mut().take() {
                sleeper.wake();
            }
        }
        queue.push_back((ticket.clone(), cx.waker().clone()));
        false
    }

    /// Waits for a turn: between two steps of a task that is not polled by turns.
    pub async fn turn(self: &Rc<Account>, ticket: &Rc<Ticket>) {
        poll_fn(|cx| match self.may_go(ticket, cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Turns {
    /// Begins rounds while somebody waits. Runs as a task of its own, for ever.
    pub async fn run(self: Rc<Turns>) {
        poll_fn(|cx| {
            self.begin();
            if self.waiting.borrow().is_empty() {
                self.sleeper.replace(Some(cx.waker().clone()));
            } else {
                // Behind everything that is ready now: those that were just called, and everybody else.
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Forgets who waits: nobody will be called any more.
    pub fn close(&self) {
        for account in self.waiting.take() {
            account.turn.queue.take();
        }
    }

    /// A new round: every account gets its quantum, those who wait first.
    fn begin(&self) {
        self.round.set(self.round.get().wrapping_add(1));
        let accounts = self.waiting.borrow().len();
        for _ in 0..accounts {
            let Some(account) = self.waiting.borrow_mut().pop_front() else {
                return;
            };
            account.turn.round.set(self.round.get());
            let mut queue = account.turn.queue.borrow_mut();
            let called = queue.len().min(QUANTUM);
            for (ticket, waker) in queue.drain(..called) {
                ticket.0.set(Stand::Called);
                waker.wake();
            }
            account.turn.taken.set(called);
            let more = !queue.is_empty();
            drop(queue);
            if more {
                self.waiting.borrow_mut().push_back(account);
            }
        }
    }
}

/// Lets everybody else go on, and comes back in a turn of its own.
pub(super) async fn give_way() {
    let mut gave = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut gave, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::super::account::{Books, Client};
    use super::super::settings::Limits;
    use super::*;

    /// Polled as a connection is: nothing happens but in its turn.
    async fn always_busy(account: Rc<Account>, turns: Rc<Cell<usize>>) {
        let ticket = Rc::<Ticket>::default();
        poll_fn(|cx| {
            if account.may_go(&ticket, cx) {
                turns.set(turns.get() + 1);
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    #[test]
    fn a_thousand_busy_connections_get_no_more_turns_than_their_quantum_for_each_of_anothers() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let books = Books::new(&Limits::default(), 1, std::sync::Arc::default());
            let round = tokio::task::spawn_local(books.turns().clone().run());
            let of_flood = Rc::<Cell<usize>>::default();
            let flood = books.of(Client::Pod(1));
            for _ in 0..1000 {
                tokio::task::spawn_local(always_busy(flood.clone(), of_flood.clone()));
            }
            let (victim, ticket) = (books.of(Client::Pod(2)), Rc::<Ticket>::default());
            // All of them are in the queue, once.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            let before = of_flood.get();
            let thousand = async move {
                for _ in 0..1000 {
                    victim.turn(&ticket).await;
                    give_way().await;
                }
            };
            tokio::task::spawn_local(thousand).await.unwrap();
            let meanwhile = of_flood.get() - before;
            assert!(
                meanwhile >= 1000,
                "only {meanwhile}: the flood is to be slowed, not stopped"
            );
            assert!(
                meanwhile <= 1100 * QUANTUM,
                "{meanwhile} turns of the flood in 1000 of the victim"
            );
            round.abort();
            books.turns().close();
        });
    }

    #[test]
    fn every_connection_of_a_flood_gets_its_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let books = Books::new(&Limits::default(), 1, std::sync::Arc::default());
            let round = tokio::task::spawn_local(books.turns().clone().run());
            let account = books.of(Client::Pod(1));
            let each: Vec<_> = (0..100).map(|_| Rc::<Cell<usize>>::default()).collect();
            for turns in &each {
                tokio::task::spawn_local(always_busy(account.clone(), turns.clone()));
            }
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            let (least, most) = (each.iter().map(|t| t.get()).min(), each.iter().map(|t| t.get()).max());
            assert!(
                least > Some(10) && most.unwrap() - least.unwrap() <= 1,
                "{least:?} to {most:?}"
            );
            round.abort();
            books.turns().close();
        });
    }
}
