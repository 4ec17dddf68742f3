//! What can become of a connection, remembered.
//!
//! Bias: a Service may have hundreds of endpoints, and each of them has a say in how a connection to it begins and
//! whether an idle one is still of use. So the answer is found once for a client identity, a Service and a snapshot.
//! Owned by the core; a new snapshot empties it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;

use weir_core::identity::Identity;
use weir_core::snapshot::Snapshot;

use super::conn::Conn;
use super::judge::{self, Destination, Opening};

/// The answers for one snapshot. At most one for each client identity of this node and Service.
#[derive(Default)]
pub(super) struct Openings {
    generation: Cell<u64>,
    known: RefCell<HashMap<(Identity, SocketAddr), Opening>>,
}

impl Openings {
    /// [`judge::opening`] of this connection.
    pub fn of(&self, snapshot: &Snapshot, conn: &Conn) -> Opening {
        // Only a Service's address gets an entry: what else a pod may dial is not bounded, and is found out fast.
        if !matches!(Destination::of(snapshot, conn), Destination::Root(_)) {
            return judge::opening(snapshot, conn);
        }
        let mut known = self.known.borrow_mut();
        if self.generation.replace(snapshot.generation) != snapshot.generation {
            known.clear();
        }
        *known
            .entry((conn.identity(snapshot), conn.destination))
            .or_insert_with(|| judge::opening(snapshot, conn))
    }
}
