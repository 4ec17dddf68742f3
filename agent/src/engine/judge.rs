//! What the snapshot says about a connection.
//!
//! Bias: refuse. A pod that is not who it was, an address that means nothing any more, a pair without a grant: each is
//! an end. Everything here is a pure question to a [`Snapshot`]; no state, no waiting. Who connects to an address that
//! is no enforced pod needs no grant.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::identity::Identity;
use weir_core::matcher::RequestView;
use weir_core::model::Key;
use weir_core::policy::{Missing, Verdict};
use weir_core::snapshot::{PodInfo, PortProtocol, Root, Snapshot, SplitRoute};

use super::conn::{Conn, End, Standing};
use super::kernel::Direction;
use super::observe::Turn;
use super::opening::Openings;
use super::outcome::Allowed;
use super::split::Rotations;

/// Where a request or a connection is sent.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Pod address and port.
    pub address: SocketAddr,
    /// Who has the address; `None` for nobody we know.
    pub pod: Option<Arc<PodInfo>>,
    /// What lets it pass; `None` where nothing needs to, or nothing was asked.
    pub allowed: Option<Allowed>,
    /// Whose turn it was, where the Service that was asked for is split.
    pub turn: Option<Arc<Turn>>,
}

impl Server {
    /// Who has this address now.
    pub fn at(snapshot: &Snapshot, address: SocketAddr) -> Server {
        Server {
            address,
            pod: snapshot.peers.get(&address.ip()).cloned(),
            allowed: None,
            turn: None,
        }
    }

    /// The same address of the same pod.
    pub fn is_same(&self, other: &Server) -> bool {
        self.address == other.address
            && match (&self.pod, &other.pod) {
                (Some(ours), Some(theirs)) => is_same(ours, theirs),
                (None, None) => true,
                _ => false,
            }
    }

    /// The pod is still who it was.
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        match (&self.pod, snapshot.peers.get(&self.address.ip())) {
            (Some(ours), Some(now)) => is_same(ours, now),
            (None, None) => true,
            _ => false,
        }
    }

    /// Whom a grant must name, if one is needed.
    pub fn enforced(&self) -> Option<Identity> {
        self.pod.as_ref().filter(|pod| pod.enforced).map(|pod| pod.identity)
    }
}

/// The same pod with the same identity, enforced or not as before.
pub(super) fn is_same(one: &PodInfo, other: &PodInfo) -> bool {
    std::ptr::eq(one, other)
        || one.identity == other.identity
            && one.enforced == other.enforced
            && one.cookie == other.cookie
            && one.pod == other.pod
            && one.ips == other.ips
}

/// The snapshot knows this pod, unchanged.
pub(super) fn is_current(snapshot: &Snapshot, pod: &PodInfo) -> bool {
    let now = match pod.cookie {
        Some(cookie) => snapshot.local.get(&cookie),
        None => pod.ips.first().and_then(|ip| snapshot.peers.get(ip)),
    };
    now.is_some_and(|now| is_same(now, pod))
}

