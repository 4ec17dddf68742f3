//! What the snapshot says about a connection.
//!
//! Bias: refuse. A pod that is not who it was, an address that means nothing any more, a pair without a grant: each is
//! an end. Everything here is a pure question to a [`Snapshot`]; no state, no waiting. Who connects to an address that
//! is no pod, or a pod that takes no part, needs no grant.
//!
//! The mode of the server's namespace counts, as it is at the time of the question: in a lenient one all of it passes,
//! and [`Passed::lacking`] says what a rule would have been needed for. Requests and connections are asked about by way
//! of [`permit`](super::permit), which reports that; the questions here that are asked again and again do not tell.

mod again;
mod elsewhere;
mod opening;

use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::identity::Identity;
use weir_core::matcher::RequestView;
use weir_core::model::{Key, Mode};
use weir_core::policy::{Missing, Verdict};
use weir_core::snapshot::{PodInfo, Root, Snapshot, SplitRoute};

use super::conn::Conn;
use super::kernel::Direction;
use super::observe::Turn;
use super::outcome::Allowed;
use super::split::Rotations;

pub(super) use again::{Again, again};
pub(super) use elsewhere::{bytes_elsewhere, request_elsewhere};
pub(super) use opening::{Opening, opening};

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

    /// Who has this address now, in the turn of a server that can't be connected to.
    fn instead_of(failed: &Server, snapshot: &Snapshot, address: SocketAddr) -> Server {
        Server {
            turn: failed.turn.clone(),
            ..Server::at(snapshot, address)
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

    /// Whom a grant must name, if rules count there at all: who the pod is by now.
    fn judged(&self, snapshot: &Snapshot) -> Option<Identity> {
        let pod = self.pod.as_ref().filter(|pod| pod.mode.takes_part())?;
        Some(as_it_is(snapshot.peers.get(&self.address.ip()), pod))
    }

    /// The mode of its namespace now, which may not be what it was when the server was picked.
    pub fn mode(&self, snapshot: &Snapshot) -> Mode {
        snapshot.peers.get(&self.address.ip()).map_or(Mode::Off, |pod| pod.mode)
    }
}

/// The same pod with the same account, taking part or not as before. Its mode may be another, and other IdentityBindings
/// may bind it: what is open is asked again, as who it is by then.
pub(super) fn is_same(one: &PodInfo, other: &PodInfo) -> bool {
    std::ptr::eq(one, other)
        || has_same_account(one, other)
            && one.mode.takes_part() == other.mode.takes_part()
            && one.cookie == other.cookie
            && one.pod == other.pod
            && one.ips == other.ips
}

/// A doubt about who it is, such as an address that two pods claim, is no identity to go on with.
fn has_same_account(one: &PodInfo, other: &PodInfo) -> bool {
    let known = one.identity != Identity::UNKNOWN && other.identity != Identity::UNKNOWN;
    let same = one.info.namespace == other.info.namespace && one.info.account == other.info.account;
    one.identity == other.identity || known && same
}

/// The snapshot knows this pod, unchanged. Somebody unknown stays so: nothing is granted to him, whoever he is by now.
pub(super) fn is_current(snapshot: &Snapshot, pod: &PodInfo) -> bool {
    pod.is_unknown() || now(snapshot, pod).is_some_and(|now| is_same(now, pod))
}

/// Who this pod is by now; nobody if it is not the same any more.
pub(super) fn identity(snapshot: &Snapshot, pod: &PodInfo) -> Identity {
    as_it_is(now(snapshot, pod), pod)
}

fn now<'s>(snapshot: &'s Snapshot, pod: &PodInfo) -> Option<&'s Arc<PodInfo>> {
    match pod.cookie {
        Some(cookie) => snapshot.local.get(&cookie),
        None => pod.ips.first().and_then(|ip| snapshot.peers.get(ip)),
    }
}

fn as_it_is(now: Option<&Arc<PodInfo>>, pod: &PodInfo) -> Identity {
    now.filter(|now| !pod.is_unknown() && is_same(now, pod))
        .map_or(Identity::UNKNOWN, |now| now.identity)
}

