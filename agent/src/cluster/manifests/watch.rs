//! When to look: as soon as something happens, and every few seconds in any case.
//!
//! Bias: events only say "look now" and which files are open for writing; what is true comes from the scan. So a lost
//! event costs seconds, never truth.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{error, info, warn};

use super::folder::{Batch, FileProblem};
use super::reader::{Look, QUIET, RESTLESS, Reader};
use super::scan::Scan;

/// Events come in bursts: a look waits so long for the rest of one.
const BURST: Duration = Duration::from_millis(10);
/// The scan that needs no event.
const PERIOD: Duration = Duration::from_secs(2);
/// The same where the kernel can't watch.
const PERIOD_UNWATCHED: Duration = Duration::from_millis(150);

/// Looks at the folder until `send` returns false. The first batch is sent at once, later ones where they say something new.
pub(super) fn run(mut reader: Reader, mut send: impl FnMut(Batch) -> bool, is_wanted: impl Fn() -> bool) {
    let mut watches = Watches::new();
    let mut open = Open::new();
    let mut last: Option<Batch> = None;
    while is_wanted() {
        let begin = Instant::now();
        open.retain(|_, writing| writing.since.elapsed() < RESTLESS);
        let Look { scan, batch, again } = reader.look(begin, |file| open.contains_key(&file));
        // A folder that never rests must not cost a core.
        let pause = begin.elapsed() * 4;
        let new_directories = watches.follow(&scan);
        // An empty folder has nothing to read, and yet a first batch.
        if let Some(batch) = batch
            .or_else(|| last.is_none().then(Batch::default))
            .filter(|batch| says_more(batch, last.as_ref()))
        {
            report(last.as_ref().map_or(&[], |last| &last.problems), &batch.problems);
            last = Some(Batch {
                changes: Vec::new(),
                ..batch.clone()
            });
            if !send(batch) {
                return;
            }
        }
        // Something may have come into new directories before they were watched.
        let soon = (again || new_directories).then(|| pause.max(QUIET));
        watches.wait(soon, pause.max(BURST), &mut open);
    }
}

/// Files that somebody has written to and not closed yet, by device and inode.
type Open = BTreeMap<(u64, u64), Writing>;

struct Writing {
    since: Instant,
    /// Its name when it was written to.
    path: PathBuf,
}

fn says_more(batch: &Batch, last: Option<&Batch>) -> bool {
    let the_same = |last: &Batch| last.problems == batch.problems && last.findings == batch.findings;
    !batch.changes.is_empty() || !last.is_some_and(the_same)
}

fn report(before: &[FileProblem], now: &[FileProblem]) {
    for FileProblem { place, message } in now.iter().filter(|it| !before.contains(it)) {
        error!(file = %place.file.display(), document = place.document, line = place.line, problem = %message, "manifest is broken");
    }
    for FileProblem { place, .. } in before
        .iter()
        .filter(|it| now.iter().all(|now| now.place.file != it.place.file))
    {
        info!(file = %place.file.display(), "manifest is good again");
    }
}

/// The watched directories.
struct Watches {
    /// `None` where the kernel gives none: then the period is shorter.
    watcher: Option<RecommendedWatcher>,
    events: Receiver<notify::Result<Event>>,
    /// By device and inode.
    directories: BTreeMap<(u64, u64), PathBuf>,
}

impl Watches {
    fn new() -> Watches {
        let (sender, events) = mpsc::channel();
        let watcher = RecommendedWatcher::new(sender, Config::default().with_follow_symlinks(true));
        let watcher = watcher
            .inspect_err(|error| warn!(%error, "can't watch for changes, so folders are polled"))
            .ok();
        Watches {
            watcher,
            events,
            directories: BTreeMap::new(),
        }
    }

    /// Watches what the scan saw. Returns whether something is watched that was not before.
    fn follow(&mut self, scan: &Scan) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let before = std::mem::take(&mut self.directories);
        for (id, path) in &before {
            if scan.directories.get(id) != Some(path) {
                // An error says that it is gone altogether.
                let _ = watcher.unwatch(path);
            }
        }
        let mut is_new = false;
        for (id, path) in &scan.directories {
            if before.get(id) != Some(path) {
                match watcher.watch(path, RecursiveMode::NonRecursive) {
                    Ok(()) => is_new = true,
                    Err(error) if matches!(error.kind, notify::ErrorKind::PathNotFound) => continue,
                    Err(error) => {
                        let path = path.display();
                        warn!(%path, %error, "can't watch, so folders are polled; is fs.inotify.max_user_watches too small?");
                        self.watcher = None;
                        return false;
                    }
                }
            }
            self.directories.insert(*id, path.clone());
        }
        is_new
    }

    /// Waits until there is a reason to look: an event, or the time. Collects files that are open for writing.
    fn wait(&mut self, soon: Option<Duration>, burst: Duration, open: &mut Open) {
        let period = if self.watcher.is_some() {
            PERIOD
        } else {
            PERIOD_UNWATCHED
        };
        let mut deadline = Instant::now() + soon.unwrap_or(period);
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) if self.is_change(&event, open) => deadline = deadline.min(Instant::now() + burst),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return,
                // Without a watcher nobody sends.
                Err(RecvTimeoutError::Disconnected) => {
                    std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                    return;
                }
            }
        }
    }

    fn is_change(&mut self, event: &notify::Result<Event>, open: &mut Open) -> bool {
        // An error may be an overflow of the queue: look.
        let Ok(event) = event else { return true };
        let files = event.paths.iter().filter_map(|path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some(((metadata.dev(), metadata.ino()), path))
        });
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                files.for_each(|(file, _)| _ = open.remove(&file));
                // Who writes beside the place and renames has done both before this event is read: then the name that
                // was closed leads to no file any more.
                open.retain(|_, writing| !event.paths.contains(&writing.path));
            }
            // Reading, ours included.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => files.for_each(|(file, path)| {
                open.entry(file).or_insert_with(|| Writing {
                    since: Instant::now(),
                    path: path.clone(),
                });
            }),
            EventKind::Remove(_) => event.paths.iter().for_each(|path| self.forget(path)),
            _ => {}
        }
        true
    }

    /// A directory that was removed, and may come back under its name, has to be watched anew.
    fn forget(&mut self, path: &Path) {
        let watched = self.directories.len();
        self.directories.retain(|_, it| it != path);
        if self.directories.len() < watched
            && let Some(watcher) = &mut self.watcher
        {
            let _ = watcher.unwatch(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, EventAttributes};

    use super::*;

    #[test]
    fn a_file_that_was_renamed_before_its_close_was_seen_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let (partial, place) = (dir.path().join(".a.partial"), dir.path().join("a.yaml"));
        let (mut watches, mut open) = (Watches::new(), Open::new());
        let event = |kind, path: &Path| {
            Ok(Event {
                kind,
                paths: vec![path.to_owned()],
                attrs: EventAttributes::new(),
            })
        };
        std::fs::write(&partial, "text").unwrap();
        let written = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        assert!(watches.is_change(&event(written, &partial), &mut open));
        assert_eq!(open.len(), 1);
        std::fs::rename(&partial, &place).unwrap();
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(watches.is_change(&event(closed, &partial), &mut open));
        assert!(open.is_empty());
    }
}
