//! The access log: one line for each request, stream and connection that the engine has seen, on standard output.
//!
//! Bias: a slow reader of the log costs lines, never traffic. One thread takes entries out of the cores' queues and
//! writes them; the cores count what did not fit. What clients send is printable ASCII by then or is escaped here: a
//! line is always one line, and has only the fields that it says. Owned by the thread.

mod line;
mod time;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::engine::Entries;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `name=value`, quoted where needed.
    Text,
    /// One JSON object a line.
    Json,
}

/// How long a line waits at most, unless the queue fills up.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the agent waits for the last lines when it stops.
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread that writes.
pub struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Writes what comes to `out`, which may block.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(mut entries: Entries, format: Format, mut out: impl Write + Send + 'static) -> io::Result<Writer> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            entries.wakes(std::thread::current());
            let mut lines = String::new();
            loop {
                // Before the last look, so that nothing is left behind.
                let last = stopped.load(Ordering::Acquire);
                let taken = entries.take(|entry| line::write(entry, format, &mut lines));
                // Nobody is there to be told that a line could not be written.
                let _ = out.write_all(lines.as_bytes()).and_then(|()| out.flush());
                lines.clear();
                lines.shrink_to(1 << 20);
                if last {
                    return;
                }
                if taken == 0 {
                    std::thread::park_timeout(PAUSE);
                }
            }
        };
        let thread = std::thread::Builder::new().name("access-log".to_owned()).spawn(work)?;
        Ok(Writer { stop, thread })
    }

    /// Writes what is left and ends. Gives up on an output that blocks.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        let begun = Instant::now();
        while !self.thread.is_finished() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
