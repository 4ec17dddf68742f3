//! Weir's node agent.
pub mod cluster;
