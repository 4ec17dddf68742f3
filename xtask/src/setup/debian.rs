//! Debian packages: what is missing, and its installation.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::run::Run;

/// True where packages can be looked up and installed at all.
pub fn is_here() -> bool {
    Path::new("/usr/bin/apt-get").exists() && Path::new("/usr/bin/dpkg-query").exists()
}

/// Installs those of the packages that are missing. Says nothing where none is.
pub fn install(packages: &[&str]) -> Result<()> {
    if !is_here() {
        // Not Debian: the programs themselves are looked for where they are run.
        return Ok(());
    }
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    // SAFETY: geteuid has no preconditions and can't fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!(
            "Debian packages are missing and only root may install them: apt-get install {}",
            missing.join(" ")
        );
    }
    eprintln!("setup: installing Debian packages: {} …", missing.join(" "));
    let start = Instant::now();
    if get(&missing).is_err() {
        // No package lists yet, or old ones that name files which are gone.
        eprintln!("setup: bringing apt's package lists up to date …");
        Run::new("apt-get")
            .args(["-q", "update"])
            .quiet()
            .context("could not update apt's lists; is there a network?")?;
        get(&missing).with_context(|| format!("could not install {}", missing.join(" ")))?;
    }
    eprintln!("setup: installed in {:.0} s", start.elapsed().as_secs_f32());
    Ok(())
}

fn get(packages: &[&str]) -> Result<()> {
    Run::new("apt-get")
        .args([
            "-q",
            "install",
            "-y",
            "--no-install-recommends",
            "-o",
            "DPkg::Lock::Timeout=300",
            "--",
        ])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // Programs are wanted, not services: nginx is not to take port 80 of the machine. The first is systemctl's, the
        // second invoke-rc.d's.
        .env("SYSTEMD_OFFLINE", "1")
        .env("RUNLEVEL", "1")
        .quiet()
}

/// Those of the packages that are not installed.
fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query exits with 1 when it does not know one of the names, and still prints the others.
    let output = Run::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n", "--"])
        .args(packages)
        .into_command()
        .output()
        .context("dpkg-query")?;
    Ok(not_installed(packages, &String::from_utf8_lossy(&output.stdout)))
}

fn not_installed<'a>(packages: &[&'a str], listing: &str) -> Vec<&'a str> {
    let installed: HashSet<&str> = listing
        .lines()
        .filter_map(|line| line.strip_suffix(" installed"))
        .collect();
    packages
        .iter()
        .copied()
        .filter(|package| !installed.contains(package))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::not_installed;

    #[test]
    fn a_removed_package_with_configuration_left_is_missing() {
        let listing = "iproute2 installed\ncpio config-files\n";
        assert_eq!(not_installed(&["iproute2", "cpio", "zstd"], listing), ["cpio", "zstd"]);
    }
}
