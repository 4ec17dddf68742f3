//! Weir's node agent.
pub mod cli;
pub mod cluster;
