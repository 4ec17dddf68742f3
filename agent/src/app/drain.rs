//! The agent on its way out: no new connections through the engine, and time for what is under way.
//!
//! Bias: policy goes on until the last byte. Objects that change are still compiled, and open connections judged by
//! them. The kernel keeps the last plan, and its folder is free by now: another agent may take over meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::Signal;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};
use weir_core::compile::compile;
use weir_core::index::Index;
use weir_core::plan::Settings;

use super::attach::Attachments;
use crate::cluster::manifests::{Batch, Manifests};
use crate::engine::{self, Engine};
use crate::refusals::RefusalLog;

/// Between two looks at what is still open.
const LOOK: Duration = Duration::from_millis(100);
/// Between two lines about it.
const TELL: Duration = Duration::from_secs(2);

/// What ends an agent, and ends it at once the second time.
pub(super) struct Signals {
    /// SIGTERM.
    pub terminate: Signal,
    /// SIGINT.
    pub interrupt: Signal,
}

impl Signals {
    /// The next one's name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// What is left of the agent.
pub(super) struct Drain {
    /// What plans are made with.
    pub settings: Settings,
    /// The objects.
    pub index: Index,
    /// Network namespaces of pods.
    pub attachments: Attachments,
    /// Of the last plan.
    pub generation: u64,
    /// Where objects come from.
    pub manifests: Manifests,
    /// Refusals of the engine.
    pub refused: engine::Reported,
    /// Where they are told.
    pub log: RefusalLog,
}

impl Drain {
    /// Returns when nothing is open any more, `time` is over, or a signal says that it is enough.
    pub async fn run(mut self, engine: &Arc<Engine>, time: Duration, signals: &mut Signals) {
        // The engine's own deadline comes later, so that it is known here what was cut.
        engine.stop(time.saturating_add(2 * LOOK));
        let begun = Instant::now();
        let (mut told, mut watched) = (None, true);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let left = time.saturating_sub(begun.elapsed());
            tokio::select! {
                batch = self.manifests.next(), if watched => match batch {
                    Some(batch) => self.take(batch, engine),
                    None => {
                        warn!("the folder of manifests is not watched any more");
                        watched = false;
                    }
                },
                Some(refusal) = self.refused.recv() => self.log.add(refusal.line(), Instant::now()),
                _ = look.tick() => {
                    let open = engine.stats().open;
                    if open == 0 {
                        info!("drained: no connection is open any more");
                        break;
                    }
                    if left.is_zero() {
                        warn!(open, "the time to drain is over: what is still open is reset");
                        break;
                    }
                    if told.is_none_or(|told: Instant| told.elapsed() >= TELL) {
                        told = Some(Instant::now());
                        info!(open, seconds_left = left.as_secs(), "draining: waiting for what is under way");
                    }
                }
                signal = signals.next() => {
                    warn!(open = engine.stats().open, "{signal} again: what is still open is reset");
                    break;
                }
            }
        }
        self.log.flush(Instant::now() + Duration::from_secs(3600));
    }

    fn take(&mut self, batch: Batch, engine: &Engine) {
        let mut changed = false;
        for change in batch.changes {
            changed |= self.index.apply(change);
        }
        changed |= self.attachments.update(&mut self.index, &self.settings.node);
        if changed {
            self.generation += 1;
            engine.swap(compile(&self.index, &self.settings, self.generation).snapshot);
        }
    }
}
