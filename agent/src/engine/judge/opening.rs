//! What can become of a connection, before its first byte.
//!
//! Bias: every endpoint has a say; [`Openings`](super::super::opening::Openings) remembers the answer. No state.

use weir_core::snapshot::{PortProtocol, Snapshot};

use super::super::conn::Conn;
use super::{Destination, Server, may_pass_bytes, may_reach};

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Opening {
    /// What is declared about the port.
    pub protocol: PortProtocol,
    /// At some server something may pass, or there is no server.
    pub reachable: bool,
    /// At every server any bytes may pass.
    pub bytes: bool,
    /// At some server any bytes are granted.
    pub bytes_somewhere: bool,
    /// What a request says decides where it goes.
    pub by_request: bool,
}

/// What can become of a connection, before its first byte.
pub(in super::super) fn opening(snapshot: &Snapshot, conn: &Conn) -> Opening {
    let mut opening = Opening {
        protocol: PortProtocol::Detect,
        reachable: false,
        bytes: true,
        bytes_somewhere: false,
        by_request: false,
    };
    let (mut is_root, mut by_request) = (false, false);
    let mut servers = 0usize;
    let mut see = |address| {
        let server = Server::at(snapshot, address);
        opening.reachable |= may_reach(snapshot, &conn.client, &server);
        let bytes = may_pass_bytes(snapshot, &conn.client, &server);
        opening.bytes &= bytes;
        opening.bytes_somewhere |= bytes;
        servers += 1;
    };
    let protocol = match Destination::of(snapshot, conn) {
        Destination::Root(root) => {
            is_root = true;
            by_request = root.routes.iter().any(|route| route.matches.is_some());
            let backends = root.routes.iter().flat_map(|route| &route.backends);
            backends
                .flat_map(|backend| &backend.endpoints)
                .copied()
                .for_each(&mut see);
            Some(root.protocol)
        }
        Destination::Pod => {
            see(conn.destination);
            let pod = snapshot.peers.get(&conn.destination.ip());
            pod.and_then(|pod| pod.protocols.get(&conn.destination.port()).copied())
        }
        Destination::Unknown => None,
    };
    opening.protocol = protocol.unwrap_or(PortProtocol::Detect);
    opening.bytes &= is_root || servers > 0;
    // A Service that has nobody answers HTTP with 503, so its protocol has to be found out, but without a long wait.
    opening.reachable |= is_root && servers == 0;
    opening.bytes_somewhere |= opening.bytes;
    opening.by_request = by_request;
    opening
}
