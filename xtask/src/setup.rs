//! `cargo xtask setup`: finds what is missing and installs it.
//!
//! Biased towards speed when nothing is missing: two short processes, no network. Global changes are Debian packages
//! only; everything else lies under the target directory. Nobody keeps state: presence is looked up each time.

use anyhow::{Result, bail};

pub mod debian;
pub mod ebpf;
mod fuzz;
mod go;
pub mod linker;

use crate::run::Run;
pub use ebpf::Toolchain;

/// What the demo and the tests run, whatever the toolchain.
const PACKAGES: &[&str] = &[
    "bind9-dnsutils",
    "curl",
    "dnsmasq-base",
    "haproxy",
    "iperf3",
    "iproute2",
    "iputils-ping",
    "nginx-light",
    "nodejs",
    "openssl",
    "python3",
    "python3-websockets",
    "wrk",
];
/// What the virtual machines need: the machine, the archive format, and the guest's shell.
const KERNEL_PACKAGES: &[&str] = &[
    "qemu-system-x86",
    "cpio",
    "busybox-static",
    "xz-utils",
    "zstd",
    "lz4",
    "debian-archive-keyring",
];

/// Everything that build, demo and tests need. Says nothing where nothing is missing.
pub fn run() -> Result<Toolchain> {
    check_rust()?;
    debian::install(PACKAGES)?;
    build()
}

/// What the tests need beside the rest.
pub fn tests() -> Result<()> {
    go::install()
}

/// What building the eBPF programs needs.
pub fn build() -> Result<Toolchain> {
    let toolchain = ebpf::find_or_install()?;
    linker::install(&toolchain)?;
    Ok(toolchain)
}

/// What `cargo xtask fuzz` needs beside the rest.
pub fn fuzz() -> Result<()> {
    check_rust()?;
    fuzz::install()
}

/// What `cargo xtask kernels` needs beside the rest.
pub fn kernels() -> Result<()> {
    debian::install(KERNEL_PACKAGES)
}

/// An error unless the host's rustc is as new as the workspace asks for.
///
/// Cargo checks the same before it builds this program; this is for a rustc that was changed by `RUSTC` or `rustup`
/// since then, where the error would otherwise come from the middle of a dependency.
fn check_rust() -> Result<()> {
    let wanted = env!("CARGO_PKG_RUST_VERSION");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = Run::new(rustc).arg("--version").read()?;
    let found = text.split_whitespace().nth(1).unwrap_or_default();
    if version(found) < version(wanted) {
        bail!("rustc {found} is too old: {wanted} or newer is needed (`rustup toolchain install {wanted}`)");
    }
    Ok(())
}

/// The first two numbers of a version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_compare_by_number() {
        assert!(version("1.95.0") > version("1.9"));
        assert!(version("1.97.0-nightly") > version("1.95"));
        assert!(version("1.95.0") >= version("1.95"));
        assert!(version("") < version("1.95"));
    }
}
