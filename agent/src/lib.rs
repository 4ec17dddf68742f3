//! Weir's node agent.
pub mod bpf;
