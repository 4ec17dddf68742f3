//! The engine on loopback: raw sockets as clients and servers, policy compiled from manifests, a table in the place of
//! the kernel's programs. No privileges. Every test has addresses of its own and may run beside any other.

mod aborts;
mod access_log;
mod bodies;
mod connection;
mod corpus;
mod detect;
mod drain;
mod exposition;
mod http;
mod http2;
mod identity;
mod limits;
mod mesh;
mod modes;
mod observe;
mod peer;
mod policy;
mod rejudge;
mod retries;
mod shares;
mod split;
mod strict;
mod tcp;
mod tls;
mod upgrade;
mod upstream;
