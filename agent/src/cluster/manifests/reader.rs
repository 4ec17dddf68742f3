//! Keeps a [`Folder`] in step with the directory that it stands for.
//!
//! Bias: nothing counts until it has come to rest. Editors, `kubectl` and volumes change a folder in several steps, and a
//! scan may fall between two of them. So a file that is new, different or gone is taken when two looks [`QUIET`] apart
//! agree on it, when nobody has it open for writing, and when all others are at rest too. Who never rests is not waited
//! for: [`LATEST`] for the others' sake, [`RESTLESS`] for a file's own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder::{Batch, FileProblem, Folder, Place};
use super::scan::{Scan, Stamp};

/// Longer files are not read.
const MAX_SIZE: u64 = 32 << 20;

/// A file is at rest when two looks so far apart agree. Longer than the 10 ms for which a file system's clock stands
/// still, so that a stamp that has been at rest tells of every later write.
pub(super) const QUIET: Duration = Duration::from_millis(30);
/// Files at rest wait so long for those that are not.
const LATEST: Duration = Duration::from_millis(120);
/// A file that is not at rest, or open for writing, is read after so long.
pub(super) const RESTLESS: Duration = Duration::from_secs(1);

/// What was read of each file, and what is yet to be read.
#[derive(Debug)]
pub(super) struct Reader {
    root: PathBuf,
    folder: Folder,
    read: BTreeMap<PathBuf, Seen>,
    pending: BTreeMap<PathBuf, Pending>,
    unknown: BTreeMap<PathBuf, String>,
    /// Whether there was a look before. The first takes everything at once.
    looked: bool,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// It was at rest; otherwise it is read again.
    at_rest: bool,
}

/// A file that is not as it was read.
#[derive(Debug)]
struct Pending {
    /// What it is now; `None`: gone.
    state: Option<Stamp>,
    /// Since when it is that.
    same_since: Instant,
    /// Since when it is not as it was read.
    since: Instant,
}

/// What a look at the folder gave.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) scan: Scan,
    /// `None` where nothing new was taken.
    pub(super) batch: Option<Batch>,
    /// Something is not at rest yet: look again after [`QUIET`].
    pub(super) again: bool,
}

impl Reader {
    pub(super) fn new(root: &Path) -> Reader {
        Reader {
            root: root.to_owned(),
            folder: Folder::default(),
            read: BTreeMap::new(),
            pending: BTreeMap::new(),
            unknown: BTreeMap::new(),
            looked: false,
        }
    }

    /// Looks at the folder and takes what is at rest. `is_open` tells, by device and inode, who is being written.
    pub(super) fn look(&mut self, now: Instant, is_open: impl Fn((u64, u64)) -> bool) -> Look {
        let scan = Scan::of(&self.root);
        self.compare(&scan, now);
        let at_rest = |it: &Pending| now - it.same_since >= QUIET && !it.state.is_some_and(|stamp| is_open(stamp.file));
        let restless = |it: &Pending| now - it.since >= RESTLESS;
        let first = !std::mem::replace(&mut self.looked, true);
        let take_any = first
            || self.pending.values().all(|it| at_rest(it) || restless(it))
            || self.pending.values().any(|it| now - it.since >= LATEST);
        let mut is_new = false;
        if take_any {
            is_new = self.unknown != scan.unknown;
            self.unknown.clone_from(&scan.unknown);
            let (taken, pending) = std::mem::take(&mut self.pending)
                .into_iter()
                .partition(|(_, it)| first || at_rest(it) || restless(it));
            self.pending = pending;
            let taken: BTreeMap<PathBuf, Pending> = taken;
            for (path, it) in taken {
                let sure = !first && !restless(&it);
                is_new |= self.take(path, it, sure);
            }
        }
        let batch = is_new.then(|| {
            let mut batch = self.folder.settle();
            batch
                .problems
                .extend(scan.unknown.iter().map(|(path, reason)| unknown(path, reason)));
            batch.problems.sort();
            batch
        });
        let again = first || !self.pending.is_empty();
        Look { scan, batch, again }
    }

    /// Notes what is not as it was read.
    fn compare(&mut self, scan: &Scan, now: Instant) {
        let new =
            |path: &PathBuf, stamp: &Stamp| self.read.get(path).is_none_or(|it| it.stamp != *stamp || !it.at_rest);
        let changed = scan
            .files
            .iter()
            .filter(|(path, stamp)| new(path, stamp))
            .map(|(path, stamp)| (path, Some(*stamp)));
        let gone = self
            .read
            .keys()
            .filter(|path| scan.is_gone(path))
            .map(|path| (path, None));
        let mut before = std::mem::take(&mut self.pending);
        let pending = changed.chain(gone).map(|(path, state)| {
            let before = before.remove(path);
            let same = before.as_ref().filter(|it| it.state == state);
            let same_since = same.map_or(now, |it| it.same_since);
            let since = before.as_ref().map_or(now, |it| it.since);
            (
                path.clone(),
                Pending {
                    state,
                    same_since,
                    since,
                },
            )
        });
        self.pending = pending.collect();
    }

    /// Takes a file as it is. Returns whether there is anything to settle; otherwise it changes just now and stays pending.
    fn take(&mut self, path: PathBuf, it: Pending, sure: bool) -> bool {
        let Some(stamp) = it.state else {
            self.folder.remove(&path);
            self.read.remove(&path);
            return true;
        };
        match read(&path) {
            Ok((_, now)) if now != stamp && sure => _ = self.pending.insert(path, it),
            Err(error) if error.kind() == io::ErrorKind::NotFound => _ = self.pending.insert(path, it),
            outcome => {
                match outcome {
                    Ok((text, _)) => self.folder.put(&path, &text),
                    Err(error) => self.folder.put_unreadable(&path, &format!("can't be read: {error}")),
                }
                self.read.insert(path, Seen { stamp, at_rest: sure });
                return true;
            }
        }
        false
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
                Ok((text, _)) => folder.put(&file, &text),
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

/// The text, and the stamp of what it was read from.
fn read(path: &Path) -> io::Result<(String, Stamp)> {
    let mut text = String::new();
    let file = File::open(path)?;
    (&file).take(MAX_SIZE + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        let message = format!("it is longer than {MAX_SIZE} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok((text, Stamp::of(&file.metadata()?)))
}

#[cfg(test)]
mod tests;
