//! The one question that every hook asks: may this identity reach that one on this port?
//!
//! Bias: what is not granted is refused; an unknown client never has an entry.

use weir_abi::{
    ANY_PORT, IDENTITY_UNKNOWN, IPPROTO_TCP, PolicyKey, VERDICT_ALLOW, VERDICT_DENY, VERDICT_HTTP, VERDICT_L7,
};

use crate::maps::POLICY;

/// What to do with a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Refuse.
    Deny,
    /// Straight to the server.
    Allow,
    /// To the engine.
    L7,
}

/// Looks up TCP policy: the exact port first, then any port.
#[inline(always)]
pub fn tcp(src: u64, dst: u64, port: u32) -> Verdict {
    if src == IDENTITY_UNKNOWN {
        return Verdict::Deny;
    }
    let mut key = PolicyKey {
        src,
        dst,
        port,
        proto: IPPROTO_TCP,
    };
    // SAFETY: entries are integers; one that is replaced meanwhile reads as the old or the new verdict.
    let mut code = unsafe { POLICY.get(key) }.copied();
    if code.is_none() {
        key.port = ANY_PORT;
        // SAFETY: as above.
        code = unsafe { POLICY.get(key) }.copied();
    }
    match code.unwrap_or(VERDICT_DENY) {
        VERDICT_ALLOW => Verdict::Allow,
        // A plan of a later version may ask for HTTP in the kernel; the engine decides the same.
        VERDICT_L7 | VERDICT_HTTP => Verdict::L7,
        _ => Verdict::Deny,
    }
}
