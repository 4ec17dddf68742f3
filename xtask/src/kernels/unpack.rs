//! From a kernel package to what a machine boots: the ELF file in the bzImage, and modules in the order of their needs.
//!
//! The payload is unpacked here once, because the guest would do it slowly at every boot (`Documentation/arch/x86/boot.rst`).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::Run;

/// Offsets in the boot protocol's header.
const SETUP_SECTORS: usize = 0x1f1;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Programs that write the unpacked payload to standard output, by the payload's first bytes.
const UNPACKERS: &[(&[u8], &[&str])] = &[
    (&[0x28, 0xb5, 0x2f, 0xfd], &["zstd", "-q", "-dc"]),
    (&[0xfd, b'7', b'z', b'X', b'Z'], &["xz", "-dc", "--single-stream"]),
    (&[0x02, 0x21, 0x4c, 0x18], &["lz4", "-q", "-dc"]),
    (&[0x1f, 0x8b], &["gzip", "-dc"]),
];

/// The kernel's ELF file out of a bzImage. `scratch` is a folder for the compressed payload.
pub fn elf(bzimage: &[u8], scratch: &Path) -> Result<Vec<u8>> {
    let payload = payload(bzimage).context("not a bzImage: its header points outside of it")?;
    let path = scratch.join("payload");
    fs::write(&path, payload)?;
    let elf = decompressed(&path)?;
    fs::remove_file(&path)?;
    if !elf.starts_with(b"\x7fELF") {
        bail!("the payload of the bzImage is not an ELF file");
    }
    Ok(elf)
}

fn payload(bzimage: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(*bzimage.get(at..)?.first_chunk()?) as usize);
    let protected_mode = (usize::from(*bzimage.get(SETUP_SECTORS)?) + 1) * 512;
    let start = protected_mode + word(PAYLOAD_OFFSET)?;
    // The unpacked size follows the compressed stream and belongs to none of the formats.
    bzimage.get(start..(start + word(PAYLOAD_LENGTH)?).checked_sub(4)?)
}

/// A file's content, unpacked where it is packed.
fn decompressed(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| format!("{}", path.display()))?;
    let Some((_, command)) = UNPACKERS.iter().find(|(magic, _)| bytes.starts_with(magic)) else {
        return Ok(bytes);
    };
    let [program, options @ ..] = command else {
        bail!("no program for {}", path.display())
    };
    Run::new(program).args(options).arg(path).read_bytes()
}

/// Modules of a kernel by name, each after those that it depends on. Names that are built in or absent are left out:
/// the smoke test says what is missing for want of them.
pub fn modules(tree: &Path, wanted: &[&str]) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = HashMap::new();
    collect(tree, &mut paths)?;
    let mut modules = Vec::new();
    for name in wanted {
        add(name, &paths, &mut modules)?;
    }
    Ok(modules)
}

fn add(name: &str, paths: &HashMap<String, PathBuf>, done: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(path) = paths.get(&name) else { return Ok(()) };
    if done.iter().any(|(known, _)| *known == name) {
        return Ok(());
    }
    let bytes = decompressed(path)?;
    for needed in dependencies(&bytes) {
        add(&needed, paths, done)?;
    }
    done.push((name, bytes));
    Ok(())
}

/// The entry `depends=` of a module's section `.modinfo`, which holds strings that end in NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module.get(at + KEY.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// All modules below a folder, by the name that the kernel gives them.
fn collect(dir: &Path, paths: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("{}", dir.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), paths)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            paths.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_points_outside_is_refused() {
        let mut image = vec![0; 0x400];
        image[PAYLOAD_OFFSET] = 0xff;
        image[PAYLOAD_LENGTH + 1] = 0xff;
        assert!(payload(&image).is_none());
        assert!(payload(&[]).is_none());
    }

    #[test]
    fn dependencies_are_the_names_between_commas() {
        assert_eq!(
            dependencies(b"license=GPL\0depends=x_tables,nf-core\0name=a\0"),
            ["x_tables", "nf-core"]
        );
        assert!(dependencies(b"license=GPL\0depends=\0name=a\0").is_empty());
    }
}
