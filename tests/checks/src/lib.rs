//! What holds for any bytes, as functions that panic where it does not.
//!
//! Bias: each check compares two readings of the same bytes, so that a fault needs no expectation written by hand: one cut
//! with another, our codec with hyper's, a path with a naive model of it. The fuzz targets in `fuzz/` call these, and so
//! do tests on stable, over the corpus, over mutations of it, and over what fuzzing has found (`found/TARGET/`).

mod canonical;
mod differential;
mod heads;
mod manifests;
mod paths;
mod reader;
pub mod seeds;

pub use differential::differential;
pub use heads::{bodies, detection, heads, server_names};
pub use manifests::manifests;
pub use paths::paths;

/// A check over bytes.
pub type Check = fn(&[u8]);

/// Every check with the name of its fuzz target.
pub const ALL: &[(&str, Check)] = &[
    ("head", heads),
    ("body", bodies),
    ("path", paths),
    ("detect", detection),
    ("sni", server_names),
    ("manifests", manifests),
    ("differential", differential),
];
