//! `cargo xtask build`: the eBPF object, and the agent with the object inside.
//!
//! The object has one stable place, `bpf/weir.o` in the target directory, and is replaced only when its bytes change, so
//! that cargo does not build the agent again for nothing. `agent/build.rs` takes it from there.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::paths;
use crate::run::Run;
use crate::setup::{self, Toolchain, ebpf};

/// Builds the programs, then the agent in the release profile, or in the debug profile where asked.
pub fn run(debug: bool) -> Result<()> {
    object(setup::build()?)?;
    let mut cargo = Run::cargo()
        .dir(&paths::root())
        .args(["build", "--package", "weir-agent", "--bin", "weir"]);
    if !debug {
        cargo = cargo.arg("--release");
    }
    cargo.show().context("the agent did not build")
}

/// Builds the programs into `bpf/weir.o` of the target directory.
pub fn object(toolchain: Toolchain) -> Result<()> {
    toolchain
        .cargo("build")
        .show()
        .context("the eBPF programs did not build")?;
    let built = paths::target().join("ebpf").join(ebpf::TARGET).join("release/weir");
    copy_if_changed(&built, &paths::object())
}

/// Copies a file unless the bytes are there already, so that its time of change is one of a real change.
pub fn copy_if_changed(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("{}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("{}", dir.display()))?;
    }
    // In one step: another build may read it right now.
    let partial = to.with_extension("partial");
    fs::write(&partial, bytes).with_context(|| format!("{}", partial.display()))?;
    fs::rename(&partial, to).with_context(|| format!("{}", to.display()))
}
