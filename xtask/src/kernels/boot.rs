//! One machine: boots it, reads its console, and tries again where it died without a result.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result};

use super::image::Prepared;
use super::table::{Outcome, Verdict};
use crate::run::Run;

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";

/// One CPU: with two, emulation alone makes a guest kernel panic now and then. What is left of that is tried again.
const MACHINE: &[&str] = &[
    "-accel",
    "tcg,thread=single",
    "-M",
    "pc",
    "-smp",
    "1",
    "-m",
    "768",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-no-reboot",
    "-monitor",
    "none",
    "-serial",
    "stdio",
];
const KERNEL_LINE: &str = "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off rdinit=/init";
const ATTEMPTS: u32 = 3;
/// Seconds. A boot takes two to four, the programs' verification some more.
const TIME_LIMIT: &str = "180";

/// Boots the kernel with the guest, up to three times until it says how it ended.
pub fn boot(name: &'static str, kernel: &Prepared, guest: &[u8]) -> Result<Verdict> {
    let start = Instant::now();
    let initrd = kernel.dir.join("initrd");
    let modules = fs::read(&kernel.modules).with_context(|| format!("{}", kernel.modules.display()))?;
    fs::write(&initrd, [&modules, guest].concat()).with_context(|| format!("{}", initrd.display()))?;
    let log = kernel.dir.join("console.log");
    for _ in 0..ATTEMPTS {
        let console = run(kernel, &initrd)?;
        fs::write(&log, &console).with_context(|| format!("{}", log.display()))?;
        if let Some(outcome) = Outcome::of_console(&console) {
            let time = start.elapsed();
            return Ok(Verdict {
                name,
                outcome,
                log: Some(log),
                time,
            });
        }
        eprintln!("kernels: {name} ended without a result, once more …");
    }
    let outcome = Outcome::NoResult { attempts: ATTEMPTS };
    Ok(Verdict {
        name,
        outcome,
        log: Some(log),
        time: start.elapsed(),
    })
}

/// Everything that the machine wrote to its console. How qemu ended says nothing: only the guest's own words count.
fn run(kernel: &Prepared, initrd: &std::path::Path) -> Result<String> {
    let output = Run::new("timeout")
        .args(["--kill-after=5", TIME_LIMIT, QEMU])
        .args(MACHINE)
        .args(["-cpu", kernel.cpu])
        .arg("-kernel")
        .arg(&kernel.vmlinux)
        .arg("-initrd")
        .arg(initrd)
        .args(["-append", KERNEL_LINE])
        .into_command()
        .output()
        .context(QEMU)?;
    let bytes = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
