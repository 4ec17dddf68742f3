//! What becomes of a connection: refused, relayed as bytes, or served as HTTP.
//!
//! Bias: the policy decides how long to wait for the protocol. Where any bytes may pass, the wait is short, because the
//! server may be the one to speak first; where only HTTP may, the client has the full detection time and is refused
//! when it stays silent. No state but the connection's.

use std::rc::Rc;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use weir_core::detect::{Detected, detect};
use weir_core::snapshot::PortProtocol;

use super::accept::Place;
use super::conn::{Conn, Late, Standing};
use super::core::Core;
use super::judge::{self, Destination, No, Opening, Server};
use super::outcome::{Meter, Ongoing, Protocol};
use super::refuse::{Reason, Refusal};
use super::{http1, linger, relay, upstream};

/// Room for the first bytes of a connection.
const FIRST: usize = 4096;

/// Serves a connection to its end. Whoever drops the stream afterwards resets it, unless it ended in order.
pub(super) async fn run(core: &Rc<Core>, place: &Place, conn: &Conn, stream: &mut TcpStream) {
    let opening = core.openings.of(&core.snapshot(), conn);
    let mut first = BytesMut::new();
    match opening.protocol {
        PortProtocol::Http => return http1::serve(core, place, conn, stream, first).await,
        PortProtocol::Tcp if opening.bytes && !opening.by_request => {
            return bytes(core, place, conn, stream, first, Protocol::Tcp, None).await;
        }
        // Declared as bytes, but only HTTP may pass or requests choose the way: a declaration takes no grant away.
        PortProtocol::Tcp | PortProtocol::Http2 | PortProtocol::Detect => {}
    }
    if !opening.reachable {
        Ongoing::alone(core, conn, Protocol::Tcp, 0).refuse(Reason::Unreachable);
        return refuse(core, conn, None, Reason::Unreachable);
    }
    let Ok(detected) = first_bytes(core, conn, stream, opening, &mut first).await else {
        return;
    };
    Meter::from_client(core, conn).add(first.len());
    match detected {
        Detected::Http1 => http1::serve(core, place, conn, stream, first).await,
        detected => {
            let (protocol, instead) = match detected {
                Detected::Http2Preface => (Protocol::Tcp, Reason::Http2),
                Detected::NeedMore => (Protocol::Tcp, Reason::Silent),
                Detected::Tls { .. } => (Protocol::Tls, Reason::NotHttp),
                _ => (Protocol::Tcp, Reason::NotHttp),
            };
            bytes(core, place, conn, stream, first, protocol, Some(instead)).await;
        }
    }
}

/// Reads until the protocol is known or the time is over.
///
/// # Errors
/// The connection has failed, or has ended without a byte where bytes alone would be refused.
async fn first_bytes(
    core: &Core,
    conn: &Conn,
    stream: &mut TcpStream,
    opening: Opening,
    first: &mut BytesMut,
) -> std::io::Result<Detected> {
    let times = &core.config().times;
    conn.allow(if opening.bytes {
        times.server_first
    } else {
        times.detect
    });
    first.reserve(FIRST);
    loop {
        let detected = detect(first);
        if detected != Detected::NeedMore {
            return Ok(detected);
        }
        match conn.in_time(stream.read_buf(first)).await {
            // It came and went. There is nothing to refuse.
            Ok(Ok(0)) if first.is_empty() && !opening.bytes => {
                linger::orderly(stream);
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok(Ok(0)) | Err(Late) => return Ok(Detected::NeedMore),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}

/// Relays bytes, if they may pass. `instead` is the reason to give where only HTTP may.
async fn bytes(
    core: &Rc<Core>,
    place: &Place,
    conn: &Conn,
    stream: &mut TcpStream,
    first: BytesMut,
    protocol: Protocol,
    instead: Option<Reason>,
) {
    let told = Ongoing::alone(core, conn, protocol, first.len());
    let picked = judge::bytes(&core.snapshot(), &core.rotations, conn);
    let server = match picked {
        Ok(server) => server,
        Err(No::Nobody) => return core.counters.unavailable.one(),
        Err(No::Missing(server, missing)) => {
            let http = judge::may_reach(&core.snapshot(), &conn.client, &server);
            let reason = instead.filter(|_| http).unwrap_or(Reason::Missing(missing));
            told.goes_to(&server);
            told.refuse(reason.clone());
            return refuse(core, conn, Some(server), reason);
        }
    };
    told.goes_to(&server);
    conn.stands_on(Standing::Tcp(server.clone()));
    let Ok(mut upstream) = upstream::connect(core, place, conn, &server).await else {
        return;
    };
    conn.allow_forever();
    core.counters.tcp_relayed.one();
    // An error on one side has ended the other by then: dropping both sockets resets them.
    let ahead = relay::Ahead {
        client: first,
        ..relay::Ahead::default()
    };
    // Nothing to ask: [`judge::again`] knows all that these bytes stand on.
    let _ = relay::run(core, conn, stream, &mut upstream, ahead, || true).await;
}

/// Counts and reports a refused connection; the caller lets go of it.
fn refuse(core: &Core, conn: &Conn, server: Option<Server>, reason: Reason) {
    match reason {
        Reason::NotHttp | Reason::Http2 | Reason::Silent => core.counters.refused_protocol.one(),
        _ => core.counters.refused_connection.one(),
    }
    core.report(|| refusal(core, conn, server, None, reason));
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
    }
}
