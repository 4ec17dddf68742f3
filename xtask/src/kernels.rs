//! `cargo xtask kernels`: boots Debian's kernels in small virtual machines, loads every program on each and runs a smoke
//! test of capture, refusal and the L4 tier.
//!
//! Emulated (TCG), so it needs no KVM and no nested virtualisation; it shows what loads and behaves, not how fast. What
//! is downloaded and unpacked stays under `kernels/` in the target directory. A kernel has three outcomes, not two: an
//! emulated machine can die without a word, which is no statement about our programs and is tried again.

use anyhow::{Context, Result, bail};

mod archive;
mod boot;
mod image;
mod packages;
mod table;
mod unpack;

use crate::run::Run;
use crate::{build, paths, setup};
use packages::Kernel;
pub use table::{Outcome, Verdict};

/// A CPU without cmpxchg16b: with it, up to every fifth boot of 6.12 died under emulation, without it none.
const STEADY: &str = "qemu64,-cx16";
/// The whole CPU. Without cmpxchg16b, 7.2 has no `kmalloc_nolock`, and with it no socket storage.
const WHOLE: &str = "qemu64";

/// The kernels that the project is tried on, oldest first. Debian has no other series in between.
const KERNELS: &[Kernel] = &[
    Kernel {
        name: "6.1",
        first: (6, 1),
        last: (6, 1),
        suites: &["bookworm", "bookworm-security"],
        cpu: STEADY,
    },
    Kernel {
        name: "6.12",
        first: (6, 12),
        last: (6, 12),
        suites: &["trixie"],
        cpu: STEADY,
    },
    // 6.19 to 7.1 are in Debian without the modules for veth and tc.
    Kernel {
        name: "6.18",
        first: (6, 16),
        last: (6, 18),
        suites: &["trixie-backports"],
        cpu: STEADY,
    },
    Kernel {
        name: "newest",
        first: (7, 2),
        last: (u32::MAX, u32::MAX),
        suites: &["sid"],
        cpu: WHOLE,
    },
];

/// The part of the matrix that `cargo xtask test` runs: the oldest that is supported, and one more.
pub const IN_TESTS: &[&str] = &["6.1", "6.12"];

/// The command: sets up, builds, boots and prints the table. All kernels where none is named.
pub fn run(names: &[String], refresh: bool) -> Result<()> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    select(&names)?;
    setup::run()?;
    build::run(false)?;
    let verdicts = check(&names, refresh)?;
    println!("\n{}", table::markdown(&verdicts));
    for verdict in &verdicts {
        println!("{verdict}");
    }
    match verdicts.iter().filter(|verdict| verdict.failed() > 0).count() {
        0 => Ok(()),
        bad => bail!("{bad} of {} kernels did not pass", verdicts.len()),
    }
}

/// Boots the named kernels, one after the other, with the release agent that is there.
pub fn check(names: &[&str], refresh: bool) -> Result<Vec<Verdict>> {
    let kernels = select(names)?;
    if let Some(reason) = unable() {
        let skipped = |kernel: &&Kernel| Verdict::skipped(kernel.name, reason.clone());
        return Ok(kernels.iter().map(skipped).collect());
    }
    Run::cargo()
        .dir(&paths::root())
        .args([
            "build",
            "--release",
            "--package",
            "weir-tests",
            "--bin",
            "weir-smoke",
            "--bin",
            "weir-testapp",
        ])
        .show()
        .context("the guest's test programs did not build")?;
    let guest = image::guest()?;
    let mut verdicts = Vec::new();
    for kernel in kernels {
        eprintln!("kernels: {} …", kernel.name);
        let verdict = match packages::kept_or_downloaded(kernel, refresh) {
            Ok(packages) => boot::boot(kernel.name, &image::kernel(&packages)?, &guest)?,
            // Not there to be had is no fault of ours; everything after this is.
            Err(error) => Verdict::skipped(kernel.name, format!("{error:#}")),
        };
        eprintln!("kernels: {verdict}");
        verdicts.push(verdict);
    }
    Ok(verdicts)
}

/// The kernels with these names, all where there are none.
fn select(names: &[&str]) -> Result<Vec<&'static Kernel>> {
    if names.is_empty() {
        return Ok(KERNELS.iter().collect());
    }
    let find = |name: &&str| {
        KERNELS
            .iter()
            .find(|kernel| kernel.name == *name)
            .with_context(|| unknown(name))
    };
    names.iter().map(find).collect()
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = KERNELS.iter().map(|kernel| kernel.name).collect();
    format!("no kernel {name}: there are {}", known.join(", "))
}

/// Why no machine can be booted here, if so.
fn unable() -> Option<String> {
    if !cfg!(target_arch = "x86_64") {
        return Some("the virtual machines are x86-64 ones and take this machine's own binaries".into());
    }
    if let Err(error) = setup::kernels() {
        return Some(format!("{error:#}"));
    }
    let qemu = Run::new(boot::QEMU).arg("--version").quiet();
    qemu.err().map(|error| format!("{error:#}"))
}
