//! What each client has of everything that is bounded.
//!
//! Bias: the client pays. A pod of this node pays for the connections that it makes; whoever connects to a pod from
//! elsewhere pays by its address, so that one client can't use up what a server's other clients need. Connections
//! and waiting reports are counted across cores, at their ends; what belongs to a request (requests in flight, bytes,
//! idle upstream connections, turns) is counted by each core for itself, out of its part of the whole, so that no two
//! cores write to one cache line while requests run. Each core owns its accounts; [`Payers`] is what they share.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::pool::Order;
use super::settings::Limits;
use super::share::Cap;
use super::turns::{Turn, Turns};

/// Who pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// A pod of this node, by the cookie of its network namespace.
    Pod(u64),
    /// Whoever connects to this pod, before it is known who that is.
    Callers(u64),
    /// Whoever connects to a pod of this node from outside of it.
    Address(IpAddr),
}

/// What one client has in all cores together.
#[derive(Debug, Default)]
pub(super) struct Payer {
    /// Open connections.
    open: AtomicUsize,
    /// Refusals that wait to be told.
    pub reports: AtomicUsize,
}

/// Every client that has something, and the sum.
#[derive(Debug, Default)]
pub(super) struct Payers {
    open: AtomicUsize,
    each: Mutex<HashMap<Client, Arc<Payer>>>,
}

impl Payers {
    fn find(&self, client: Client) -> Arc<Payer> {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.entry(client).or_default().clone()
    }

    /// Drops what no core has an account for. `Arc` counts can't rise meanwhile: only [`Payers::find`] hands them out.
    fn tidy(&self) {
        let mut each = self.each.lock().unwrap_or_else(PoisonError::into_inner);
        each.retain(|_, payer| Arc::strong_count(payer) > 1);
    }
}

/// A core's sums, and the caps on them.
struct Ledger {
    payers: Arc<Payers>,
    connections: Cap,
    requests: Cap,
    bytes: Cap,
    idle: Cap,
    requests_now: Cell<usize>,
    bytes_now: Cell<usize>,
    idle_now: Cell<usize>,
    turns: Rc<Turns>,
}

/// A core's books.
pub(super) struct Books {
    ledger: Rc<Ledger>,
    accounts: RefCell<HashMap<Client, Rc<Account>>>,
}

impl Books {
    /// For one of `cores` cores.
    pub fn new(limits: &Limits, cores: usize, payers: Arc<Payers>) -> Books {
        let cap = |all, pod| Cap {
            all,
            pod,
            share: usize::from(limits.pod_share),
        };
        let ledger = Rc::new(Ledger {
            payers,
            connections: cap(limits.connections, limits.connections_per_pod),
            requests: cap(limits.requests, limits.requests_per_pod).of_core(cores),
            bytes: cap(limits.buffered_bytes, limits.buffered_bytes_per_pod).of_core(cores),
            idle: cap(limits.idle_upstreams, limits.idle_upstreams_per_pod).of_core(cores),
            requests_now: Cell::default(),
            bytes_now: Cell::default(),
            idle_now: Cell::default(),
            turns: Rc::default(),
        });
        Books {
            ledger,
            accounts: RefCell::default(),
        }
    }

    /// This client's account.
    pub fn of(&self, client: Client) -> Rc<Account> {
        let open = || {
            Rc::new(Account {
                ledger: self.ledger.clone(),
                payer: self.ledger.payers.find(client),
                requests: Cell::default(),
                bytes: Cell::default(),
                idle: RefCell::default(),
                turn: Turn::default(),
            })
        };
        self.accounts.borrow_mut().entry(client).or_insert_with(open).clone()
    }

    /// Closes the accounts of those who have nothing any more. To be called every second or so: not at once, because
    /// a client between two connections must not find its turns renewed.
    pub fn tidy(&self) {
        let mut accounts = self.accounts.borrow_mut();
        let before = accounts.len();
        accounts.retain(|_, account| Rc::strong_count(account) > 1);
        if accounts.len() < before {
            self.ledger.payers.tidy();
        }
    }

    /// The account with the most idle upstream connections.
    pub fn idlest(&self) -> Option<Rc<Account>> {
        let accounts = self.accounts.borrow();
        accounts
            .values()
            .max_by_key(|account| account.idle.borrow().len())
            .cloned()
    }

    /// Requests in flight, bytes buffered and idle upstream connections, now.
    pub fn now(&self) -> (usize, usize, usize) {
        let ledger = &self.ledger;
        (ledger.requests_now.get(), ledger.bytes_now.get(), ledger.idle_now.get())
    }

