//! HTTP/2 through the engine: the library's client and server, and frames written by hand.

mod abuse;
mod corpus;
mod flows;
mod forward;
mod grpc;
mod hostile;
mod lifetime;
pub mod peer;
mod pool;
pub mod raw;
mod strict;
pub mod world;
