//! A request under way, judged again when the policy has changed.
//!
//! Bias: nothing is kept for it. The canonical head stays where it was written for the server until the exchange is over;
//! it is parsed again when the snapshot has changed, and only then. It goes to the same judge as before, for the server
//! that it was sent to: a split is not asked again.

use weir_core::http1::{self, Limits, MAX_HEADERS, RequestHead};

use super::super::conn::Conn;
use super::super::core::Core;
use super::super::judge::{self, Server};
use super::super::outcome::Ongoing;
use super::super::refuse::Reason;
use super::request::{self, Asked};

/// Canonical heads are written by us, and may be a little longer than what came: a space behind each colon, a `Host`.
const LIMITS: Limits = Limits {
    head_bytes: usize::MAX,
    headers: MAX_HEADERS,
    chunk_line_bytes: 0,
    trailer_bytes: 0,
};

/// Asks whether the request whose canonical head begins `sent` may still go on to `server`.
///
/// # Errors
/// Why not. It was counted, reported, and noted in `told`.
pub(super) fn judge(
    core: &Core,
    conn: &Conn,
    server: &Server,
    asked: Asked,
    sent: &[u8],
    told: Option<&Ongoing<'_>>,
) -> Result<(), String> {
    core.counters.rejudged.one();
    let Some(head) = reread(sent, asked) else {
        // Not seen, since a canonical head is one; what can't be judged is not allowed.
        core.counters.revoked.one();
        return Err("the request can't be judged again".to_owned());
    };
    let judged = judge::request_at(&core.snapshot(), conn, server, &head);
    judged.map(drop).map_err(|missing| {
        core.counters.revoked.one();
        request::report(core, conn, server, &head, &missing);
        let reason = missing.to_string();
        if let Some(told) = told {
            told.refuse(Reason::Missing(missing));
            told.asks(&head);
        }
        reason
    })
}

/// The request whose canonical head begins `sent`, as it was judged.
pub(super) fn reread(sent: &[u8], asked: Asked) -> Option<RequestHead<'_>> {
    let mut head = http1::parse_request(sent, &LIMITS).ok().flatten()?;
    if asked.hostless {
        head.authority = None;
    }
    Some(head)
}
