//! What becomes of a connection: refused, relayed as bytes, or served as HTTP.
//!
//! Bias: the policy decides how long to wait for the protocol. Where any bytes may pass, the wait is short, because the
//! server may be the one to speak first; where only HTTP may, the client has the full detection time and is refused
//! when it stays silent. Where it depends on the server, the one whose turn it is decides. On a port that is declared as
//! HTTP the client may wait as long as between two requests. What it says first is always looked at. No state but the
//! connection's.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use weir_core::detect::{Detected, detect};
use weir_core::snapshot::PortProtocol;

use super::accept::Place;
use super::conn::{Conn, Late, Standing};
use super::core::Core;
use super::judge::{self, Destination, No, Passed, Server};
use super::outcome::{Meter, Ongoing, Protocol};
use super::refuse::{Reason, Refusal};
use super::upstream::{self, ConnectError};
use super::{http1, http2, linger, permit, relay};

/// Room for the first bytes of a connection.
const FIRST: usize = 4096;

/// What was heard of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Enough to tell.
    Detected(Detected),
    /// Too little to tell, in the time that there was.
    TooLittle,
    /// Too little to tell, and no more will come.
    Closed,
}

/// How long the first bytes may take.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Up to the first one.
    begin: Duration,
    /// From then on; `None`: not counted by itself.
    decide: Option<Duration>,
}

/// Serves a connection to its end. Whoever drops the stream afterwards resets it, unless it ended in order.
pub(super) async fn run(core: &Rc<Core>, place: &Rc<Place>, conn: &Rc<Conn>, stream: &mut TcpStream) {
    let opening = core.openings.of(&core.snapshot(), conn);
    let mut first = BytesMut::new();
    let http = matches!(opening.protocol, PortProtocol::Http);
    match opening.protocol {
        // Each request is answered 403 where nothing is granted.
        PortProtocol::Http => {}
        PortProtocol::Tcp if opening.bytes && !opening.by_request => {
            let picked = judge::bytes(&core.snapshot(), &core.rotations, conn);
            return bytes(core, place, conn, stream, first, Protocol::Tcp, picked, None).await;
        }
        _ if !opening.reachable => {
            Ongoing::alone(core, conn, Protocol::Tcp, 0).refuse(Reason::Unreachable);
            return refuse(core, conn, None, Reason::Unreachable);
        }
        // Declared as bytes, but only HTTP may pass or requests choose the way: a declaration takes no grant away.
        PortProtocol::Tcp | PortProtocol::Http2 | PortProtocol::Detect => {}
    }
    let times = &core.config().times;
    let patience = match opening.protocol {
        // Who may wait between two requests may wait before the first one. The server does not speak first.
        PortProtocol::Http => Patience::to(times.idle, Some(times.head)),
        _ if opening.bytes_somewhere => Patience::to(times.server_first, None),
        _ => Patience::to(times.detect, None),
    };
    if http {
        conn.stands_on(Standing::HttpIdle);
    }
    let Ok(mut heard) = first_bytes(core, conn, stream, patience, &mut first).await else {
        return;
    };
    let mut picked = None;
    if heard == Heard::TooLittle && opening.bytes_somewhere && !opening.bytes && !http {
        // Whose turn it is decides whether to wait on: a server that takes bytes may have to speak first.
        let turn = judge::bytes(&core.snapshot(), &core.rotations, conn);
        if let Err(No::Missing(server, _)) = &turn
            && judge::may_reach(&core.snapshot(), &conn.client, server)
        {
            let rest = Patience::to(times.detect.saturating_sub(times.server_first), None);
            match first_bytes(core, conn, stream, rest, &mut first).await {
                Ok(now) => heard = now,
                Err(_) => return,
            }
        }
        picked = Some(turn);
    }
    let (protocol, instead) = match heard {
        Heard::Detected(Detected::Http1) => return http1::serve(core, place, conn, stream, first).await,
        Heard::Detected(Detected::Http2Preface) => return http2::serve(core, place, conn, stream, first).await,
        Heard::TooLittle if http && first.is_empty() => return linger::orderly(stream),
        // What is declared as HTTP, and may be nothing else, gets an answer of HTTP.
        Heard::TooLittle if http => return http1::serve(core, place, conn, stream, first).await,
        Heard::Detected(Detected::Other) if http && !opening.bytes_somewhere => {
            return http1::serve(core, place, conn, stream, first).await;
        }
        // It came and went. There is nothing to refuse.
        Heard::Closed if first.is_empty() && !opening.bytes => return linger::orderly(stream),
        Heard::Detected(Detected::Tls { .. }) => (Protocol::Tls, Reason::NotHttp),
        Heard::Detected(_) => (Protocol::Tcp, Reason::NotHttp),
        Heard::TooLittle | Heard::Closed => (Protocol::Tcp, Reason::Silent),
    };
    let picked = picked.unwrap_or_else(|| judge::bytes(&core.snapshot(), &core.rotations, conn));
    bytes(core, place, conn, stream, first, protocol, picked, Some(instead)).await;
}

