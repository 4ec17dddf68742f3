//! The checks, in the order of the table: what the kernel has, then what our programs do on it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A check by its row in the table.
pub type Check = (&'static str, fn() -> Result<()>);

/// All checks.
pub const ALL: &[Check] = &[
    ("kernel has BTF", has_btf),
    ("cgroup v2 and bpffs are mounted", has_mounts),
    ("network namespaces and veth", makes_pods),
];

fn has_btf() -> Result<()> {
    let size = fs::metadata("/sys/kernel/btf/vmlinux")
        .context("/sys/kernel/btf/vmlinux")?
        .len();
    if size == 0 {
        bail!("/sys/kernel/btf/vmlinux is empty");
    }
    Ok(())
}

fn has_mounts() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for kind in ["cgroup2", "bpf"] {
        if !mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind)) {
            bail!("no {kind} is mounted");
        }
    }
    Ok(())
}

/// Two namespaces with a link between them, as every test has them.
fn makes_pods() -> Result<()> {
    let names = ["smoke-a", "smoke-b"];
    let result = (|| {
        for name in names {
            ip(&["netns", "add", name])?;
        }
        ip(&[
            "link", "add", "smoke0", "netns", names[0], "type", "veth", "peer", "name", "smoke0", "netns", names[1],
        ])?;
        let link = Command::new("ip")
            .args(["-n", names[1], "link", "show", "smoke0"])
            .output()?;
        if !link.status.success() {
            bail!("the link's other end did not arrive");
        }
        Ok(())
    })();
    for name in names.iter().filter(|name| Path::new("/run/netns").join(name).exists()) {
        ip(&["netns", "del", name])?;
    }
    result
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).output().context("ip")?;
    if !output.status.success() {
        bail!(
            "ip {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}
