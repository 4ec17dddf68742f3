//! The compiler for the eBPF programs: which of two ways this machine offers.
//!
//! Both are one rustc with a `core` for the BPF targets. Debian's `rustc-web` brings that `core` ready-made
//! (`libstd-rust-web-dev-bpf`); a nightly toolchain of rustup builds it from `rust-src`. What is there is taken, Debian's
//! first because it needs no nightly; where neither is, Debian's is installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::debian;
use crate::run::Run;

/// The target of the programs: they run on the machine that builds them, so in its byte order.
pub const TARGET: &str = if cfg!(target_endian = "little") {
    "bpfel-unknown-none"
} else {
    "bpfeb-unknown-none"
};

/// Debian's compiler and its core for the BPF targets.
const PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];
/// Its linter, needed by `cargo xtask lint` only.
const CLIPPY: &[&str] = &["rust-web-clippy"];
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/cargo-clippy";

/// The way to build for the BPF target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toolchain {
    /// Debian's rustc with a prebuilt `core`.
    Debian,
    /// rustup's nightly, which builds `core` from `rust-src`.
    Nightly,
}

impl Toolchain {
    /// A cargo subcommand on the eBPF workspace: compiler, linker and flags are set, the target directory is ours.
    pub fn cargo(self, subcommand: &str) -> Run {
        let flags = ["-Cdebuginfo=2", "-Clink-arg=--btf", "-Ctarget-cpu=v3"].join("\x1f");
        let linker = format!("CARGO_TARGET_{}_LINKER", TARGET.to_uppercase().replace('-', "_"));
        let run = match (self, subcommand) {
            // rustup's clippy can't read the `core` of another rustc's version, so Debian's comes with its own.
            (Toolchain::Debian, "clippy") => Run::new(DEBIAN_CLIPPY),
            (Toolchain::Debian, _) => Run::cargo(),
            (Toolchain::Nightly, _) => Run::new("rustup").args(["run", "nightly", "cargo"]),
        };
        let run = run
            .args([subcommand, "--release", "--target", TARGET, "--manifest-path"])
            .arg(crate::paths::ebpf_manifest())
            .arg("--target-dir")
            .arg(crate::paths::target().join("ebpf"))
            .env(&linker, crate::paths::bpf_linker())
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            // Cargo points this at rustup's libraries; another compiler must not find them.
            .without_env("LD_LIBRARY_PATH");
        match self {
            // aya-ebpf switches an unstable feature on, which a stable compiler allows only like this.
            Toolchain::Debian => run.env("RUSTC", DEBIAN_RUSTC).env("RUSTC_BOOTSTRAP", "1"),
            Toolchain::Nightly => run
                .args(["-Z", "build-std=core"])
                .without_env("CARGO")
                .without_env("RUSTC")
                .without_env("RUSTUP_TOOLCHAIN"),
        }
    }

    /// Major version of the compiler's LLVM. The linker must be built on the same one.
    pub fn llvm(self) -> Result<u32> {
        let run = match self {
            Toolchain::Debian => Run::new(DEBIAN_RUSTC),
            Toolchain::Nightly => nightly("rustc"),
        };
        let line = run.line();
        let text = run.arg("-vV").without_env("LD_LIBRARY_PATH").read()?;
        llvm_major(&text).with_context(|| format!("{line} -vV does not name its LLVM version"))
    }

    /// Installs the linter that goes with the compiler. Nightly's comes with rustup's default profile.
    pub fn install_clippy(self) -> Result<()> {
        match self {
            Toolchain::Debian => debian::install(CLIPPY),
            Toolchain::Nightly => Ok(()),
        }
    }
}

/// The toolchain that is there, else Debian's, installed now.
pub fn find_or_install() -> Result<Toolchain> {
    if let Some(toolchain) = find() {
        return Ok(toolchain);
    }
    if debian::is_here() {
        debian::install(PACKAGES)?;
    }
    find().with_context(|| {
        let debian = PACKAGES.join(" ");
        format!(
            "no compiler for {TARGET}: install Debian's (apt-get install {debian}), or a nightly with its sources \
             (rustup toolchain install nightly --component rust-src)"
        )
    })
}

fn find() -> Option<Toolchain> {
    let prebuilt = Path::new("/usr/lib/rustlib").join(TARGET).join("lib");
    if Path::new(DEBIAN_RUSTC).exists() && holds_core(&prebuilt) {
        return Some(Toolchain::Debian);
    }
    let sysroot = nightly("rustc").args(["--print", "sysroot"]).read().ok()?;
    let sources = PathBuf::from(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    sources.exists().then_some(Toolchain::Nightly)
}

fn nightly(program: &str) -> Run {
    Run::new("rustup")
        .args(["run", "nightly", program])
        .without_env("RUSTUP_TOOLCHAIN")
}

fn holds_core(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn llvm_major(verbose_version: &str) -> Option<u32> {
    let version = verbose_version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn llvm_is_read_from_the_compilers_own_words() {
        assert_eq!(llvm_major("rustc 1.96.0\nhost: x\nLLVM version: 22.1.8\n"), Some(22));
        assert_eq!(llvm_major("rustc 1.96.0\n"), None);
    }
}
