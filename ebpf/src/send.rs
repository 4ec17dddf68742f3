//! cgroup/sendmsg4 and 6, recvmsg4 and 6, and what connect4 and 6 do for UDP sockets: where a pod's datagrams go, and
//! whom an answer comes from in the application's eyes.
//!
//! Bias: as `connect`: refuses early and with a clear errno what `leave` and the server's side would refuse, and never
//! allows what they would not. Never EAGAIN, on which callers spin.
//!
//! Reads `PODS`, `SERVICES`, `SLOTS`, `PEERS`, `POLICY`; writes the socket's own mark in `SOCKETS` and its flows in `PICKED`.

use core::ptr::read_volatile;

use aya_ebpf::{bindings::bpf_sock_addr, helpers::bpf_get_netns_cookie};
use weir_abi::{
    Addr, Counter, EVENT_AUDIT, EVENT_NO_ENDPOINT, EVENT_SEND, Event, IDENTITY_UNKNOWN, PodEntry, ROLE_SERVING,
    ROLE_TRANSLATED, ServiceKey, SocketMark,
};

use crate::{
    connect::{self, PROCEED},
    datagram::{self, Peer, Verdict},
    emit,
    leave::{ESTABLISHED, is_icmp},
    maps::{PODS, SERVICES, count},
    picked::{self, Found},
    sock_addr::{self, Place},
    verdict::{self, Denied},
};

/// iputils' ping connects a UDP socket to this port to learn the route, and sends nothing: it would take a refusal for the
/// end of it. What were sent would be refused when it leaves.
const ROUTE_PROBE: u32 = 1025;

/// sendmsg4: IPv4, also from IPv6 sockets to mapped addresses.
#[inline(always)]
pub fn sendmsg4(ctx: *mut bpf_sock_addr) -> i32 {
    run(ctx, sock_addr::read4(ctx), false, false)
}

/// sendmsg6.
#[inline(always)]
pub fn sendmsg6(ctx: *mut bpf_sock_addr) -> i32 {
    run(ctx, sock_addr::read6(ctx), true, false)
}

/// connect4 and 6 of a socket that is neither TCP nor MPTCP.
#[inline(always)]
pub fn connect(ctx: *mut bpf_sock_addr, place: Place, v6_hook: bool) -> i32 {
    run(ctx, place, v6_hook, true)
}

/// recvmsg4.
#[inline(always)]
pub fn recvmsg4(ctx: *mut bpf_sock_addr) -> i32 {
    show(ctx, sock_addr::read4(ctx), false)
}

/// recvmsg6, IPv4-mapped addresses included.
#[inline(always)]
pub fn recvmsg6(ctx: *mut bpf_sock_addr) -> i32 {
    show(ctx, sock_addr::read6(ctx), true)
}

/// Only sockets that have flows have anything to show; nobody else pays more than that look.
#[inline(always)]
fn show(ctx: *mut bpf_sock_addr, from: Place, v6_hook: bool) -> i32 {
    let (mut addr, mut port) = (Addr::NONE, 0);
    if picked::asked(ctx, from.addr, from.port, &mut addr, &mut port) && (v6_hook || addr.is_v4()) {
        sock_addr::write(ctx, addr, port, v6_hook);
        count(Counter::RecvShown);
    }
    PROCEED
}

