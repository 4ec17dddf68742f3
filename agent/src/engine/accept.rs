//! From a listener to a connection whose two ends are known.
//!
//! Bias: who the client is and where it wanted to go comes from the kernel, or the connection is reset before a byte
//! of it is read. Each listener accepts in turns of its pod, so that a flood of connections waits in the queue of the
//! pod that it is aimed at. Accepting never spins: without a descriptor, connections are refused by means of the spare
//! one; where even that fails, or the kernel has no memory, the listener pauses.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use weir_core::snapshot::PodInfo;

use super::account::{Account, Client};
use super::conn::{Conn, End};
use super::core::Core;
use super::kernel::Direction;
use super::pods::PodSpec;
use super::refuse::{Reason, Refusal};
use super::turns::Ticket;
use super::{flow, linger, spare};

/// How long a listener rests after accept has failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Idle upstream connections that are closed at once when descriptors are out.
const GIVEN_BACK: usize = 16;

/// Connections that are refused in one turn when descriptors are out.
const AT_ONCE: usize = 8;

/// Which listener a connection came in by.
pub(super) struct Place {
    /// The pod it listens in.
    pub spec: Rc<PodSpec>,
    /// Which side that pod is.
    pub direction: Direction,
    /// Who pays for accepting.
    account: Rc<Account>,
}

impl Place {
    /// A listener's.
    pub fn new(core: &Core, spec: Rc<PodSpec>, direction: Direction) -> Place {
        let client = match direction {
            Direction::Outbound => Client::Pod(spec.cookie),
            Direction::Inbound => Client::Callers(spec.cookie),
        };
        Place {
            account: core.books.of(client),
            spec,
            direction,
        }
    }

    /// Who pays for a connection from `peer`: the pod itself for its own, any other address for itself.
    fn account_of(&self, core: &Core, peer: SocketAddr) -> Rc<Account> {
        let ip = peer.ip().to_canonical();
        match self.direction {
            Direction::Outbound if self.spec.ips.contains(&ip) => self.account.clone(),
            _ => core.books.of(Client::Address(ip)),
        }
    }
}

/// Accepts until the task is aborted.
pub(super) async fn run(core: Rc<Core>, listener: Rc<TcpListener>, place: Rc<Place>) {
    let ticket = Rc::<Ticket>::default();
    loop {
        place.account.turn(&ticket).await;
        match listener.accept().await {
            Ok((stream, peer)) => admit(&core, &place, stream, peer),
            Err(error) if spare::is_out(&error) => without_descriptors(&core, &listener, &place).await,
            // Of one connection that has failed before it was taken; the next one may be well (accept(2)).
            Err(error) if !is_lasting(&error) => core.counters.accept_errors.one(),
            Err(error) => pause(&core, &place, &error).await,
        }
    }
}

/// The kernel can't, and won't a moment later.
fn is_lasting(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOMEM | libc::ENOBUFS | libc::EBADF | libc::EINVAL | libc::ENOTSOCK) | None
    )
}

async fn pause(core: &Core, place: &Place, error: &io::Error) {
    core.counters.accept_errors.one();
    tracing::debug!(pod = %place.spec.pod, %error, "can't accept");
    tokio::time::sleep(PAUSE).await;
}

/// Makes room by closing idle upstream connections; refuses who is waiting where there are none.
async fn without_descriptors(core: &Rc<Core>, listener: &TcpListener, place: &Place) {
    core.counters.no_descriptors.one();
    if core.give_back(GIVEN_BACK) {
        return;
    }
    let refused = poll_fn(|cx| Poll::Ready(core.spare.lend(|| refuse_waiting(core, listener, place, cx)))).await;
    match refused {
        Some(Ok(())) => {}
        Some(Err(error)) => pause(core, place, &error).await,
        None => pause(core, place, &io::Error::from_raw_os_error(libc::EMFILE)).await,
    }
}

/// Accepts and resets, with the one descriptor that there is, until nobody waits or it was [`AT_ONCE`].
fn refuse_waiting(core: &Core, listener: &TcpListener, place: &Place, cx: &mut Context<'_>) -> io::Result<()> {
    for _ in 0..AT_ONCE {
        match listener.poll_accept(cx) {
            Poll::Ready(Ok((stream, peer))) => {
                core.counters.accepted.one();
                core.counters.refused_no_descriptors.one();
                turn_away(core, place, stream, peer);
            }
            Poll::Ready(Err(error)) => return Err(error),
            Poll::Pending => break,
        }
    }
    Ok(())
}

