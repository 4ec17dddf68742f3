//! When to look: as soon as a change has come to rest, and every few seconds in any case.
//!
//! Bias: events only say "look now"; what is true comes from the scan. So a lost event costs seconds, never truth.
//! Editors and `kubectl` write in several steps. Two rules keep the steps in between out of force: a scan waits until
//! nothing has happened for [`QUIET`] (at most [`LATEST`]), and a file that somebody has written to and not closed yet is
//! left as it was (at most [`OPEN_AT_MOST`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tracing::{error, info, warn};

use super::folder::{Batch, FileProblem};
use super::reader::Reader;
use super::scan::Scan;

/// A change is at rest when nothing followed for so long.
const QUIET: Duration = Duration::from_millis(30);
/// A folder that is never at rest is looked at after so long.
const LATEST: Duration = Duration::from_millis(120);
/// A file that stays open for writing is read after so long.
const OPEN_AT_MOST: Duration = Duration::from_secs(1);
/// The scan that needs no event.
const PERIOD: Duration = Duration::from_secs(2);
/// The same where the kernel can't watch.
const PERIOD_UNWATCHED: Duration = Duration::from_millis(150);

/// Looks at the folder until `send` returns false. The first batch is sent at once, later ones where they say something new.
pub(super) fn run(mut reader: Reader, mut send: impl FnMut(Batch) -> bool, is_wanted: impl Fn() -> bool) {
    let mut watches = Watches::new();
    let mut open: BTreeMap<PathBuf, Instant> = BTreeMap::new();
    let mut last: Option<Batch> = None;
    while is_wanted() {
        let (scan, batch) = reader.update(|path| open.contains_key(path));
        let new_directories = watches.follow(&scan);
        let said = last
            .as_ref()
            .is_some_and(|last| last.problems == batch.problems && last.findings == batch.findings);
        if !said || !batch.changes.is_empty() {
            report(last.as_ref().map_or(&[], |last| &last.problems), &batch.problems);
            if !send(batch.clone()) {
                return;
            }
            last = Some(batch);
        }
        if !new_directories {
            // Otherwise something may have come into them before they were watched.
            watches.wait(&mut open);
        }
        open.retain(|_, since| since.elapsed() < OPEN_AT_MOST);
    }
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

    /// Waits until there is a reason to look. Collects files that are open for writing.
    fn wait(&mut self, open: &mut BTreeMap<PathBuf, Instant>) {
        let mut period = if self.watcher.is_some() {
            PERIOD
        } else {
            PERIOD_UNWATCHED
        };
        if let Some(oldest) = open.values().min() {
            period = period.min(OPEN_AT_MOST.saturating_sub(oldest.elapsed()));
        }
        let mut deadline = Instant::now() + period;
        let mut first = None;
        loop {
            match self
                .events
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(event) if self.is_change(&event, open) => {
                    let latest = *first.get_or_insert_with(|| Instant::now() + LATEST);
                    deadline = latest.min(Instant::now() + QUIET);
                }
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

    fn is_change(&mut self, event: &notify::Result<Event>, open: &mut BTreeMap<PathBuf, Instant>) -> bool {
        // An error may be an overflow of the queue: look.
        let Ok(event) = event else { return true };
        let close = |open: &mut BTreeMap<PathBuf, Instant>, paths: &[PathBuf]| {
            paths.iter().for_each(|path| _ = open.remove(path))
        };
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => close(open, &event.paths),
            // Reading, ours included.
            EventKind::Access(_) => return false,
            EventKind::Modify(ModifyKind::Data(_)) => {
                for path in &event.paths {
                    open.entry(path.clone()).or_insert_with(Instant::now);
                }
            }
            EventKind::Remove(_) => {
                close(open, &event.paths);
                event.paths.iter().for_each(|path| self.forget(path));
            }
            _ => close(open, &event.paths),
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