impl Patience {
    fn to(begin: Duration, decide: Option<Duration>) -> Patience {
        Patience { begin, decide }
    }
}

/// Reads until the protocol is known or the time is over.
///
/// # Errors
/// The connection has failed.
async fn first_bytes(
    core: &Core,
    conn: &Conn,
    stream: &mut TcpStream,
    patience: Patience,
    first: &mut BytesMut,
) -> io::Result<Heard> {
    conn.allow(patience.begin);
    let mut decide = patience.decide;
    loop {
        let detected = detect(first);
        if detected != Detected::NeedMore {
            return Ok(Heard::Detected(detected));
        }
        if !first.is_empty()
            && let Some(time) = decide.take()
        {
            conn.allow(time);
        }
        first.reserve(FIRST);
        // Who has said nothing is not waited for by an agent on its way out.
        let silent = first.is_empty();
        let read = stream.read_buf(first);
        let read = async {
            match silent {
                true => core.unless_stopping(read).await.unwrap_or(Ok(0)),
                false => read.await,
            }
        };
        match conn.in_time(read).await {
            Ok(Ok(0)) => return Ok(Heard::Closed),
            Ok(Ok(read)) => Meter::from_client(core, conn).add(read),
            Ok(Err(error)) => return Err(error),
            Err(Late) => return Ok(Heard::TooLittle),
        }
    }
}

/// Relays bytes to the server that was picked, if one was. `instead` is the reason to give where only HTTP may pass.
#[expect(clippy::too_many_arguments, reason = "what is known of a connection, once")]
async fn bytes(
    core: &Rc<Core>,
    place: &Place,
    conn: &Conn,
    stream: &mut TcpStream,
    first: BytesMut,
    protocol: Protocol,
    picked: Result<Passed, No>,
    instead: Option<Reason>,
) {
    let told = Ongoing::alone(core, conn, protocol, first.len());
    let server = match permit::bytes(core, conn, &told, picked, instead.as_ref()) {
        Ok(server) => server,
        Err(No::Nobody) => return core.counters.unavailable.one(),
        Err(No::Missing(server, missing)) => {
            let http = judge::may_reach(&core.snapshot(), &conn.client, &server);
            let reason = instead.filter(|_| http).unwrap_or(Reason::Missing(missing));
            told.would_go_to(&server);
            told.refuse(reason.clone());
            return refuse(core, conn, Some(server), reason);
        }
    };
    conn.stands_on(Standing::Tcp(server.clone()));
    let mut server = server;
    let mut tried = Vec::new();
    let mut upstream = loop {
        match upstream::connect(core, place, conn, &server).await {
            Ok(upstream) => break upstream,
            Err(ConnectError::NoDescriptor) => return,
            Err(ConnectError::Failed(_) | ConnectError::Late) => {}
        }
        tried.push(server.address);
        match permit::bytes_elsewhere(core, conn, &told, &server, &tried) {
            Some(other) => server = other,
            None => return,
        }
        conn.stands_on(Standing::Tcp(server.clone()));
    };
    conn.allow_forever();
    core.counters.tcp_relayed.one();
    let ahead = relay::Ahead {
        client: first,
        ..relay::Ahead::default()
    };
    // Nothing to ask: [`judge::again`] knows all that these bytes stand on. An error on one side has ended the other by
    // then: dropping both sockets resets them.
    let _ = relay::run(core, conn, stream, &mut upstream, ahead, Some(&told), || true).await;
}

/// Counts and reports a refused connection; the caller lets go of it.
fn refuse(core: &Core, conn: &Conn, server: Option<Server>, reason: Reason) {
    match reason {
        Reason::NotHttp | Reason::Silent => core.counters.refused_protocol.one(),
        _ => core.counters.refused_connection.one(),
    }
    core.report(&conn.account, || refusal(core, conn, server, None, reason));
}

/// What is reported of a refusal.
pub(super) fn refusal(
    core: &Core,
    conn: &Conn,
    server: Option<Server>,
    request: Option<(String, String)>,
    reason: Reason,
) -> Refusal {
    Refusal {
        direction: conn.direction,
        client: conn.peer,
        source: Some(conn.client.clone()),
        asked: Some(conn.destination),
        service: Destination::of(&core.snapshot(), conn).service().cloned(),
        server: server.as_ref().map(|server| server.address),
        destination: server.and_then(|server| server.pod),
        request,
        reason,
        audit: false,
    }
}