/// Something may pass from this client to this server: bytes or HTTP.
pub(super) fn may_reach(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> bool {
    verdict(snapshot, client, server) != Verdict::Deny
}

/// Any bytes may pass.
pub(super) fn may_pass_bytes(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> bool {
    verdict(snapshot, client, server) == Verdict::Allow
}

/// Something is granted to this client at this server by rules, whatever its mode.
pub(super) fn is_granted(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> bool {
    let port = server.address.port();
    let client = identity(snapshot, client);
    server
        .judged(snapshot)
        .is_none_or(|server| snapshot.verdict(client, server, port) != Verdict::Deny)
}

fn verdict(snapshot: &Snapshot, client: &PodInfo, server: &Server) -> Verdict {
    match server.judged(snapshot) {
        Some(judged) if server.mode(snapshot) == Mode::Enforce => {
            snapshot.verdict(identity(snapshot, client), judged, server.address.port())
        }
        _ => Verdict::Allow,
    }
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

/// Why something is not sent on.
#[derive(Debug)]
pub(super) enum No {
    /// There is nobody to send it to.
    Nobody,
    /// No rule grants it.
    Missing(Server, Missing),
}

/// Something that is sent on.
#[derive(Debug)]
pub(super) struct Passed {
    /// Where to.
    pub server: Server,
    /// The rule that it lacks, where only the server's mode lets it pass and wants that told.
    pub lacking: Option<Missing>,
}

impl Passed {
    /// What comes of a judgement by rules at this server.
    fn at(snapshot: &Snapshot, mut server: Server, judged: Result<Option<Allowed>, Missing>) -> Result<Passed, No> {
        let lacking = match (judged, server.mode(snapshot)) {
            (Ok(allowed), _) => {
                server.allowed = allowed;
                None
            }
            (Err(_), Mode::Off | Mode::Permissive) => None,
            (Err(missing), Mode::Audit) => Some(missing),
            (Err(missing), Mode::Enforce) => return Err(No::Missing(server, missing)),
        };
        Ok(Passed { server, lacking })
    }
}

/// Picks a server for a whole connection of bytes, and asks whether they may pass.
pub(super) fn bytes(snapshot: &Snapshot, rotations: &Rotations, conn: &Conn) -> Result<Passed, No> {
    // Matches are about requests; a connection without any takes the first route that needs none.
    let server = pick(snapshot, rotations, conn, |root| {
        root.routes.iter().position(|route| route.matches.is_none())
    })?;
    let judged = bytes_by_rules(snapshot, conn, &server);
    Passed::at(snapshot, server, judged)
}

fn bytes_by_rules(snapshot: &Snapshot, conn: &Conn, server: &Server) -> Result<Option<Allowed>, Missing> {
    let Some(judged) = server.judged(snapshot) else {
        return Ok(None);
    };
    let found = snapshot.find_tcp(conn.identity(snapshot), judged, server.address.port())?;
    Ok(Some(Allowed::new(found)))
}

/// Picks a server for a request, and asks whether the request may pass.
pub(super) fn request(
    snapshot: &Snapshot,
    rotations: &Rotations,
    conn: &Conn,
    request: &impl RequestView,
) -> Result<Passed, No> {
    let server = pick(snapshot, rotations, conn, |root| {
        root.routes.iter().position(|route| takes(route, request))
    })?;
    let judged = by_rules(snapshot, conn, &server, request);
    Passed::at(snapshot, server, judged)
}

/// Asks whether a request under way may go on to this server, and what lets it; `None` where nothing needs to.
///
/// # Errors
/// No rule grants it, and the server's mode is not lenient.
pub(super) fn request_at(
    snapshot: &Snapshot,
    conn: &Conn,
    server: &Server,
    request: &impl RequestView,
) -> Result<Option<Allowed>, Missing> {
    match server.mode(snapshot) {
        Mode::Enforce => by_rules(snapshot, conn, server, request),
        Mode::Off | Mode::Permissive | Mode::Audit => Ok(None),
    }
}

fn by_rules(
    snapshot: &Snapshot,
    conn: &Conn,
    server: &Server,
    request: &impl RequestView,
) -> Result<Option<Allowed>, Missing> {
    let Some(judged) = server.judged(snapshot) else {
        return Ok(None);
    };
    let (client, port) = (conn.identity(snapshot), server.address.port());
    let found = snapshot.find_http(client, judged, port, request)?;
    Ok(Some(Allowed::new(found)))
}

/// The request takes this route.
fn takes(route: &SplitRoute, request: &impl RequestView) -> bool {
    let matches = route.matches.as_ref();
    matches.is_none_or(|matches| matches.routes.find(request).is_some())
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
