//! What the engine has seen, in numbers.
//!
//! Bias: counting costs one plain addition. Each core owns its counters and is their only writer, so an increment is a
//! relaxed load and a relaxed store, and no cache line is shared while requests run; a scrape adds the cores up.
//! Every number but the gauges only grows.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number with one writer (the core's thread) and any readers.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// So many now, for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The number by now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// One less, for gauges.
    pub fn less(&self) {
        self.0
            .store(self.0.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The engine's numbers, all cores together.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Stats {
            /// Name and value of every number, in a fixed order.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }

        /// One core's share of [`Stats`].
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub $name: Counter,)*
        }

        impl Counters {
            /// Adds this core's share to `stats`.
            pub fn add_to(&self, stats: &mut Stats) {
                $(stats.$name = stats.$name.wrapping_add(self.$name.0.load(Ordering::Relaxed));)*
            }
        }
    };
}

counters! {
    /// Connections accepted.
    accepted,
    /// Connections open now (a gauge).
    open,
    /// Times that accept failed, for want of memory mostly.
    accept_errors,
    /// Connections reset because of the limits on open connections.
    over_limit,
    /// Connections ended because policy or pods changed under them.
    revoked,
    /// Requests under way that were judged again because policy or pods had changed.
    rejudged,
    /// Connections relayed as bytes.
    tcp_relayed,
    /// Connections relayed as bytes that began with a TLS ClientHello.
    tls_relayed,
    /// Connections relayed as bytes behind a 101 (WebSocket and the like).
    upgraded,
    /// HTTP requests whose head was read and judged.
    requests,
    /// Informational answers passed on.
    responses_1xx,
    /// Answers with a 2xx status.
    responses_2xx,
    /// Answers with a 3xx status.
    responses_3xx,
    /// Answers with a 4xx status, the engine's own included.
    responses_4xx,
    /// Answers with a 5xx status, the engine's own included.
    responses_5xx,
    /// Requests answered with 400, 408, 431 or 501 because of their form.
    bad_requests,
    /// HTTP/2 connections ended because the client broke the protocol's rules or its limits.
    bad_connections,
    /// Requests answered with 502: the server broke the protocol or the connection.
    bad_gateway,
    /// Requests answered with 503: nobody to send them to.
    unavailable,
    /// Requests answered with 504: the server did not answer in time.
    gateway_timeout,
    /// HTTP requests refused because no rule grants them.
    refused_request,
    /// TCP connections refused because no rule grants them.
    refused_connection,
    /// Connections refused because HTTP was granted and something else (or nothing) came.
    refused_protocol,
    /// Connections refused because nobody knows who the peer is or where it wanted to go.
    refused_unknown,
    /// HTTP requests that no rule grants and that passed because of mode audit.
    audited_request,
    /// TCP connections that no rule grants and that passed because of mode audit.
    audited_connection,
    /// Refusals that were not reported because the queue was full.
    reports_lost,
    /// Bytes received from clients.
    bytes_from_clients,
    /// Bytes received from servers.
    bytes_from_servers,
    /// Lines of the access log that found its queue full.
    access_lines_lost,
    /// Requests, streams and relayed connections that have come to their end.
    finished,
    /// Upstream connections opened.
    upstream_connects,
    /// Requests sent over a pooled upstream connection.
    upstream_reuses,
    /// Upstream connections that could not be opened.
    upstream_failures,
    /// Upstream connections tried at another endpoint of the same backend, because the first one failed.
    upstream_elsewhere,
    /// Requests sent again because a pooled connection turned out to be closed.
    upstream_retries,
    /// Connections that the kernel dropped because a listener's queue was full.
    accept_overflows,
    /// Times that a connection was accepted or opened and no descriptor was left.
    no_descriptors,
    /// Connections refused because no descriptor was left for them.
    refused_no_descriptors,
    /// Requests in flight now (a gauge).
    requests_in_flight,
    /// Requests answered with 503 because of the limits on requests in flight.
    over_requests,
    /// Bytes in buffers now (a gauge).
    buffered_bytes,
    /// Requests answered with 503 because of the limits on bytes in buffers.
    over_bytes,
    /// Idle upstream connections now (a gauge).
    upstream_idle,
    /// Idle upstream connections closed to make room for others.
    upstream_evicted,
}
