//! Bounded queues between cores and whoever writes the lines.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

use super::{Entry, Logged};

/// Clients whose shares are remembered before those without a line are forgotten.
const CLIENTS: usize = 1024;

/// What the engine is started with to have an access log.
#[derive(Clone, Debug)]
pub struct AccessLog {
    logged: Logged,
    room: usize,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queues: Mutex<Vec<Receiver<Waiting>>>,
    writer: Mutex<Option<Thread>>,
}

/// The other end: what all cores have put in.
#[derive(Debug)]
pub struct Entries {
    shared: Arc<Shared>,
    queues: Vec<Receiver<Waiting>>,
}

/// An entry, and whose share it takes.
#[derive(Debug)]
struct Waiting {
    entry: Entry,
    shares: [Arc<AtomicUsize>; 2],
}

impl Drop for Waiting {
    fn drop(&mut self) {
        for share in &self.shares {
            share.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl AccessLog {
    /// A queue of `room` entries for each core, of which one client has a quarter at most.
    pub fn new(logged: Logged, room: usize) -> (AccessLog, Entries) {
        let shared = Arc::new(Shared::default());
        let entries = Entries {
            shared: shared.clone(),
            queues: Vec::new(),
        };
        let room = room.max(4);
        (AccessLog { logged, room, shared }, entries)
    }

    /// A queue for a core.
    pub(in super::super) fn queue(&self) -> Queue {
        let (sender, receiver) = sync_channel(self.room);
        let mut queues = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.push(receiver);
        Queue {
            log: self.clone(),
            sender,
            waiting: Arc::default(),
            clients: RefCell::default(),
        }
    }
}

impl Entries {
    /// Wakes this thread up when a queue is half full.
    pub fn wakes(&self, thread: Thread) {
        *self.shared.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Hands over what waits; says how much that was.
    pub fn take(&mut self, mut write: impl FnMut(&Entry)) -> usize {
        let mut new = self.shared.queues.lock().unwrap_or_else(PoisonError::into_inner);
        self.queues.append(&mut new);
        drop(new);
        let mut taken = 0;
        for queue in &self.queues {
            for waiting in queue.try_iter() {
                write(&waiting.entry);
                taken += 1;
            }
        }
        taken
    }
}

/// A core's queue.
#[derive(Debug)]
pub(in super::super) struct Queue {
    log: AccessLog,
    sender: SyncSender<Waiting>,
    /// How much waits.
    waiting: Arc<AtomicUsize>,
    /// How much of it is whose.
    clients: RefCell<HashMap<IpAddr, Arc<AtomicUsize>>>,
}

impl Queue {
    /// Whether such a thing is logged.
    pub fn wants(&self, refused: bool) -> bool {
        refused || self.log.logged == Logged::All
    }

    /// Puts an entry in; false if there is no room. `entry` is only made if there is.
    pub fn send(&self, client: IpAddr, entry: impl FnOnce() -> Entry) -> bool {
        let mut clients = self.clients.borrow_mut();
        if clients.len() >= CLIENTS && !clients.contains_key(&client) {
            clients.retain(|_, share| share.load(Ordering::Relaxed) > 0);
        }
        let share = clients.entry(client).or_default().clone();
        drop(clients);
        let before = self.waiting.load(Ordering::Relaxed);
        if before >= self.log.room || share.load(Ordering::Relaxed) >= self.log.room / 4 {
            return false;
        }
        let shares = [share, self.waiting.clone()];
        for share in &shares {
            share.fetch_add(1, Ordering::Relaxed);
        }
        let waiting = Waiting { entry: entry(), shares };
        let sent = self.sender.try_send(waiting).is_ok();
        if before == self.log.room / 8 {
            let writer = self.log.shared.writer.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(writer) = &*writer {
                writer.unpark();
            }
        }
        sent
    }
}
