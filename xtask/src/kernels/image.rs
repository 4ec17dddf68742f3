//! What a machine boots: a kernel with its modules, made once and kept; and the guest, made anew from what was built.
//!
//! The guest is this machine's own release agent, test programs and `ip`, each with the shared libraries that `ldd` names:
//! what is tried on another kernel is the very binary that the other tests ran.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::archive::Archive;
use super::packages::Packages;
use super::unpack;
use crate::paths;
use crate::run::Run;

/// Modules that the programs and the tests use where a kernel does not have them built in.
const MODULES: &[&str] = &["veth", "sch_ingress", "cls_bpf", "tcp_diag", "udp_diag", "tls"];

/// A kernel that is ready to boot.
pub struct Prepared {
    /// The kernel as an ELF file.
    pub vmlinux: PathBuf,
    /// An archive with `/modules/NN-name.ko` in the order of loading.
    pub modules: PathBuf,
    /// The CPU that it is run on.
    pub cpu: &'static str,
    /// Where this kernel's files lie.
    pub dir: PathBuf,
}

/// Unpacks the packages of a kernel. Does nothing where that was done.
pub fn kernel(packages: &Packages) -> Result<Prepared> {
    let dir = packages.dir.clone();
    let prepared = Prepared {
        vmlinux: dir.join("vmlinux"),
        modules: dir.join("modules.cpio"),
        cpu: packages.cpu,
        dir,
    };
    // Written last, so that an unpacking which was interrupted is done again; other packages or modules are other words.
    let stamp = prepared.dir.join("prepared");
    let wanted = format!("{:?} {MODULES:?}", packages.debs);
    if fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(prepared);
    }
    let tree = prepared.dir.join("tree");
    let _ = fs::remove_dir_all(&tree);
    for deb in &packages.debs {
        Run::new("dpkg-deb").arg("-x").arg(deb).arg(&tree).quiet()?;
    }
    let bzimage = read(&find_image(&tree)?)?;
    fs::write(&prepared.vmlinux, unpack::elf(&bzimage, &prepared.dir)?)?;
    let mut archive = Archive::default();
    for (order, (name, bytes)) in unpack::modules(&tree, MODULES)?.iter().enumerate() {
        archive.file(&format!("/modules/{order:02}-{name}.ko"), bytes);
    }
    fs::write(&prepared.modules, archive.finish())?;
    fs::remove_dir_all(&tree)?;
    fs::write(&stamp, wanted)?;
    Ok(prepared)
}

/// The package's bzImage: `boot/vmlinuz-…`, or `usr/lib/modules/…/vmlinuz` in the newest ones.
fn find_image(tree: &Path) -> Result<PathBuf> {
    let mut folders = vec![tree.join("boot")];
    for versions in ["usr/lib/modules", "lib/modules"] {
        let entries = fs::read_dir(tree.join(versions)).into_iter().flatten();
        folders.extend(entries.flatten().map(|entry| entry.path()));
    }
    let files = folders
        .iter()
        .flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let image = files.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.starts_with("vmlinuz"))
    });
    image.with_context(|| format!("no vmlinuz in {}", tree.display()))
}

/// The archive with everything that runs in the guest; `/init` is the smoke test.
pub fn guest() -> Result<Vec<u8>> {
    let programs = [
        ("/init", paths::release("weir-smoke")),
        ("/bin/weir", paths::release("weir")),
        ("/bin/weir-testapp", paths::release("weir-testapp")),
        ("/sbin/ip", which("ip")?),
    ];
    let mut libraries = BTreeMap::new();
    let mut archive = Archive::default();
    for (path, program) in &programs {
        archive.file(path, &read(program)?);
        for library in needed(program)? {
            let bytes = read(&library)?;
            libraries.insert(library, bytes);
        }
    }
    for (path, bytes) in &libraries {
        archive.file(&path.to_string_lossy(), bytes);
    }
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/etc", "/var"] {
        archive.folder(folder);
    }
    Ok(archive.finish())
}

/// The shared libraries of a program and its loader, by `ldd`: lines `name => path (address)` or `path (address)`.
fn needed(program: &Path) -> Result<Vec<PathBuf>> {
    let text = Run::new("ldd").arg(program).read()?;
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    Ok(words.map(PathBuf::from).collect())
}

fn which(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    let found = places.find_map(|dir| dir.join(program).canonicalize().ok());
    found.with_context(|| format!("{program} is not in PATH"))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("{}", path.display()))
}
