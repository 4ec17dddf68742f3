//! Objects from a folder: `*.yaml`, `*.yml` and `*.json`, recursively, several documents a file.
//!
//! Bias: what was good stays until something good takes its place. A change is in force within 250 ms of its last
//! write; a broken file keeps its last good objects; nothing that a file holds can stop the watching. One thread owns
//! all state ([`Folder`] and what it read); the agent gets [`Batch`]es over a channel.

mod document;
mod folder;
mod reader;
mod scan;
mod watch;

use std::io;
use std::path::Path;
use std::thread;

use tokio::sync::mpsc;

pub use document::{Broken, Document, read};
pub use folder::{Batch, FileFinding, FileProblem, Folder, Place};
pub use reader::load;

/// Batches that may wait for the agent; more make the thread wait.
const WAITING: usize = 4;

/// A folder that is watched. Dropping it ends the watching.
#[derive(Debug)]
pub struct Manifests {
    batches: mpsc::Receiver<Batch>,
}

impl Manifests {
    /// Begins to watch the folder. The first batch, of all that is there, comes even if that is nothing.
    ///
    /// # Errors
    /// The folder can't be read, or the thread can't be started.
    pub fn open(folder: &Path) -> io::Result<Manifests> {
        // A name that stays the same when the working directory changes; links in it may change and are followed anew.
        let folder = std::path::absolute(folder)?;
        std::fs::read_dir(&folder)?;
        let (sender, batches) = mpsc::channel(WAITING);
        let wanted = sender.clone();
        let reader = reader::Reader::new(&folder);
        thread::Builder::new().name("manifests".to_owned()).spawn(move || {
            watch::run(
                reader,
                |batch| sender.blocking_send(batch).is_ok(),
                || !wanted.is_closed(),
            );
        })?;
        Ok(Manifests { batches })
    }

    /// The next batch. `None` where the watching has ended, which only a panic of its thread does.
    pub async fn next(&mut self) -> Option<Batch> {
        self.batches.recv().await
    }
}
