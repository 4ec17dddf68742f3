//! Where objects come from. Each source turns what it sees into changes of the index; it decides nothing.

pub mod manifests;
