//! Process 1 of a virtual machine: file systems, modules, the checks in a process of their own, and the machine's end.
//!
//! It never returns and never panics on purpose: a machine whose process 1 dies has no result, and says so by its silence.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;

/// File systems by type, where they go.
const MOUNTS: &[(&CStr, &CStr)] = &[
    (c"proc", c"/proc"),
    (c"sysfs", c"/sys"),
    (c"devtmpfs", c"/dev"),
    (c"tmpfs", c"/run"),
    (c"tmpfs", c"/tmp"),
    (c"cgroup2", c"/sys/fs/cgroup"),
    (c"bpf", c"/sys/fs/bpf"),
];

/// Prepares the machine, runs this program again as the checks, prints their exit code and ends the machine.
pub fn run() -> ! {
    for (kind, place) in MOUNTS {
        report(&format!("mount {place:?}"), mount(kind, place));
    }
    for module in modules() {
        report(&format!("insmod {}", module.display()), load(&module));
    }
    report(
        "lo up",
        Command::new("/sbin/ip")
            .args(["link", "set", "lo", "up"])
            .status()
            .map(drop),
    );
    println!(
        "KM-RELEASE {}",
        std::fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
    );
    let checks = Command::new("/init")
        .env_clear()
        .envs([
            ("PATH", "/bin:/sbin"),
            ("WEIR_BIN", "/bin/weir"),
            ("WEIR_TESTAPP", "/bin/weir-testapp"),
        ])
        .status();
    match checks {
        // Killed by a signal counts as a failure: the checks began, so this is a result.
        Ok(status) => println!("KM-RC {}", status.code().unwrap_or(128)),
        Err(error) => println!("the checks did not start: {error}"),
    }
    end()
}

/// Says what did not work and goes on: the checks show what it was needed for.
fn report(what: &str, result: io::Result<()>) {
    if let Err(error) = result {
        println!("{what}: {error}");
    }
}

fn mount(kind: &CStr, place: &CStr) -> io::Result<()> {
    // SAFETY: both are strings that end in NUL, and neither type takes data.
    let result = unsafe { libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// The modules that were put in, in the order of their names, which is the order of their needs.
fn modules() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/modules").into_iter().flatten().flatten();
    let mut modules: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    modules.sort();
    modules
}

fn load(module: &PathBuf) -> io::Result<()> {
    let file = File::open(module)?;
    let parameters = CString::default();
    // SAFETY: the descriptor is open and the parameters are an empty string that ends in NUL.
    let result = unsafe { libc::syscall(libc::SYS_finit_module, file.as_raw_fd(), parameters.as_ptr(), 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Waits until the console has sent everything, then resets the machine, which the emulator takes for its end.
fn end() -> ! {
    // SAFETY: neither call has preconditions; reboot does not return where it works.
    unsafe {
        libc::tcdrain(1);
        libc::reboot(libc::RB_AUTOBOOT);
    }
    // Process 1 must not end. The emulator's time limit ends the machine.
    loop {
        std::thread::park();
    }
}
