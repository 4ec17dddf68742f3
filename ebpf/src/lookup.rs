//! sk_lookup, attached to each enrolled pod's network namespace: who may open a connection to the pod.
//!
//! Bias: enforcement is here, whatever the client's side did. An address that is not the pod's known one, a client that
//! nobody knows and an engine that is not there are refused; SK_DROP answers a SYN with a reset at once. Where the pod's
//! namespace is lenient each of these passes, by way of the engine if it is there. The kubelet's probes go to the app.
//!
//! The hook has no cookie of namespace or socket; the pod is known by its local address.

use core::ptr::read_volatile;

use aya_ebpf::programs::SkLookupContext;
use weir_abi::{
    Addr, Counter, EVENT_AUDIT, EVENT_LOOKUP, Event, IDENTITY_UNKNOWN, IPPROTO_TCP, ListenerKey, PEER_ENFORCED,
};

use crate::{
    emit,
    maps::{LISTENERS, PEERS, count},
    verdict::{self, Denied, Verdict},
};

const AF_INET: u32 = 2;
const SK_DROP: u32 = 0;
const SK_PASS: u32 = 1;

/// sk_lookup.
#[inline(always)]
pub fn lookup(ctx: SkLookupContext) -> u32 {
    let lookup = ctx.lookup;
    // SAFETY: the context is valid for the program's run; all fields are read before the first branch.
    let (family, proto, port, local4, remote4, local6, remote6) = unsafe {
        (
            read_volatile(&(*lookup).family),
            read_volatile(&(*lookup).protocol),
            read_volatile(&(*lookup).local_port),
            read_volatile(&(*lookup).local_ip4),
            read_volatile(&(*lookup).remote_ip4),
            [
                read_volatile(&(*lookup).local_ip6[0]),
                read_volatile(&(*lookup).local_ip6[1]),
                read_volatile(&(*lookup).local_ip6[2]),
                read_volatile(&(*lookup).local_ip6[3]),
            ],
            [
                read_volatile(&(*lookup).remote_ip6[0]),
                read_volatile(&(*lookup).remote_ip6[1]),
                read_volatile(&(*lookup).remote_ip6[2]),
                read_volatile(&(*lookup).remote_ip6[3]),
            ],
        )
    };
    if proto != IPPROTO_TCP {
        return SK_PASS;
    }
    let (local, remote) = if family == AF_INET {
        (Addr::from_v4_word(local4), Addr::from_v4_word(remote4))
    } else {
        (Addr(local6), Addr(remote6))
    };
    // The pod to itself, and the engine's upstream connections, which come from the pod's own address. The kernel takes
    // no packet with a local source address from a wire.
    if local == remote || local.is_loopback() {
        count(Counter::LookupSelf);
        return SK_PASS;
    }
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let Some(pod) = (unsafe { PEERS.get(local) }) else {
        count(Counter::LookupDeny);
        return SK_DROP;
    };
    let (cookie, server, flags) = (pod.cookie, pod.identity, pod.flags);
    if cookie == 0 {
        count(Counter::LookupDeny);
        return SK_DROP;
    }
    if flags & PEER_ENFORCED == 0 {
        return SK_PASS;
    }
    // SAFETY: as above.
    let (client, client_cookie) = match unsafe { PEERS.get(remote) } {
        Some(peer) => (peer.identity, peer.cookie),
        None => (IDENTITY_UNKNOWN, 0),
    };
    if client_cookie == cookie {
        count(Counter::LookupSelf);
        return SK_PASS;
    }
    let verdict = verdict::tcp(client, server, port);
    if verdict == Verdict::Allow {
        count(Counter::LookupAllow);
        return SK_PASS;
    }
    if client == IDENTITY_UNKNOWN && verdict::is_probe(cookie, port, remote) {
        count(Counter::LookupProbe);
        return SK_PASS;
    }
    let denied = verdict::denied(flags);
    let refused = verdict == Verdict::Deny;
    let straight = refused && (denied == Denied::Refuse || verdict::is_bytes(server, port));
    if !straight {
        let key = ListenerKey {
            cookie,
            family: if family == AF_INET { 4 } else { 6 },
            reserved: 0,
        };
        if LISTENERS.redirect_sk_lookup(&ctx, key, 0).is_ok() {
            count(Counter::LookupL7);
            return SK_PASS;
        }
        if denied == Denied::Refuse {
            count(Counter::LookupNoEngine);
            return SK_DROP;
        }
    }
    if refused && denied != Denied::Pass {
        emit::refusal(
            cookie,
            Event {
                src_identity: client,
                dst_identity: server,
                src: remote,
                dst: local,
                port,
                proto: IPPROTO_TCP,
                kind: if denied == Denied::Report {
                    EVENT_LOOKUP | EVENT_AUDIT
                } else {
                    EVENT_LOOKUP
                },
                suppressed: 0,
            },
        );
    }
    if denied == Denied::Refuse {
        count(Counter::LookupDeny);
        return SK_DROP;
    }
    count(Counter::LookupLenient);
    SK_PASS
}
