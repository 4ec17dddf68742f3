//! What is in the folder now: manifests with a stamp that changes when they do, and the directories to watch.
//!
//! Bias: a scan looks at everything, every time. It costs a `stat` a file and needs no memory of events, so that no
//! order of events can make it wrong. Names that begin with a dot are passed over: editors' swap files, `.git`, and the
//! `..data` folders that Kubernetes volumes point their links to. Links are followed; each directory is visited once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Deeper folders are not looked at.
const MAX_DEPTH: usize = 16;

/// Changes whenever the content of a file may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Device and inode.
    pub(super) file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    /// Seconds and nanoseconds of the last change of the inode, which no program can set.
    changed: (i64, i64),
}

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            file: (metadata.dev(), metadata.ino()),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The state of the folder at one moment.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Manifests, and their stamps.
    pub(super) files: BTreeMap<PathBuf, Stamp>,
    /// What could not be looked at. What lies at or below is unknown, not gone.
    pub(super) unknown: BTreeMap<PathBuf, String>,
    /// Every directory whose entries matter, those that links lead to included, by device and inode: one that takes
    /// the place of another is another.
    pub(super) directories: BTreeMap<(u64, u64), PathBuf>,
    visited: BTreeSet<(u64, u64)>,
}

impl Scan {
    /// Looks at the folder.
    pub(super) fn of(root: &Path) -> Scan {
        let mut scan = Scan::default();
        if fs::symlink_metadata(root).is_ok_and(|metadata| metadata.is_symlink()) {
            scan.link_from(root.parent());
        }
        scan.directory(root, 0);
        scan
    }

    fn directory(&mut self, path: &Path, depth: usize) {
        if let Err(error) = self.try_directory(path, depth) {
            // Gone since it was listed: that is an answer, except for the folder itself.
            if depth == 0 || error.kind() != ErrorKind::NotFound {
                self.unknown
                    .insert(path.to_owned(), format!("can't read the folder: {error}"));
            }
        }
    }

    fn try_directory(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        let id = (metadata.dev(), metadata.ino());
        if depth > MAX_DEPTH || !self.visited.insert(id) {
            return Ok(());
        }
        self.directories.insert(id, path.to_owned());
        let mut entries = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let is_link = entry.file_type()?.is_symlink();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => self.directory(&path, depth + 1),
                Ok(metadata) if metadata.is_file() && is_manifest(&path) => {
                    if is_link {
                        self.link_from(fs::canonicalize(&path)?.parent());
                    }
                    self.files.insert(path, Stamp::of(&metadata));
                }
                Ok(_) => {}
                // A link that leads nowhere for now is no removed file.
                Err(error) if is_manifest(&path) && (is_link || error.kind() != ErrorKind::NotFound) => {
                    self.unknown.insert(path, format!("can't be read: {error}"));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// A directory of which one entry matters.
    fn link_from(&mut self, directory: Option<&Path>) {
        if let Some(path) = directory
            && let Ok(metadata) = fs::metadata(path)
        {
            self.directories
                .entry((metadata.dev(), metadata.ino()))
                .or_insert_with(|| path.to_owned());
        }
    }

    /// Whether a file that is not in [`Scan::files`] is gone, rather than out of sight.
    pub(super) fn is_gone(&self, file: &Path) -> bool {
        !self.files.contains_key(file) && !file.ancestors().any(|path| self.unknown.contains_key(path))
    }
}

/// Whether the name ends as manifests do.
fn is_manifest(path: &Path) -> bool {
    matches!(
        path.extension().and_then(|it| it.to_str()),
        Some("yaml" | "yml" | "json")
    )
}
