//! What becomes of UDP datagrams, and of packets that are neither UDP, TCP nor ICMP, at a pod's door: on the way in and on
//! the way out.
//!
//! A datagram passes where who sends it may reach who gets it (`POLICY`), and where it answers one that passed. Answers
//! are known by what the pod has sent (`FLOWS`), or by the socket, where that is connected. Neither lets anything pass by
//! itself: the direction that is answered has to be allowed still, so that a grant that goes ends both at once.
//!
//! Bias: other protocols can't be granted, so they only pass between a pod and those that take no part, and only where
//! the pod began.

use aya_ebpf::helpers::bpf_ktime_get_coarse_ns;
use core::ptr::read_volatile;
use weir_abi::{
    ANY_PORT, Addr, Counter, EVENT_ARRIVE, EVENT_AUDIT, EVENT_LEAVE, Event, FLOW_SERVED, FlowKey, IDENTITY_UNKNOWN,
    IPPROTO_UDP, PEER_ENFORCED, PolicyKey, VERDICT_ALLOW,
};

use crate::{
    emit,
    maps::{FLOWS, FlowWords, PEERS, POLICY, count},
    packet::Packet,
    verdict::{self, Denied},
};

/// How long an answer is waited for, seconds; set by the loader.
#[unsafe(no_mangle)]
static UDP_IDLE_SECONDS: u32 = 60;

/// The same in nanoseconds.
#[inline(always)]
pub fn idle_ns() -> u64 {
    // SAFETY: set by the loader and never changed.
    u64::from(unsafe { read_volatile(&UDP_IDLE_SECONDS) }) * 1_000_000_000
}

/// Who has an address.
#[derive(Clone, Copy)]
pub struct Peer {
    pub identity: u64,
    pub cookie: u64,
    pub flags: u32,
}

impl Peer {
    /// Nobody, where no pod is known to have it.
    #[inline(always)]
    pub fn at(addr: Addr) -> Peer {
        // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
        match unsafe { PEERS.get(addr) } {
            Some(peer) => Peer {
                identity: peer.identity,
                cookie: peer.cookie,
                flags: peer.flags,
            },
            None => Peer {
                identity: IDENTITY_UNKNOWN,
                cookie: 0,
                flags: 0,
            },
        }
    }
}

/// The pod whose door it is.
pub struct Pod {
    pub cookie: u64,
    pub identity: u64,
    pub flags: u32,
}

/// What a server's side says to a client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The server takes no part.
    Pass,
    /// Granted.
    Allow,
    /// Not granted, and passes because the server is lenient.
    Lenient,
    /// Refused.
    Deny,
}

/// The one place where datagrams are judged: may `client` send to this port of a server with these flags?
#[inline(always)]
pub fn judge(client: u64, server: u64, flags: u32, port: u32, proto: u32) -> Verdict {
    if flags & PEER_ENFORCED == 0 {
        Verdict::Pass
    } else if is_granted(client, server, port, proto) {
        Verdict::Allow
    } else if verdict::denied(flags) != Denied::Refuse {
        Verdict::Lenient
    } else {
        Verdict::Deny
    }
}

/// Looks up policy: the exact port first, then any port. Only UDP can be granted.
#[inline(always)]
pub fn is_granted(client: u64, server: u64, port: u32, proto: u32) -> bool {
    if client == IDENTITY_UNKNOWN || proto != IPPROTO_UDP {
        return false;
    }
    let mut key = PolicyKey {
        src: client,
        dst: server,
        port,
        proto,
    };
    // SAFETY: entries are integers; one that is replaced meanwhile reads as the old or the new verdict.
    let mut code = unsafe { POLICY.get(key) }.copied();
    if code.is_none() {
        key.port = ANY_PORT;
        // SAFETY: as above.
        code = unsafe { POLICY.get(key) }.copied();
    }
    code == Some(VERDICT_ALLOW)
}

/// A packet in front of a socket of `pod`. `connected` and `serving` tell about that socket. True lets it in.
#[inline(always)]
pub fn arrive(pod: &Pod, packet: &Packet, connected: bool, serving: bool) -> bool {
    let mut peer = Peer::at(packet.src);
    if peer.cookie == pod.cookie {
        // The pod's own packets come over lo: this one only claims to be one.
        peer = Peer {
            identity: IDENTITY_UNKNOWN,
            cookie: 0,
            flags: PEER_ENFORCED,
        };
    }
    let granted = is_granted(peer.identity, pod.identity, packet.dst_port, packet.proto);
    if !granted && is_answer(pod, packet, &peer, connected && !serving) {
        count(Counter::ArriveAnswer);
        return true;
    }
    let denied = verdict::denied(pod.flags);
    if granted {
        count(Counter::ArriveAllow);
    } else if denied != Denied::Refuse {
        count(Counter::ArriveLenient);
        if denied == Denied::Report {
            report(
                pod.cookie,
                packet,
                peer.identity,
                pod.identity,
                EVENT_ARRIVE | EVENT_AUDIT,
            );
        }
    } else {
        count(if packet.proto == IPPROTO_UDP {
            Counter::ArriveDeny
        } else {
            Counter::ArriveProtocol
        });
        report(pod.cookie, packet, peer.identity, pod.identity, EVENT_ARRIVE);
        return false;
    }
    if peer.flags & PEER_ENFORCED == 0 {
        note(pod.cookie, &served(packet.src, packet.dst_port, packet.proto), &peer);
    }
    true
}

