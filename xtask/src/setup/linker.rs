//! `bpf-linker`, built into the target directory against the LLVM of the compiler that it serves.

use anyhow::{Context, Result, bail};

use super::{Toolchain, debian};
use crate::paths;
use crate::run::Run;

const VERSION: &str = "0.13.0";

/// Builds the linker unless the right one is there. What "right" means is written beside it: version and LLVM.
pub fn install(toolchain: &Toolchain) -> Result<()> {
    let stamp = paths::tools().join("bpf-linker.built");
    let llvm = toolchain.llvm()?;
    let wanted = format!("bpf-linker {VERSION}, LLVM {llvm}\n");
    if paths::bpf_linker().exists() && std::fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        return Ok(());
    }
    let prefix = llvm_prefix(llvm)?;
    eprintln!("setup: building bpf-linker {VERSION} with LLVM {llvm} (about a minute) …");
    Run::cargo()
        .args([
            "install",
            "bpf-linker",
            "--version",
            VERSION,
            "--locked",
            "--force",
            "--no-default-features",
        ])
        .args(["--features", &format!("llvm-{llvm}"), "--root"])
        .arg(paths::tools())
        .env("LLVM_PREFIX", &prefix)
        .env("CARGO_TARGET_DIR", paths::target().join("tools/build"))
        .show()
        .context("bpf-linker did not build")?;
    // It is one file and a gigabyte of intermediate results.
    let _ = std::fs::remove_dir_all(paths::target().join("tools/build"));
    std::fs::write(&stamp, wanted).with_context(|| format!("{}", stamp.display()))
}

/// The folder of LLVM's libraries, installed now where apt has them.
fn llvm_prefix(major: u32) -> Result<String> {
    let prefix = format!("/usr/lib/llvm-{major}");
    if debian::is_here() {
        let packages = [
            format!("llvm-{major}-dev"),
            format!("libpolly-{major}-dev"),
            "libzstd-dev".into(),
            "g++".into(),
        ];
        debian::install(&packages.each_ref().map(String::as_str))?;
    }
    if !std::path::Path::new(&prefix).join("lib").exists() {
        bail!("LLVM {major} is missing in {prefix}: install its development files, bpf-linker is built with them");
    }
    Ok(prefix)
}
