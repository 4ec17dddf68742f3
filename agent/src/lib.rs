//! Weir's node agent: policy in, eBPF programs and an L7 engine out. `ARCHITECTURE.md` has the picture.
//!
//! `cluster`, `bpf` and `engine` never import each other; [`app`] and [`wiring`] put them together.

pub mod access_log;
pub mod admin;
pub mod app;
pub mod bpf;
pub mod cli;
pub mod cluster;
pub mod engine;
pub mod metrics;
pub mod publish;
pub mod refusals;
pub mod wiring;
