//! `weir uninstall`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::bpf;

/// Remove all that an agent left in the kernel: programs, links and maps. Pods are then left alone.
///
/// To be used when no agent runs; a running one goes on without its programs.
#[derive(Args, Debug)]
pub struct UninstallArgs {
    /// The agent's folder in bpffs
    #[arg(long, value_name = "DIR", default_value = super::BPFFS)]
    bpffs: PathBuf,
}

/// Removes the pins.
///
/// # Errors
/// A pin can't be removed.
pub fn run(args: UninstallArgs) -> anyhow::Result<ExitCode> {
    let there = bpf::uninstall(&args.bpffs).with_context(|| {
        format!(
            "can't remove everything below {}, maybe you are not root",
            args.bpffs.display()
        )
    })?;
    let path = args.bpffs.display();
    if there {
        println!("removed programs, links and maps below {path}");
    } else {
        println!("nothing to remove: {path} is not there");
    }
    Ok(ExitCode::SUCCESS)
}
