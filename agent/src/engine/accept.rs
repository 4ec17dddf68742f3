//! From a listener to a connection whose two ends are known.
//!
//! Bias: who the client is and where it wanted to go comes from the kernel, or the connection is reset before a byte
//! of it is read. Accepting never spins: when it fails, for want of descriptors mostly, it pauses.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use weir_core::snapshot::PodInfo;

use super::conn::{Conn, End};
use super::core::Core;
use super::kernel::Direction;
use super::pods::Admitted;
use super::refuse::{Reason, Refusal};
use super::{flow, linger};

/// How long a listener rests after accept has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Which listener a connection came in by.
pub(super) struct Place {
    /// The pod it listens in.
    pub pod: Admitted,
    /// Which side that pod is.
    pub direction: Direction,
}

/// Accepts until the task is aborted.
pub(super) async fn run(core: Rc<Core>, listener: TcpListener, place: Rc<Place>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => admit(&core, &place, stream, peer),
            Err(error) => {
                core.counters.accept_errors.one();
                tracing::debug!(pod = %place.pod.spec.pod, %error, "can't accept; is the limit on open files too low?");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn admit(core: &Rc<Core>, place: &Rc<Place>, stream: TcpStream, peer: SocketAddr) {
    core.counters.accepted.one();
    let Some(seat) = core.seat(&place.pod) else {
        core.counters.over_limit.one();
        // Its note must not stay behind: enough of them would fill the pod's map for good.
        if place.direction == Direction::Outbound {
            take_origin(core, place, peer);
        }
        return;
    };
    let (core, place) = (core.clone(), place.clone());
    tokio::task::spawn_local(async move {
        serve(&core, &place, stream, peer).await;
        drop(seat);
    });
}

/// Dropping the stream resets it, unless whoever is through with it said otherwise.
async fn serve(core: &Rc<Core>, place: &Rc<Place>, mut stream: TcpStream, peer: SocketAddr) {
    let Some(conn) = identify(core, place, &stream, peer) else {
        return;
    };
    let watched = core.watch(conn.clone());
    let ended = conn.watched(flow::run(core, place, &conn, &mut stream)).await;
    if ended == Err(End::Close) {
        linger::orderly(&stream);
    }
    drop(watched);
}

/// Who it is and what it wants; `None` (with a report) if that is not known for certain.
fn identify(core: &Rc<Core>, place: &Place, stream: &TcpStream, peer: SocketAddr) -> Option<Rc<Conn>> {
    let spec = &place.pod.spec;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let itself = spec.ips.contains(&peer.ip());
    let ports = [core.config().outbound_port, core.config().inbound_port];
    let (destination, client) = match place.direction {
        Direction::Outbound => {
            let Some(origin) = take_origin(core, place, peer) else {
                return refuse(core, place, peer, None, Reason::UnknownOrigin);
            };
            (origin, core.snapshot().local.get(&spec.cookie).cloned())
        }
        Direction::Inbound => {
            let local = stream.local_addr().ok()?;
            let local = core
                .kernel()
                .inbound_destination(SocketAddr::new(local.ip().to_canonical(), local.port()), peer);
            if itself || ports.contains(&local.port()) {
                return refuse(core, place, peer, Some(local), Reason::Loop);
            }
            (local, core.snapshot().peers.get(&peer.ip()).cloned())
        }
    };
    let Some(client) = client else {
        return refuse(core, place, peer, Some(destination), Reason::UnknownClient);
    };
    Some(Rc::new(Conn::new(
        spec.cookie,
        place.direction,
        peer,
        client,
        destination,
        core.clock(),
    )))
}

/// What the pod asked for on this connection. Not for strangers: the note under their port number would be that of one
/// of the pod's own connections.
fn take_origin(core: &Core, place: &Place, peer: SocketAddr) -> Option<SocketAddr> {
    let (spec, ip) = (&place.pod.spec, peer.ip().to_canonical());
    let own = spec.ips.contains(&ip);
    own.then(|| core.kernel().take_origin(spec.cookie, ip.is_ipv6(), peer.port()))
        .flatten()
}

fn refuse(
    core: &Core,
    place: &Place,
    client: SocketAddr,
    asked: Option<SocketAddr>,
    reason: Reason,
) -> Option<Rc<Conn>> {
    core.counters.refused_unknown.one();
    let own = || -> Option<Arc<PodInfo>> { core.snapshot().local.get(&place.pod.spec.cookie).cloned() };
    core.report(|| {
        let (source, destination) = match place.direction {
            Direction::Outbound => (own(), None),
            Direction::Inbound => (None, own()),
        };
        Refusal {
            direction: place.direction,
            client,
            source,
            asked,
            service: None,
            server: asked.filter(|_| place.direction == Direction::Inbound),
            destination,
            request: None,
            reason,
        }
    });
    None
}
