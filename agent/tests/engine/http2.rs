//! HTTP/2 through the engine: the library's client and server, and frames written by hand.

mod abuse;
mod flows;
mod forward;
mod grpc;
mod hostile;
mod lifetime;
mod peer;
mod pool;
mod raw;
mod strict;
mod world;
