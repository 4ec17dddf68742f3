//! Weir's node agent.