/// Something is granted to this client at this server: bytes or HTTP.
pub(super) fn may_reach(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> bool {
    verdict(snapshot, client, server) != Verdict::Deny
}

/// Any bytes may pass.
pub(super) fn may_pass_bytes(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> bool {
    verdict(snapshot, client, server) == Verdict::Allow
}

fn verdict(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> Verdict {
    let Some(identity) = server.enforced() else {
        return Verdict::Allow;
    };
    snapshot.verdict(client.identity, identity, server.address.port())
}

/// What a connection asked for, by the snapshot in force.
pub(super) enum Destination<'s> {
    /// A Service.
    Root(&'s Root),
    /// A pod's own address.
    Pod,
    /// Nothing that is known (any more).
    Unknown,
}

impl<'s> Destination<'s> {
    /// What `conn` asked for.
    pub fn of(snapshot: &'s Snapshot, conn: &Conn) -> Destination<'s> {
        match snapshot.roots.get(&conn.destination) {
            Some(root) if conn.direction == Direction::Outbound => Destination::Root(root),
            _ if snapshot.peers.contains_key(&conn.destination.ip()) => Destination::Pod,
            _ => Destination::Unknown,
        }
    }

    /// The Service's name.
    pub fn service(&self) -> Option<&'s Key> {
        match self {
            Destination::Root(root) => Some(&root.service),
            _ => None,
        }
    }
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// What is declared about the port.
    pub protocol: PortProtocol,
    /// At some server something is granted, or there is no server.
    pub reachable: bool,
    /// At every server any bytes are granted.
    pub bytes: bool,
    /// At some server any bytes are granted.
    pub bytes_somewhere: bool,
    /// What a request says decides where it goes.
    pub by_request: bool,
}

/// What can become of a connection, before its first byte.
pub(super) fn opening(snapshot: &Snapshot, conn: &Conn) -> Opening {
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

/// Why something is not sent on.
#[derive(Debug)]
pub(super) enum No {
    /// There is nobody to send it to.
    Nobody,
    /// No rule grants it.
    Missing(Server, Missing),
}

/// Picks a server for a whole connection of bytes, and asks whether they may pass.
pub(super) fn bytes(snapshot: &Snapshot, rotations: &Rotations, conn: &Conn) -> Result<Server, No> {
    // Matches are about requests; a connection without any takes the first route that needs none.
    let mut server = pick(snapshot, rotations, conn, |root| {
        root.routes.iter().position(|route| route.matches.is_none())
    })?;
    if let Some(identity) = server.enforced() {
        let (client, port) = (conn.client.identity, server.address.port());
        match snapshot.find_tcp(client, identity, port) {
            Ok(found) => server.allowed = Some(Allowed::new(found)),
            Err(missing) => return Err(No::Missing(server, missing)),
        }
    }
    Ok(server)
}

/// Picks a server for a request, and asks whether the request may pass.
pub(super) fn request(
    snapshot: &Snapshot,
    rotations: &Rotations,
    conn: &Conn,
    request: &impl RequestView,
) -> Result<Server, No> {
    let takes = |route: &SplitRoute| {
        route
            .matches
            .as_ref()
            .is_none_or(|matches| matches.routes.find(request).is_some())
    };
    let mut server = pick(snapshot, rotations, conn, |root| root.routes.iter().position(takes))?;
    match request_at(snapshot, conn, &server, request) {
        Ok(allowed) => {
            server.allowed = allowed;
            Ok(server)
        }
        Err(missing) => Err(No::Missing(server, missing)),
    }
}

/// Asks whether a request may pass to this server, and what lets it; `None` where nothing needs to.
pub(super) fn request_at(
    snapshot: &Snapshot,
    conn: &Conn,
    server: &Server,
    request: &impl RequestView,
) -> Result<Option<Allowed>, Missing> {
    let Some(identity) = server.enforced() else {
        return Ok(None);
    };
    let (client, port) = (conn.client.identity, server.address.port());
    let found = snapshot.find_http(client, identity, port, request)?;
    Ok(Some(Allowed::new(found)))
}

/// The server that a route leads to, by its turn.
fn pick(
    snapshot: &Snapshot,
    rotations: &Rotations,
    conn: &Conn,
    route: impl FnOnce(&Root) -> Option<usize>,
) -> Result<Server, No> {
    let (address, turn) = match Destination::of(snapshot, conn) {
        Destination::Root(root) => route(root)
            .and_then(|route| rotations.pick(snapshot.generation, conn.destination, root, route))
            .ok_or(No::Nobody)?,
        Destination::Pod => (conn.destination, None),
        Destination::Unknown => return Err(No::Nobody),
    };
    Ok(Server {
        turn,
        ..Server::at(snapshot, address)
    })
}

/// What a new snapshot means for an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// It goes on.
    Stay,
    /// A request is under way: whoever works on it has its head, and judges it.
    Ask,
    /// It ends.
    End(End),
}

/// Judges an open connection by a new snapshot. `openings` are those of the same core.
pub(super) fn again(snapshot: &Snapshot, openings: &Openings, conn: &Conn) -> Again {
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
        Standing::HttpBusy(server) | Standing::Upgraded(server) => match server.is_current(snapshot) {
            true => Again::Ask,
            false => Again::End(End::Reset),
        },
    }
}
