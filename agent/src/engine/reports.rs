//! The way of refusals to the log: a bounded queue in which no client takes the place of another.
//!
//! Bias: the data path never waits for the log, and a flood of one client's refusals hides nobody else's. A client may
//! fill what `share` gives it; what is more is counted as lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::account::Payer;
use super::refuse::Refusal;
use super::share::Cap;

/// The engine's end.
pub struct Reports {
    queue: mpsc::Sender<(Refusal, Arc<Payer>)>,
    cap: Cap,
    waiting: Arc<AtomicUsize>,
}

/// The reader's end.
pub struct Reported {
    queue: mpsc::Receiver<(Refusal, Arc<Payer>)>,
    waiting: Arc<AtomicUsize>,
}

/// A queue for `most` refusals, of which one client gets `share` percent as long as no other has any.
pub fn reports(most: usize, share: u8) -> (Reports, Reported) {
    let (sender, receiver) = mpsc::channel(most.max(1));
    let waiting = Arc::<AtomicUsize>::default();
    let cap = Cap {
        all: most,
        pod: most,
        share: usize::from(share),
    };
    let reports = Reports {
        queue: sender,
        cap,
        waiting: waiting.clone(),
    };
    (
        reports,
        Reported {
            queue: receiver,
            waiting,
        },
    )
}

impl Reports {
    /// Hands a refusal on; false if it is lost. It is only made if there is room for it.
    pub(super) fn send(&self, payer: &Arc<Payer>, refusal: impl FnOnce() -> Refusal) -> bool {
        let own = payer.reports.load(Ordering::Relaxed);
        if !self.cap.fits(own, self.waiting.load(Ordering::Relaxed)) {
            return false;
        }
        let Ok(room) = self.queue.try_reserve() else {
            return false;
        };
        payer.reports.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        room.send((refusal(), payer.clone()));
        true
    }
}

impl Reported {
    /// The next refusal; `None` once the engine is gone.
    pub async fn recv(&mut self) -> Option<Refusal> {
        let (refusal, payer) = self.queue.recv().await?;
        payer.reports.fetch_sub(1, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(refusal)
    }
}
