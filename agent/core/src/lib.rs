//! Weir core.