    /// Whose turn it is.
    pub fn turns(&self) -> &Rc<Turns> {
        &self.ledger.turns
    }
}

/// What a client has at one core.
pub(super) struct Account {
    ledger: Rc<Ledger>,
    payer: Arc<Payer>,
    requests: Cell<usize>,
    bytes: Cell<usize>,
    /// Its idle upstream connections, the oldest first; the pool's.
    idle: RefCell<VecDeque<Order>>,
    /// Its part in the core's round.
    pub turn: Turn,
}

impl Account {
    /// Takes a place for a connection, or none if the client has its share or the engine is full.
    pub fn seat(&self) -> Option<Seat> {
        let payers = &self.ledger.payers;
        // Counted first, so that two cores can't both take the last one; dropped again if that was too many.
        let used = payers.open.fetch_add(1, Ordering::Relaxed);
        let own = self.payer.open.fetch_add(1, Ordering::Relaxed);
        let seat = Seat {
            payers: payers.clone(),
            payer: self.payer.clone(),
        };
        let bytes = self.ledger.bytes_now.get() < self.ledger.bytes.all;
        (bytes && self.ledger.connections.fits(own, used)).then_some(seat)
    }

    /// Takes a place for a request (an HTTP/2 stream is one, too), until it is dropped. `None`: to be answered with 503.
    pub fn request(self: &Rc<Account>) -> Option<Permit> {
        let (own, used) = (self.requests.get(), self.ledger.requests_now.get());
        self.ledger.requests.fits(own, used).then(|| {
            self.requests.set(own + 1);
            self.ledger.requests_now.set(used + 1);
            Permit(self.clone())
        })
    }

    /// How many more bytes may wait in buffers for this client.
    pub fn room(&self) -> usize {
        self.ledger.bytes.room(self.bytes.get(), self.ledger.bytes_now.get())
    }

    /// Has an idle upstream connection's place for it.
    pub fn has_idle_place(&self) -> bool {
        self.ledger
            .idle
            .fits(self.idle.borrow().len(), self.ledger.idle_now.get())
    }

    /// Notes an idle upstream connection.
    pub fn add_idle(&self, order: Order) {
        self.idle.borrow_mut().push_back(order);
        self.ledger.idle_now.set(self.ledger.idle_now.get() + 1);
    }

    /// Its oldest idle upstream connection.
    pub fn oldest_idle(&self) -> Option<Order> {
        self.idle.borrow().front().cloned()
    }

    /// Forgets an idle upstream connection.
    pub fn remove_idle(&self, number: u64) {
        let mut idle = self.idle.borrow_mut();
        // The newest is taken most often; those behind it are few.
        if let Some(at) = idle.iter().rposition(|order| order.number == number) {
            idle.remove(at);
            self.ledger.idle_now.set(self.ledger.idle_now.get().saturating_sub(1));
        }
    }

    /// What counts for all cores.
    pub fn payer(&self) -> &Arc<Payer> {
        &self.payer
    }

    /// The core's round.
    pub fn turns(&self) -> &Rc<Turns> {
        &self.ledger.turns
    }

    fn hold(&self, more: usize, less: usize) {
        for now in [&self.bytes, &self.ledger.bytes_now] {
            now.set(now.get().saturating_add(more).saturating_sub(less));
        }
    }
}

/// A connection's place.
pub(super) struct Seat {
    payers: Arc<Payers>,
    payer: Arc<Payer>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.payers.open.fetch_sub(1, Ordering::Relaxed);
        self.payer.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request's place.
pub(super) struct Permit(Rc<Account>);

impl Drop for Permit {
    fn drop(&mut self) {
        let (own, all) = (&self.0.requests, &self.0.ledger.requests_now);
        own.set(own.get().saturating_sub(1));
        all.set(all.get().saturating_sub(1));
    }
}

/// Bytes that a connection holds in its buffers.
pub(super) struct Held {
    account: Rc<Account>,
    bytes: Cell<usize>,
}

impl Held {
    /// None yet, on this account.
    pub fn new(account: Rc<Account>) -> Held {
        Held {
            account,
            bytes: Cell::default(),
        }
    }

    /// Notes that it is so many now.
    pub fn set(&self, bytes: usize) {
        let before = self.bytes.replace(bytes);
        if before != bytes {
            self.account.hold(bytes, before);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.account.hold(0, self.bytes.get());
    }
}