/// Whether the pod has sent what this answers, and may send it still.
#[inline(always)]
fn is_answer(pod: &Pod, packet: &Packet, peer: &Peer, connected: bool) -> bool {
    if judge(pod.identity, peer.identity, peer.flags, packet.src_port, packet.proto) == Verdict::Deny {
        return false;
    }
    let key = sent(packet.src, packet.src_port, packet.dst_port, packet.proto);
    connected && packet.proto == IPPROTO_UDP || refresh(pod.cookie, &key, peer)
}

/// A packet of `pod` on its way out. True lets it go.
#[inline(always)]
pub fn leave(pod: &Pod, packet: &Packet, connected: bool) -> bool {
    let peer = Peer::at(packet.dst);
    match judge(pod.identity, peer.identity, peer.flags, packet.dst_port, packet.proto) {
        Verdict::Allow => {
            count(Counter::LeaveAllow);
        }
        // It was reported where it was sent, or will be where it arrives.
        Verdict::Lenient => {
            count(Counter::LeaveLenient);
        }
        Verdict::Pass => {
            count(Counter::LeavePass);
            // Whom the pod serves does not become somebody whom it has asked.
            if refresh(pod.cookie, &served(packet.dst, packet.src_port, packet.proto), &peer) {
                return true;
            }
        }
        Verdict::Deny => {
            // An answer to somebody who may ask. Whether it was asked is the other side's to know.
            if judge(peer.identity, pod.identity, pod.flags, packet.src_port, packet.proto) != Verdict::Deny {
                count(Counter::LeaveAnswer);
                return true;
            }
            count(if packet.proto == IPPROTO_UDP {
                Counter::LeaveDeny
            } else {
                Counter::LeaveProtocol
            });
            report(pod.cookie, packet, pod.identity, peer.identity, EVENT_LEAVE);
            return false;
        }
    }
    if !(connected && packet.proto == IPPROTO_UDP) {
        note(
            pod.cookie,
            &sent(packet.dst, packet.dst_port, packet.src_port, packet.proto),
            &peer,
        );
    }
    true
}

#[inline(always)]
fn sent(peer: Addr, peer_port: u32, port: u32, proto: u32) -> FlowKey {
    FlowKey {
        peer,
        ports: peer_port << 16 | port,
        proto,
    }
}

#[inline(always)]
fn served(peer: Addr, port: u32, proto: u32) -> FlowKey {
    FlowKey {
        peer,
        ports: port,
        proto: proto | FLOW_SERVED,
    }
}

/// Whether the flow is there, young, and with the same peer; then it is young again.
#[inline(always)]
fn refresh(cookie: u64, key: &FlowKey, peer: &Peer) -> bool {
    // SAFETY: the inner map is only used through helpers.
    let Some(flows) = (unsafe { FLOWS.get(&cookie) }) else {
        return false;
    };
    let Some(state) = flows.get_ptr_mut(key) else {
        return false;
    };
    // SAFETY: an entry of a map; words, which another CPU may replace by as true ones.
    unsafe {
        let [seen, identity, namespace] = *state;
        let now = bpf_ktime_get_coarse_ns();
        let age = now.saturating_sub(seen);
        if age > idle_ns() || identity != peer.identity || namespace != peer.cookie {
            return false;
        }
        // Not for each datagram: writing takes the line from other CPUs.
        if age > idle_ns() / 16 {
            (*state)[0] = now;
        }
    }
    true
}

/// Notes a flow. Where there is no room its answers are refused.
#[inline(always)]
fn note(cookie: u64, key: &FlowKey, peer: &Peer) {
    if refresh(cookie, key, peer) {
        return;
    }
    // SAFETY: plain helper call.
    let words: FlowWords = [unsafe { bpf_ktime_get_coarse_ns() }, peer.identity, peer.cookie];
    // SAFETY: the inner map is only used through helpers.
    if let Some(flows) = unsafe { FLOWS.get(&cookie) } {
        let _ = flows.insert(key, words, 0);
    }
}

#[inline(always)]
fn report(cookie: u64, packet: &Packet, client: u64, server: u64, kind: u32) {
    emit::refusal(
        cookie,
        Event {
            src_identity: client,
            dst_identity: server,
            src: packet.src,
            dst: packet.dst,
            port: packet.dst_port,
            proto: packet.proto,
            kind,
            suppressed: 0,
        },
    );
}
