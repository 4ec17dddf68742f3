//! Keeps a [`Folder`] in step with the directory that it stands for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::folder::{Batch, FileProblem, Folder, Place};
use super::scan::{Scan, Stamp};

/// Longer files are not read.
const MAX_SIZE: u64 = 32 << 20;

/// File systems stamp with a clock that stands still for up to 10 ms: a file whose stamp is younger than this when it
/// is read may change again without a new stamp.
const STAMP_DOUBT_NANOS: i128 = 100_000_000;

/// What was read of each file, and when.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    folder: Folder,
    read: BTreeMap<PathBuf, Seen>,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    doubtful: bool,
}

impl Reader {
    pub(super) fn new(root: &Path) -> Reader {
        Reader {
            root: root.to_owned(),
            folder: Folder::default(),
            read: BTreeMap::new(),
        }
    }

    /// Reads what is new since the last time. Files that `postponed` names are left as they were.
    pub(super) fn update(&mut self, postponed: impl Fn(&Path) -> bool) -> (Scan, Batch) {
        let scan = Scan::of(&self.root);
        for path in self.read.keys().filter(|path| scan.is_gone(path)) {
            self.folder.remove(path);
        }
        self.read.retain(|path, _| !scan.is_gone(path));
        for (path, stamp) in &scan.files {
            let known = self
                .read
                .get(path)
                .is_some_and(|seen| seen.stamp == *stamp && !seen.doubtful);
            if known || postponed(path) {
                continue;
            }
            match read(path) {
                Ok(text) => self.folder.put(path, &text),
                // Removed since it was listed; the next scan knows.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => self.folder.put_unreadable(path, &format!("can't be read: {error}")),
            }
            self.read.insert(
                path.clone(),
                Seen {
                    stamp: *stamp,
                    doubtful: is_doubtful(stamp),
                },
            );
        }
        let mut batch = self.folder.settle();
        for (path, reason) in &scan.unknown {
            // Read anew when it is back in sight, whatever its stamp.
            self.read.entry(path.clone()).and_modify(|seen| seen.doubtful = true);
            batch.problems.push(unknown(path, reason));
        }
        batch.problems.sort();
        (scan, batch)
    }
}

/// Reads files and folders once, without watching. A file that is named itself is read whatever its name ends with.
///
/// # Errors
/// One of the paths does not exist or can't be looked at.
pub fn load(paths: &[PathBuf]) -> io::Result<(Folder, Batch)> {
    let mut folder = Folder::default();
    let mut problems = Vec::new();
    for path in paths {
        let mut files = vec![path.clone()];
        let named = |error: io::Error| io::Error::new(error.kind(), format!("can't read {}: {error}", path.display()));
        if std::fs::metadata(path).map_err(named)?.is_dir() {
            let scan = Scan::of(path);
            problems.extend(scan.unknown.iter().map(|(path, reason)| unknown(path, reason)));
            files = scan.files.into_keys().collect();
        }
        for file in files {
            match read(&file) {
                Ok(text) => folder.put(&file, &text),
                Err(error) => folder.put_unreadable(&file, &format!("can't be read: {error}")),
            }
        }
    }
    let mut batch = folder.settle();
    batch.problems.extend(problems);
    batch.problems.sort();
    Ok((folder, batch))
}

fn unknown(path: &Path, reason: &str) -> FileProblem {
    let place = Place {
        file: path.to_owned(),
        document: 0,
        line: 0,
    };
    FileProblem {
        place,
        message: format!("{reason}; until that is mended, nothing new is taken from there"),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {MAX_SIZE} bytes"),
        ));
    }
    Ok(text)
}

fn is_doubtful(stamp: &Stamp) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| i128::try_from(now.as_nanos()).unwrap_or(0));
    let (seconds, nanos) = stamp.changed;
    now - (i128::from(seconds) * 1_000_000_000 + i128::from(nanos)) < STAMP_DOUBT_NANOS
}
