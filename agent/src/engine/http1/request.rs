//! The head of a request: read, parsed in place, judged, and written anew for the server.

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use weir_core::detect::{Detected, METHOD_MAX, detect};
use weir_core::http1::{self, Body, BodyMode, Framing, HeadError, RequestHead, Version};
use weir_core::policy::Missing;

use super::super::conn::{Conn, Late};
use super::super::core::Core;
use super::super::flow;
use super::super::judge::{No, Server};
use super::super::outcome::{Meter, Ongoing, Protocol};
use super::super::permit;
use super::super::refuse::Reason;
use super::Session;

/// Room for the bytes of a head, at first.
const HEAD: usize = 4096;

/// What is remembered of a request once its head is gone from the buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// It was a HEAD.
    pub head: bool,
    /// The client's version.
    pub version: Version,
    /// The client keeps its connection.
    pub keep_alive: bool,
    /// How its body comes.
    pub framing: Framing,
    /// The client may wait for a 100 before it sends the body.
    pub expects: bool,
    /// It asks for another protocol.
    pub upgrades: bool,
    /// It names no host (HTTP/1.0): the one in the head that the server gets is ours.
    pub hostless: bool,
    idempotent: bool,
}

impl Asked {
    fn of(head: &RequestHead<'_>) -> Asked {
        Asked {
            head: head.is_head(),
            version: head.version,
            // Behind a request that asks for another protocol may be bytes of that one. Without a 101 they are nothing.
            keep_alive: head.keep_alive && head.upgrade.is_none(),
            upgrades: head.upgrade.is_some(),
            framing: head.framing,
            expects: head.expect_continue,
            hostless: head.authority.is_none(),
            // RFC 9110 section 9.2.2.
            idempotent: matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE"),
        }
    }

    /// Its body, at the first byte.
    pub fn body(&self, core: &Core) -> Body {
        Body::new(self.framing, BodyMode::Wire, &core.config().limits.http)
    }

    /// It has no body.
    pub fn is_bodiless(&self) -> bool {
        matches!(self.framing, Framing::Empty | Framing::Length(0))
    }

    /// It may be sent again although a server may have seen it.
    pub fn is_repeatable(&self) -> bool {
        self.idempotent && self.is_bodiless()
    }
}

/// What came of waiting for a request.
pub(super) enum Heard {
    /// A head, and where it is to go. It is in [`Session::request`] then, and gone from the input.
    Request(Asked, Result<Server, No>),
    /// A head that is not taken.
    Bad(HeadError),
    /// Part of a head, and then no more of it in time.
    Slow,
    /// Part of a head, and no more room for the rest of it.
    Full,
    /// No byte: the client has closed, was idle for too long, or the engine is stopping.
    Nothing,
    /// The connection has failed.
    Broken,
}

/// What is no beginning of a request is answered at once, not when the time for a head is over; as the whole would be.
fn other(input: &[u8]) -> Option<HeadError> {
    match detect(input) {
        Detected::Other if input.iter().take_while(|byte| **byte > b' ').count() > METHOD_MAX => Some(HeadError {
            status: 501,
            reason: "method is not supported",
        }),
        Detected::Other | Detected::Tls { .. } => Some(HeadError {
            status: 400,
            reason: "not a request of HTTP/1",
        }),
        _ => None,
    }
}

impl Session<'_> {
    /// Waits for the next request.
    pub(super) async fn hear(&mut self, client: &mut TcpStream) -> Heard {
        let times = &self.core.config().times;
        // One deadline for the whole head, from its first byte on.
        let mut timed = !self.input.is_empty();
        self.conn.allow(if timed { times.head } else { times.idle });
        loop {
            if !self.input.is_empty() {
                match judged(self) {
                    Ok(Some(heard)) => return heard,
                    Ok(None) => {
                        if let Some(error) = other(&self.input) {
                            return Heard::Bad(error);
                        }
                    }
                    Err(error) => return Heard::Bad(error),
                }
            }
            if !timed && !self.input.is_empty() {
                timed = true;
                self.conn.allow(times.head);
            }
            if self.input.is_empty() {
                // Without a buffer until something comes.
                let readable = self.core.unless_stopping(client.readable());
                match self.conn.in_time(readable).await {
                    Ok(Some(Ok(()))) => {}
                    Ok(Some(Err(_))) => return Heard::Broken,
                    Ok(None) | Err(Late) => return Heard::Nothing,
                }
                self.unshelve();
            } else if self.conn.account.room() < HEAD {
                return Heard::Full;
            }
            self.input.reserve(HEAD);
            self.note();
            match self.conn.in_time(client.read_buf(&mut self.input)).await {
                Ok(Ok(0)) | Err(Late) if self.input.is_empty() => return Heard::Nothing,
                Ok(Ok(0)) => return Heard::Broken,
                Ok(Ok(read)) => Meter::from_client(self.core, self.conn).add(read),
                Ok(Err(_)) => return Heard::Broken,
                Err(Late) => return Heard::Slow,
            }
        }
    }
}

/// Judges the head at the start of the input by the snapshot in force, if it is all there.
fn judged(session: &mut Session<'_>) -> Result<Option<Heard>, HeadError> {
    let Session {
        core,
        conn,
        input,
        request,
        ongoing,
        ..
    } = session;
    let Some(head) = http1::parse_request(input, &core.config().limits.http)? else {
        return Ok(None);
    };
    core.counters.requests.one();
    let told = Ongoing::alone(core, conn, Protocol::Http1, input.len());
    let picked = permit::request(core, conn, &told, &head);
    request.clear();
    match &picked {
        Ok(_) => {
            let destination = head.authority.is_none().then(|| conn.destination.to_string());
            let authority = destination.as_deref().unwrap_or_default().as_bytes();
            http1::write_request(
                &head,
                http1::Upstream {
                    authority,
                    close: false,
                },
                request,
            );
        }
        Err(No::Missing(server, missing)) => {
            core.counters.refused_request.one();
            told.would_go_to(server);
            told.refuse(Reason::Missing(missing.clone()));
            report(core, conn, server, &head, missing);
        }
        Err(No::Nobody) => {}
    }
    told.asks(&head);
    let asked = Asked::of(&head);
    let head_len = head.head_len;
    drop(head);
    consume(input, head_len);
    *ongoing = Some(told);
    Ok(Some(Heard::Request(asked, picked)))
}

/// Reports a request that no rule allows.
pub(super) fn report(core: &Core, conn: &Conn, server: &Server, head: &RequestHead<'_>, missing: &Missing) {
    core.report(&conn.account, || {
        let path = String::from_utf8_lossy(&head.path).into_owned();
        let asked = Some((head.method.to_owned(), path));
        let reason = Reason::Missing(missing.clone());
        flow::refusal(core, conn, Some(server.clone()), asked, reason)
    });
}

fn consume(input: &mut BytesMut, len: usize) {
    input.advance(len.min(input.len()));
}