fn admit(core: &Rc<Core>, place: &Rc<Place>, stream: TcpStream, peer: SocketAddr) {
    core.counters.accepted.one();
    let account = place.account_of(core, peer);
    let Some(seat) = account.seat() else {
        core.counters.over_limit.one();
        return turn_away(core, place, stream, peer);
    };
    let (core, place) = (core.clone(), place.clone());
    tokio::task::spawn_local(async move {
        serve(&core, &place, account, stream, peer).await;
        drop(seat);
    });
}

/// Resets a connection that nobody looks at.
fn turn_away(core: &Core, place: &Place, stream: TcpStream, peer: SocketAddr) {
    // Its note must not stay behind: enough of them would fill the pod's map for good.
    if place.direction == Direction::Outbound {
        take_origin(core, place, peer);
    }
    drop(stream);
}

/// Dropping the stream resets it, unless whoever is through with it said otherwise.
async fn serve(core: &Rc<Core>, place: &Rc<Place>, account: Rc<Account>, mut stream: TcpStream, peer: SocketAddr) {
    let Some(conn) = identify(core, place, account, &stream, peer) else {
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
fn identify(
    core: &Rc<Core>,
    place: &Place,
    account: Rc<Account>,
    stream: &TcpStream,
    peer: SocketAddr,
) -> Option<Rc<Conn>> {
    let spec = &place.spec;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let itself = spec.ips.contains(&peer.ip());
    let ports = [core.config().outbound_port, core.config().inbound_port];
    let (destination, client) = match place.direction {
        Direction::Outbound => {
            let Some(origin) = take_origin(core, place, peer) else {
                return refuse(core, place, &account, peer, None, Reason::UnknownOrigin);
            };
            (origin, core.snapshot().local.get(&spec.cookie).cloned())
        }
        Direction::Inbound => {
            let local = stream.local_addr().ok()?;
            let local = core
                .kernel()
                .inbound_destination(SocketAddr::new(local.ip().to_canonical(), local.port()), peer);
            if itself || ports.contains(&local.port()) {
                return refuse(core, place, &account, peer, Some(local), Reason::Loop);
            }
            let snapshot = core.snapshot();
            let client = snapshot.peers.get(&peer.ip()).cloned();
            // A lenient pod is there for those too whom nobody knows.
            let lenient = snapshot
                .local
                .get(&spec.cookie)
                .is_some_and(|pod| pod.mode.is_lenient());
            let stranger = || lenient.then(|| Arc::new(PodInfo::unknown(peer.ip())));
            (local, client.or_else(stranger))
        }
    };
    let Some(client) = client else {
        return refuse(core, place, &account, peer, Some(destination), Reason::UnknownClient);
    };
    Some(Rc::new(Conn::new(
        spec.cookie,
        place.direction,
        peer,
        client,
        destination,
        (account, core.clock()),
    )))
}

/// What the pod asked for on this connection. Not for strangers: the note under their port number would be that of one
/// of the pod's own connections.
fn take_origin(core: &Core, place: &Place, peer: SocketAddr) -> Option<SocketAddr> {
    let (spec, ip) = (&place.spec, peer.ip().to_canonical());
    let own = spec.ips.contains(&ip);
    own.then(|| core.kernel().take_origin(spec.cookie, ip.is_ipv6(), peer.port()))
        .flatten()
}

fn refuse(
    core: &Core,
    place: &Place,
    account: &Account,
    client: SocketAddr,
    asked: Option<SocketAddr>,
    reason: Reason,
) -> Option<Rc<Conn>> {
    core.counters.refused_unknown.one();
    let own = || -> Option<Arc<PodInfo>> { core.snapshot().local.get(&place.spec.cookie).cloned() };
    let (source, destination) = match place.direction {
        Direction::Outbound => (own(), None),
        Direction::Inbound => (None, own()),
    };
    core.observe_stranger(place.direction, source.as_deref(), destination.as_deref(), &reason);
    let pods = (source.clone(), destination.clone());
    core.log_stranger(place.direction, client, asked, pods, &reason);
    core.report(account, || Refusal {
        direction: place.direction,
        client,
        source,
        asked,
        service: None,
        server: asked.filter(|_| place.direction == Direction::Inbound),
        destination,
        request: None,
        reason,
        audit: false,
    });
    None
}
