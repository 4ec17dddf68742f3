//! `cargo xtask soak`: set-up, build, then the soak itself in place of this process.

use std::ffi::OsString;

use anyhow::Result;

use crate::demo;

/// Becomes the soak, so that Ctrl-C reaches it and it can clean up. Returns only with an error.
pub fn run(args: &[OsString]) -> Result<()> {
    demo::become_program("weir-soak", args)
}
