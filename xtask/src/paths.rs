//! Where things lie: the workspace, the target directory (`CARGO_TARGET_DIR` where it is set) and what we put there.

use std::env;
use std::path::PathBuf;

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let mut root = PathBuf::from(xtask);
    root.pop();
    root
}

/// Cargo's target directory: `CARGO_TARGET_DIR` (from the current folder, as cargo reads it) or `target`.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => env::current_dir().unwrap_or_else(|_| root()).join(dir),
        None => root().join("target"),
    }
}

/// Programs that `setup` builds for this workspace alone.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// Those of them that are written in Go.
pub fn go_tools() -> PathBuf {
    tools().join("go")
}

/// The linker for the BPF targets.
pub fn bpf_linker() -> PathBuf {
    tools().join("bin/bpf-linker")
}

/// What runs the fuzz targets.
pub fn cargo_fuzz() -> PathBuf {
    tools().join("bin/cargo-fuzz")
}

/// The eBPF object that `agent/build.rs` takes in.
pub fn object() -> PathBuf {
    target().join("bpf/weir.o")
}

/// The manifest of the eBPF workspace.
pub fn ebpf_manifest() -> PathBuf {
    root().join("ebpf/Cargo.toml")
}

/// A release binary.
pub fn release(name: &str) -> PathBuf {
    target().join("release").join(name)
}
