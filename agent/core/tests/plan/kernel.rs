//! What the eBPF programs do with a plan's tables, after the words of `weir_abi`: the tests' second opinion.

use std::net::IpAddr;

use weir_abi::{
    ANY_PORT, Addr, IDENTITY_ANY, IDENTITY_UNKNOWN, IPPROTO_TCP, PEER_ENFORCED, PolicyKey, ProbeKey, VERDICT_ALLOW,
    VERDICT_L7, is_lenient,
};
use weir_core::plan::KernelTable;
use weir_core::policy::Verdict;

/// One connection.
#[derive(Clone, Copy, Debug)]
pub struct Tuple {
    /// Namespace cookie of the client, 0 if it is not captured.
    pub client: u64,
    /// Its address.
    pub from: IpAddr,
    /// Namespace cookie of the server, 0 if it is not captured.
    pub server: u64,
    /// Its address.
    pub to: IpAddr,
    /// Its port.
    pub port: u16,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub proto: u32,
}

/// The two identities and the port in `POLICY`.
pub fn policy(table: &KernelTable, src: u64, dst: u64, port: u16, proto: u32) -> Verdict {
    let key = |port: u32| PolicyKey { src, dst, port, proto };
    if src == IDENTITY_UNKNOWN {
        return Verdict::Deny;
    }
    let entry = table
        .policy
        .get(&key(port.into()))
        .or_else(|| table.policy.get(&key(ANY_PORT)));
    match entry.copied() {
        Some(VERDICT_ALLOW) => Verdict::Allow,
        Some(VERDICT_L7) => Verdict::L7,
        _ => Verdict::Deny,
    }
}

/// `connect()` or `sendmsg()` in the client's pod. What is not captured, or goes to whom nobody enforces, is let alone.
pub fn connect(table: &KernelTable, tuple: &Tuple) -> Verdict {
    let Some(pod) = table.pods.get(&tuple.client) else {
        return Verdict::Allow;
    };
    match table.peers.get(&Addr::from_ip(tuple.to)) {
        Some(peer) if is_lenient(peer.flags) => Verdict::Allow,
        Some(peer) if peer.flags & PEER_ENFORCED != 0 => {
            policy(table, pod.identity, peer.identity, tuple.port, tuple.proto)
        }
        _ => Verdict::Allow,
    }
}

/// Arrival in the server's pod.
pub fn arrive(table: &KernelTable, tuple: &Tuple) -> Verdict {
    let Some(pod) = table.pods.get(&tuple.server) else {
        return Verdict::Allow;
    };
    if is_lenient(pod.flags) || is_probe(table, tuple) {
        return Verdict::Allow;
    }
    let src = table
        .peers
        .get(&Addr::from_ip(tuple.from))
        .map_or(IDENTITY_UNKNOWN, |peer| peer.identity);
    policy(table, src, pod.identity, tuple.port, tuple.proto)
}

/// The kubelet at a port that it probes.
pub fn is_probe(table: &KernelTable, tuple: &Tuple) -> bool {
    let key = ProbeKey {
        cookie: tuple.server,
        port: tuple.port.into(),
        reserved: 0,
    };
    let from = Addr::from_ip(tuple.from);
    tuple.proto == IPPROTO_TCP
        && table.probes.contains_key(&key)
        && table.node.contains_key(&from)
        && !table.peers.contains_key(&from)
}

/// Whether a connection to a lenient server goes straight there: it is granted, or the port is declared as bytes.
pub fn goes_unseen(table: &KernelTable, tuple: &Tuple) -> bool {
    let identity = |ip: IpAddr| table.peers.get(&Addr::from_ip(ip)).map_or(0, |peer| peer.identity);
    let (client, server) = (identity(tuple.from), identity(tuple.to));
    match policy(table, client, server, tuple.port, tuple.proto) {
        Verdict::Allow => true,
        Verdict::L7 => false,
        Verdict::Deny => policy(table, IDENTITY_ANY, server, tuple.port, tuple.proto) == Verdict::Allow,
    }
}

/// Both ends.
pub fn verdict(table: &KernelTable, tuple: &Tuple) -> Verdict {
    connect(table, tuple).min(arrive(table, tuple))
}
