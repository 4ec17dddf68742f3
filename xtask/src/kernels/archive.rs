//! An initramfs archive: cpio in the "newc" format (`Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! Written here because it is one header and some padding, and a program for it would need a folder with the guest's
//! files, owners and modes laid out as root first.

use std::collections::BTreeSet;
use std::path::Path;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_755;

/// An archive that is being filled. Folders appear with the first file in them.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// One file, executable, owned by root. `path` is absolute in the guest.
    pub fn file(&mut self, path: &str, content: &[u8]) {
        if let Some(parent) = Path::new(path).parent() {
            self.folder(&parent.to_string_lossy());
        }
        self.entry(path, FILE, content);
    }

    /// One folder and those above it, unless they are there.
    pub fn folder(&mut self, path: &str) {
        let above: Vec<String> = Path::new(path)
            .ancestors()
            .map(|dir| dir.to_string_lossy().into_owned())
            .collect();
        for dir in above.iter().rev().filter(|dir| !matches!(dir.as_str(), "/" | "")) {
            if self.folders.insert(dir.clone()) {
                self.entry(dir, FOLDER, &[]);
            }
        }
    }

    /// The archive with its end mark. Archives may follow each other in one file.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.entries += 1;
        // inode, mode, uid, gid, links, mtime, size, device (2), its own device (2), length of the name with NUL, check
        let size = content.len() as u32;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn folders_come_before_their_files_and_once() {
        let mut archive = Archive::default();
        archive.file("/lib/modules/a.ko", b"a");
        archive.file("/lib/modules/b.ko", b"bb");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<&str> = text
            .split("070701")
            .skip(1)
            .filter_map(|entry| entry.get(104..)?.split('\0').next())
            .collect();
        assert_eq!(
            names,
            [
                "lib",
                "lib/modules",
                "lib/modules/a.ko",
                "lib/modules/b.ko",
                "TRAILER!!!"
            ]
        );
        assert_eq!(bytes.len() % 4, 0);
    }
}