#[inline(always)]
fn run(ctx: *mut bpf_sock_addr, asked: Place, v6_hook: bool, connects: bool) -> i32 {
    // SAFETY: the context is a valid argument of the helper.
    let cookie = unsafe { bpf_get_netns_cookie(ctx.cast()) };
    // SAFETY: entries are integers; one that is replaced meanwhile reads as old or new.
    let Some(pod) = (unsafe { PODS.get(cookie) }) else {
        return PROCEED;
    };
    if is_icmp(asked.proto) {
        return PROCEED;
    }
    if asked.addr.is_loopback() || asked.addr == pod.ip4 || asked.addr == pod.ip6 {
        return settle(ctx, connects);
    }
    let mut serving = false;
    let (mut to, mut to_port, mut translated) = (asked.addr, asked.port, false);
    // SAFETY: as above.
    if let Some(service) = unsafe {
        SERVICES.get(ServiceKey {
            addr: asked.addr,
            port: asked.port,
            proto: asked.proto,
        })
    } {
        match picked::endpoint(ctx, asked.addr, asked.port, service, &mut to, &mut to_port) {
            Found::Endpoint => translated = true,
            // A block that is being replaced can be gone already: that is a refusal, not a way past the Service.
            Found::Nobody => {
                count(Counter::SendNoEndpoint);
                report(
                    cookie,
                    pod,
                    asked.addr,
                    asked.port,
                    IDENTITY_UNKNOWN,
                    (asked.proto, EVENT_NO_ENDPOINT),
                );
                return connect::refuse(pod.errno);
            }
            Found::NoStorage => {
                count(Counter::SendNoStorage);
                return connect::refuse(pod.errno);
            }
        }
    } else if connects || !is_translated(ctx) {
        picked::forget(ctx, asked.addr, asked.port);
    }
    if to != pod.ip4 && to != pod.ip6 {
        let server = Peer::at(to);
        // Who is bound to a port that the peer may reach is its server.
        let port = local_port(ctx);
        let granted = port != 0 && datagram::is_granted(server.identity, pod.identity, port, asked.proto);
        let serves = granted || port != 0 && verdict::denied(pod.flags) != Denied::Refuse;
        match datagram::judge(pod.identity, server.identity, server.flags, to_port, asked.proto) {
            Verdict::Pass => count(Counter::SendPass),
            Verdict::Allow => count(Counter::SendAllow),
            Verdict::Lenient => {
                count(Counter::SendLenient);
                // A server of this node reports it by itself.
                if server.cookie == 0 && verdict::denied(server.flags) == Denied::Report {
                    let kind = EVENT_SEND | EVENT_AUDIT;
                    report(cookie, pod, to, to_port, server.identity, (asked.proto, kind));
                }
            }
            Verdict::Deny if serves => count(Counter::SendAnswer),
            Verdict::Deny if connects && to_port == ROUTE_PROBE => {}
            Verdict::Deny => {
                count(Counter::SendDeny);
                report(cookie, pod, to, to_port, server.identity, (asked.proto, EVENT_SEND));
                return connect::refuse(pod.errno);
            }
        }
        serving = granted;
    }
    if !connects {
        if translated {
            sock_addr::write(ctx, to, to_port, v6_hook);
        }
        return PROCEED;
    }
    let mark = SocketMark {
        addr: if translated { asked.addr } else { Addr::NONE },
        port: if translated { asked.port } else { 0 },
        role: if translated { ROLE_TRANSLATED } else { ROLE_SERVING },
    };
    if !translated && !serving {
        return settle(ctx, true);
    }
    if !connect::remember(ctx, mark) {
        return connect::refuse(pod.errno);
    }
    if translated {
        sock_addr::write(ctx, to, to_port, v6_hook);
    }
    PROCEED
}

/// What an earlier connect() has left says nothing about one that goes on; a refused one leaves the socket connected as it
/// was, and keeps it.
#[inline(always)]
fn settle(ctx: *mut bpf_sock_addr, connects: bool) -> i32 {
    if connects {
        connect::forget(ctx);
    }
    PROCEED
}

/// Whether the socket is connected to an endpoint in place of a ClusterIP. An IPv6 socket that is connected to a mapped
/// address names that endpoint to sendmsg4 itself, with each `send()`: it is not the application that does.
#[inline(always)]
fn is_translated(ctx: *mut bpf_sock_addr) -> bool {
    let mark = connect::mark_of(ctx);
    // SAFETY: where not null, it is this socket's storage.
    !mark.is_null() && unsafe { (*mark).role } == ROLE_TRANSLATED && is_connected(ctx)
}

/// Whether it is connected still: `connect()` to AF_UNSPEC runs no hook, and the mark stays.
#[inline(always)]
fn is_connected(ctx: *mut bpf_sock_addr) -> bool {
    // SAFETY: a field of the context's full socket.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        !sk.is_null() && read_volatile(&(*sk).state) == ESTABLISHED
    }
}

/// The port that the context's socket is bound to, host order; 0 for none.
#[inline(always)]
fn local_port(ctx: *mut bpf_sock_addr) -> u32 {
    // SAFETY: a field of the context's full socket.
    unsafe {
        let sk = (*ctx).__bindgen_anon_1.sk;
        if sk.is_null() {
            0
        } else {
            read_volatile(&(*sk).src_port)
        }
    }
}

#[inline(always)]
fn report(cookie: u64, pod: &PodEntry, dst: Addr, port: u32, server: u64, (proto, kind): (u32, u32)) {
    emit::refusal(
        cookie,
        Event {
            src_identity: pod.identity,
            dst_identity: server,
            src: if dst.is_v4() { pod.ip4 } else { pod.ip6 },
            dst,
            port,
            proto,
            kind,
            suppressed: 0,
        },
    );
}
