//! Debian's kernel packages: found and downloaded through an apt state of our own, never installed.
//!
//! Old versions leave the archive, so what is asked for is "the newest 6.12" and never one version; what was downloaded
//! is kept.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::run::Run;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// The flavour for virtual machines: small, and with everything that the programs need.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel of the matrix.
pub struct Kernel {
    /// What it is called in the table and on the command line.
    pub name: &'static str,
    /// The oldest series that it may be, as major and minor version.
    pub first: (u32, u32),
    /// The newest series that it may be.
    pub last: (u32, u32),
    /// The Debian suites that have it.
    pub suites: &'static [&'static str],
    /// The emulated CPU.
    pub cpu: &'static str,
}

/// A kernel's packages on disk.
pub struct Packages {
    /// Where everything of this kernel lies.
    pub dir: PathBuf,
    /// The packages, sorted.
    pub debs: Vec<PathBuf>,
    /// The CPU that the kernel is run on.
    pub cpu: &'static str,
}

/// The packages that were downloaded before; the newest of this kernel where there are none, or where asked.
pub fn kept_or_downloaded(kernel: &Kernel, refresh: bool) -> Result<Packages> {
    let dir = paths::target().join("kernels").join(kernel.name);
    let debs = dir.join("debs");
    if refresh || !debs.exists() {
        download(kernel, &dir, &debs)?;
    }
    let entries = fs::read_dir(&debs).with_context(|| format!("{}", debs.display()))?;
    let mut debs = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    debs.sort();
    Ok(Packages {
        dir,
        debs,
        cpu: kernel.cpu,
    })
}

fn download(kernel: &Kernel, dir: &Path, debs: &Path) -> Result<()> {
    let apt = Apt::new(&dir.join("apt"), kernel.suites)?;
    apt.run("apt-get")
        .args(["-q", "update"])
        .quiet()
        .context("could not fetch Debian's package lists")?;
    let names = apt.run("apt-cache").arg("pkgnames").read()?;
    let names: HashSet<&str> = names.lines().collect();
    // Renamed at the end, so that what lies in `debs` is complete.
    let partial = dir.join("partial");
    // A name can outlive its package in the lists, so the next ones are tried too.
    for version in versions(&names, kernel).into_iter().take(3) {
        let _ = fs::remove_dir_all(&partial);
        fs::create_dir_all(&partial).with_context(|| format!("{}", partial.display()))?;
        eprintln!("kernels: downloading {version}{FLAVOUR} …");
        let wanted = packages_of(&version, &names);
        match apt
            .run("apt-get")
            .args(["-q", "download"])
            .args(&wanted)
            .dir(&partial)
            .quiet()
        {
            Ok(()) => {
                // The lists are large and of no use to the next download, which fetches them anew.
                let _ = fs::remove_dir_all(dir.join("apt"));
                let _ = fs::remove_dir_all(debs);
                return fs::rename(&partial, debs).with_context(|| format!("{}", debs.display()));
            }
            Err(error) => eprintln!("kernels: {error:#}"),
        }
    }
    bail!(
        "Debian has no kernel {} in {} any more",
        kernel.name,
        kernel.suites.join(", ")
    )
}

/// Versions of the kernel, newest first, by the packages' names.
fn versions(names: &HashSet<&str>, kernel: &Kernel) -> Vec<String> {
    let version = |name: &&str| {
        let version = name.strip_prefix("linux-image-")?.strip_suffix(FLAVOUR)?;
        let numbers = numbers(version);
        let series = (*numbers.first()?, *numbers.get(1)?);
        // A name with the series alone is a meta package.
        let real = numbers.len() > 2 && (kernel.first..=kernel.last).contains(&series);
        real.then(|| version.to_owned())
    };
    let mut versions: Vec<String> = names.iter().filter_map(version).collect();
    versions.sort_by_key(|version| Reverse(numbers(version)));
    versions
}

/// The numbers in front of the version's suffix: `6.1.0-56` is 6, 1, 0, 56 and `6.12.107+deb13` is 6, 12, 107.
fn numbers(version: &str) -> Vec<u32> {
    let version = version.split('+').next().unwrap_or_default();
    version.split(['.', '-']).map_while(|part| part.parse().ok()).collect()
}

/// The image, and since 7.2 the packages that it is split into.
fn packages_of(version: &str, names: &HashSet<&str>) -> Vec<String> {
    let parts = ["linux-image-", "linux-binary-", "linux-modules-"];
    let all = parts.iter().map(|part| format!("{part}{version}{FLAVOUR}"));
    all.filter(|name| names.contains(name.as_str())).collect()
}

/// An apt of its own: lists, cache and sources lie in one folder; the machine's own stay as they are.
struct Apt {
    config: PathBuf,
}

impl Apt {
    fn new(dir: &Path, suites: &[&str]) -> Result<Apt> {
        for folder in ["lists/partial", "cache/archives/partial", "etc"] {
            let folder = dir.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        }
        let source = |suite: &&str| {
            let archive = if suite.ends_with("-security") {
                "debian-security"
            } else {
                "debian"
            };
            format!("deb [arch=amd64 signed-by={KEYRING}] http://deb.debian.org/{archive} {suite} main\n")
        };
        fs::write(dir.join("sources.list"), suites.iter().map(source).collect::<String>())?;
        fs::write(dir.join("status"), "")?;
        let dir_text = dir.display();
        let config = format!(
            "Dir::State \"{dir_text}\";\n\
             Dir::State::status \"{dir_text}/status\";\n\
             Dir::State::lists \"{dir_text}/lists\";\n\
             Dir::Cache \"{dir_text}/cache\";\n\
             Dir::Etc::sourcelist \"{dir_text}/sources.list\";\n\
             Dir::Etc::sourceparts \"/dev/null\";\n\
             APT::Architecture \"amd64\";\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Acquire::Retries \"2\";\n"
        );
        let path = dir.join("apt.conf");
        fs::write(&path, config).with_context(|| format!("{}", path.display()))?;
        Ok(Apt { config: path })
    }

    fn run(&self, program: &str) -> Run {
        Run::new(program).env("APT_CONFIG", &self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KERNEL: Kernel = Kernel {
        name: "6.18",
        first: (6, 16),
        last: (6, 18),
        suites: &[],
        cpu: "",
    };

    #[test]
    fn the_newest_of_the_series_comes_first_by_number() {
        let names = HashSet::from([
            "linux-image-6.18.9+deb13-cloud-amd64",
            "linux-image-6.18.15+deb13-cloud-amd64",
            "linux-image-6.17.13+deb13-cloud-amd64",
            "linux-image-6.19.6+deb13-cloud-amd64",
            "linux-image-6.18-cloud-amd64",
            "linux-image-6.18.16+deb13-amd64",
            "linux-image-cloud-amd64",
        ]);
        assert_eq!(
            versions(&names, &KERNEL),
            ["6.18.15+deb13", "6.18.9+deb13", "6.17.13+deb13"]
        );
    }

    #[test]
    fn an_unsigned_twin_is_not_taken() {
        let names = HashSet::from(["linux-image-6.18.9+deb13-cloud-amd64-unsigned"]);
        assert!(versions(&names, &KERNEL).is_empty());
    }

    #[test]
    fn a_split_kernel_is_fetched_in_its_parts() {
        let names = HashSet::from(["linux-image-7.2.1-cloud-amd64", "linux-binary-7.2.1-cloud-amd64"]);
        assert_eq!(
            packages_of("7.2.1", &names),
            ["linux-image-7.2.1-cloud-amd64", "linux-binary-7.2.1-cloud-amd64"]
        );
    }
}
