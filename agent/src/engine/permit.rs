//! May it pass: by a rule, or by the mode of the server's namespace. Where it is the mode, and the mode is audit, it is
//! counted and reported here, once for a request or a connection.
//!
//! Bias: one door. Whoever sends a request or a connection on for the first time asks here, so that no protocol can forget
//! to tell; what is refused is the caller's to answer, count and report. What is under way is asked about again by
//! [`judge::request_at`], which tells nobody. No state.

use std::net::SocketAddr;

use weir_core::matcher::RequestView;

use super::conn::Conn;
use super::core::Core;
use super::flow;
use super::judge::{self, No, Passed, Server};
use super::outcome::Ongoing;
use super::refuse::Reason;

/// Picks a server for a request, by the snapshot in force, and notes it in `told`.
///
/// # Errors
/// There is nobody, or no rule allows it where one is needed.
pub(super) fn request(core: &Core, conn: &Conn, told: &Ongoing<'_>, request: &impl RequestView) -> Result<Server, No> {
    let Passed { server, lacking } = judge::request(&core.snapshot(), &core.rotations, conn, request)?;
    told.goes_to(&server);
    if let Some(missing) = lacking {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let asked = || (text(request.method()), text(request.path()));
        core.counters.audited_request.one();
        tell(core, conn, told, &server, Some(asked), Reason::Missing(missing));
    }
    Ok(server)
}

/// Another server for a request where `failed` can't be connected to, noted in `told`; `tried` are all that could not.
pub(super) fn request_elsewhere(
    core: &Core,
    conn: &Conn,
    told: Option<&Ongoing<'_>>,
    request: &impl RequestView,
    failed: &Server,
    tried: &[SocketAddr],
) -> Option<Server> {
    let Passed { server, lacking } = judge::request_elsewhere(&core.snapshot(), conn, request, failed, tried)?;
    let told = told?;
    told.goes_to(&server);
    told.retries.set(told.retries.get().saturating_add(1));
    if let Some(missing) = lacking {
        told.would_refuse(Reason::Missing(missing));
    }
    core.counters.upstream_elsewhere.one();
    Some(server)
}

/// The same for a connection of bytes.
pub(super) fn bytes_elsewhere(
    core: &Core,
    conn: &Conn,
    told: &Ongoing<'_>,
    failed: &Server,
    tried: &[SocketAddr],
) -> Option<Server> {
    let Passed { server, lacking } = judge::bytes_elsewhere(&core.snapshot(), conn, failed, tried)?;
    told.goes_to(&server);
    told.retries.set(told.retries.get().saturating_add(1));
    if let Some(missing) = lacking {
        told.would_refuse(Reason::Missing(missing));
    }
    core.counters.upstream_elsewhere.one();
    Some(server)
}

/// The server that [`judge::bytes`] picked for a connection of bytes, noted in `told`. `instead` is the reason to give
/// where HTTP alone is granted.
///
/// # Errors
/// Those of `picked`.
pub(super) fn bytes(
    core: &Core,
    conn: &Conn,
    told: &Ongoing<'_>,
    picked: Result<Passed, No>,
    instead: Option<&Reason>,
) -> Result<Server, No> {
    let Passed { server, lacking } = picked?;
    told.goes_to(&server);
    if let Some(missing) = lacking {
        let http = judge::is_granted(&core.snapshot(), &conn.client, &server);
        let reason = instead.filter(|_| http).cloned().unwrap_or(Reason::Missing(missing));
        core.counters.audited_connection.one();
        tell(core, conn, told, &server, None::<fn() -> _>, reason);
    }
    Ok(server)
}

fn tell(
    core: &Core,
    conn: &Conn,
    told: &Ongoing<'_>,
    server: &Server,
    asked: Option<impl FnOnce() -> (String, String)>,
    reason: Reason,
) {
    told.would_refuse(reason.clone());
    core.report(&conn.account, || {
        flow::refusal(core, conn, Some(server.clone()), asked.map(|asked| asked()), reason).audited()
    });
}
