//! The one question that every hook asks: may this identity reach that one on this port?
//!
//! Bias: what is not granted is refused; an unknown client never has an entry. What a refusal means at a server whose
//! namespace is lenient is in one place, [`denied`], for every protocol.

use weir_abi::{
    ANY_PORT, Addr, IDENTITY_ANY, IDENTITY_UNKNOWN, IPPROTO_TCP, PEER_AUDIT, PolicyKey, ProbeKey, VERDICT_ALLOW,
    VERDICT_DENY, VERDICT_HTTP, VERDICT_L7, is_lenient,
};

use crate::maps::{NODE, POLICY, PROBES};

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

/// What becomes of what no rule grants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// It is refused.
    Refuse,
    /// It passes, and is reported with [`weir_abi::EVENT_AUDIT`].
    Report,
    /// It passes.
    Pass,
}

/// What a refusal means at a server with these flags, of its entry in `PEERS` or `PODS`.
#[inline(always)]
pub fn denied(flags: u32) -> Denied {
    if !is_lenient(flags) {
        Denied::Refuse
    } else if flags & PEER_AUDIT != 0 {
        Denied::Report
    } else {
        Denied::Pass
    }
}

/// Whether what is not granted goes straight to this lenient server: Services declare the port as bytes. Otherwise the
/// engine sees it first, where there is one.
#[inline(always)]
pub fn is_bytes(dst: u64, port: u32) -> bool {
    let key = PolicyKey {
        src: IDENTITY_ANY,
        dst,
        port,
        proto: IPPROTO_TCP,
    };
    // SAFETY: entries are integers.
    unsafe { POLICY.get(key) }.copied() == Some(VERDICT_ALLOW)
}

/// Whether this is the kubelet (or another process of this node) at a port that the pod declares for it. To be asked for
/// clients without an identity only: an address that a pod has is the pod's.
#[inline(always)]
pub fn is_probe(cookie: u64, port: u32, client: Addr) -> bool {
    let key = ProbeKey {
        cookie,
        port,
        reserved: 0,
    };
    // SAFETY: entries are integers.
    unsafe { PROBES.get(key).is_some() && NODE.get(client).is_some() }
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
