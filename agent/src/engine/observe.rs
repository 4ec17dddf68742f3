//! What has passed between workloads, in numbers.
//!
//! Bias: a request pays a lookup by two integers and some additions. Each core has a table of its own, whose numbers it
//! alone writes; strings are looked at when a core meets a pair of workloads for the first time, and at scrape. What a
//! request may choose (path, method, host, status, gRPC status) never makes a new number: there are classes and fixed lists.
//!
//! ```text
//!   Ongoing ─▶ Ledger (a core's) ─▶ Edge ─▶ Cells of a protocol      Registry (all cores') ─▶ scrape
//!                  └──── the first time ─────────────────────────────────▲
//! ```

mod cells;
mod ledger;
mod numbers;
mod registry;
mod turn;

pub(super) use cells::Edge;
pub(super) use ledger::{Flow, Ledger, Seat};
pub use numbers::{EdgeNumbers, Numbers, Side, SplitNumbers};
pub(super) use registry::Registry;
pub use turn::Turn;

use weir_core::snapshot::PodInfo;

use super::core::Core;
use super::kernel::Direction;
use super::outcome::{Ongoing, Protocol};
use super::refuse::Reason;

impl Core {
    /// Takes note of what something came to. [`Ongoing`] calls it when it is dropped.
    pub fn observe(&self, told: &Ongoing<'_>) {
        let asked;
        let edge = match told.edge() {
            Some(edge) => edge,
            None => {
                asked = self.ledger.asked(&self.snapshot(), told.conn());
                &*asked
            }
        };
        let protocol = told.protocol.get();
        if let Some(cells) = edge.cells(protocol) {
            if !matches!(protocol, Protocol::Tcp | Protocol::Tls) {
                cells.answered(told.status.get());
            }
            if matches!(protocol, Protocol::Http1 | Protocol::Http2 | Protocol::Grpc) {
                cells.took(told.started.elapsed());
            }
            if protocol == Protocol::Grpc {
                cells.grpc(told.grpc.get());
            }
            let (up, down) = told.uncounted();
            cells.bytes(up, down);
            cells.retries.add(told.retries.get().into());
        }
        if let Some(refused) = &*told.refused.borrow() {
            edge.refused(refused.reason.word(), refused.audit);
        }
        self.log(told);
        // Last, so that who has seen it sees all else.
        self.counters.finished.one();
    }

    /// Takes note of a connection that was reset because nobody knows one of its ends.
    pub fn observe_stranger(
        &self,
        direction: Direction,
        source: Option<&PodInfo>,
        destination: Option<&PodInfo>,
        reason: &Reason,
    ) {
        let edge = self.ledger.between(direction, source, destination);
        edge.refused(reason.word(), false);
    }
}
