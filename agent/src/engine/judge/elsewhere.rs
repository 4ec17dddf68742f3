//! Another endpoint, where the one whose turn it was can't be connected to.
//!
//! Bias: a split's shares stay. Only endpoints of the same backend are looked at, and each is judged by itself: one where
//! no rule lets it pass is passed over. Nothing was sent yet, so this is no repetition (RFC 9110 section 9.2.2).

use std::net::SocketAddr;

use weir_core::matcher::RequestView;
use weir_core::snapshot::{Root, Snapshot};

use super::super::conn::Conn;
use super::{Destination, Passed, Server, by_rules, bytes_by_rules, takes};

/// How many other endpoints are tried.
pub(in super::super) const TRIES: usize = 2;

/// Another server for a request. `tried` could not be connected to; the last of them instead of `failed`.
pub(in super::super) fn request_elsewhere(
    snapshot: &Snapshot,
    conn: &Conn,
    request: &impl RequestView,
    failed: &Server,
    tried: &[SocketAddr],
) -> Option<Passed> {
    let root = root(snapshot, conn, tried)?;
    let route = root.routes.iter().position(|route| takes(route, request))?;
    candidates(root, route, tried)
        .map(|address| Server::instead_of(failed, snapshot, address))
        .find_map(|server| {
            let judged = by_rules(snapshot, conn, &server, request);
            Passed::at(snapshot, server, judged).ok()
        })
}

/// Another server for a connection of bytes.
pub(in super::super) fn bytes_elsewhere(
    snapshot: &Snapshot,
    conn: &Conn,
    failed: &Server,
    tried: &[SocketAddr],
) -> Option<Passed> {
    let root = root(snapshot, conn, tried)?;
    let route = root.routes.iter().position(|route| route.matches.is_none())?;
    candidates(root, route, tried)
        .map(|address| Server::instead_of(failed, snapshot, address))
        .find_map(|server| {
            let judged = bytes_by_rules(snapshot, conn, &server);
            Passed::at(snapshot, server, judged).ok()
        })
}

fn root<'s>(snapshot: &'s Snapshot, conn: &Conn, tried: &[SocketAddr]) -> Option<&'s Root> {
    match Destination::of(snapshot, conn) {
        Destination::Root(root) if tried.len() <= TRIES => Some(root),
        _ => None,
    }
}

/// Endpoints of the backend that the last of `tried` belongs to, the ones behind it first.
fn candidates<'a>(root: &'a Root, route: usize, tried: &'a [SocketAddr]) -> impl Iterator<Item = SocketAddr> + 'a {
    let backends = root.routes.get(route).into_iter().flat_map(|route| &route.backends);
    backends
        .filter_map(|backend| {
            let at = backend.endpoints.iter().position(|at| Some(at) == tried.last())?;
            let (before, behind) = backend.endpoints.split_at_checked(at)?;
            Some(behind.iter().chain(before).copied())
        })
        .take(1)
        .flatten()
        .filter(|address| !tried.contains(address))
}
