//! Open connections, judged by a new snapshot.
//!
//! Bias: what can be told from the pair of pods is told here, and what needs the request is left to whoever has its head.
//! No state.

use weir_core::snapshot::Snapshot;

use super::super::conn::{Conn, End, Standing};
use super::super::kernel::Direction;
use super::super::opening::Openings;
use super::{is_current, may_pass_bytes};

/// What a new snapshot means for an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Again {
    /// It goes on.
    Stay,
    /// A request is under way: whoever works on it has its head, and judges it.
    Ask,
    /// It ends.
    End(End),
}

/// Judges an open connection by a new snapshot. `openings` are those of the same core.
pub(in super::super) fn again(snapshot: &Snapshot, openings: &Openings, conn: &Conn) -> Again {
    let local = snapshot.local.get(&conn.cookie);
    let pods_stay = match conn.direction {
        Direction::Outbound => is_current(snapshot, &conn.client),
        Direction::Inbound => {
            let now = snapshot.peers.get(&conn.destination.ip()).and_then(|pod| pod.cookie);
            is_current(snapshot, &conn.client) && local.is_some() && now == Some(conn.cookie)
        }
    };
    if !pods_stay {
        return Again::End(End::Reset);
    }
    match conn.standing() {
        Standing::Opening => Again::Stay,
        Standing::Tcp(server) => {
            let stays = server.is_current(snapshot) && may_pass_bytes(snapshot, &conn.client, &server);
            match stays {
                true => Again::Stay,
                false => Again::End(End::Reset),
            }
        }
        Standing::HttpIdle if openings.of(snapshot, conn).reachable => Again::Stay,
        Standing::HttpIdle => Again::End(End::Close),
        Standing::Http2 => Again::Ask,
        Standing::HttpBusy(server) | Standing::Upgraded(server) => match server.is_current(snapshot) {
            true => Again::Ask,
            false => Again::End(End::Reset),
        },
    }
}
