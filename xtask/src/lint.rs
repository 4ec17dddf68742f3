//! `cargo xtask lint`: rustfmt, clippy with warnings denied and a documentation build, for both workspaces.
//!
//! Clippy reads the compiled `core` of its target, so it must be of the same version as the compiler: for the programs
//! that is Debian's own clippy (`rust-web-clippy`) with Debian's rustc, or nightly's with nightly. rustup's stable clippy
//! with Debian's BPF `core` was tried: it refuses the library of another compiler version (E0514).

use anyhow::{Result, bail};

use crate::paths;
use crate::run::Run;
use crate::setup;

/// All checks. One that fails does not keep the next from running.
pub fn run() -> Result<()> {
    let root = paths::root();
    let cargo = || Run::cargo().dir(&root);
    let mut failed = Vec::new();
    let mut step = |name: &'static str, check: &dyn Fn() -> Result<()>| {
        eprintln!("lint: {name}");
        if let Err(error) = check() {
            eprintln!("lint: {name}: {error:#}");
            failed.push(name);
        }
    };
    step("rustfmt, workspace", &|| {
        cargo().args(["fmt", "--all", "--check"]).show()
    });
    step("rustfmt, eBPF programs", &|| {
        cargo()
            .args(["fmt", "--check", "--manifest-path"])
            .arg(paths::ebpf_manifest())
            .show()
    });
    step("clippy, workspace", &|| {
        cargo()
            .args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
            .show()
    });
    step("clippy, eBPF programs", &|| {
        let toolchain = setup::build()?;
        toolchain.install_clippy()?;
        toolchain.cargo("clippy").args(["--", "-D", "warnings"]).show()
    });
    step("documentation", &|| {
        cargo()
            .args(["doc", "--workspace", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings")
            .show()
    });
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("not clean: {}", failed.join("; "))
    }
}
