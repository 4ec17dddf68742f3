//! Weir's pure core: objects in, a plan out, and the evaluators that engine and command line share.
//!
//! Nothing here does I/O, reads a clock or knows tokio, kube or aya. What comes from outside is an argument.

pub mod compile;
pub mod convert;
pub mod detect;
pub mod diff;
pub mod finding;
pub mod grpc;
pub mod http1;
pub mod http2;
pub mod identity;
pub mod index;
pub mod matcher;
pub mod model;
pub mod path;
pub mod pick;
pub mod plan;
pub mod policy;
pub mod snapshot;
pub mod tls;
pub mod trace;
pub mod workload;
