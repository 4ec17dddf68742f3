//! The engine: connections that the kernel's programs do not decide alone.
//!
//! Bias: a small, shared-nothing proxy over a general one. One thread with a current-thread runtime per core, each with
//! its own listeners (`SO_REUSEPORT`) inside the pods' network namespaces; requests touch no lock and no state of
//! another core. Bytes are copied by `read` and `write` through a 256 KiB buffer per core rather than spliced: one hop on
//! loopback moved 9 to 13 Gbit/s either way, at 0.6 to 0.8 s of CPU per GiB for both, four runs in turn on a busy machine
//! of two cores; the copy needs no pipe per direction. A request costs two reads and two writes, and no timer.
//!
//! The publisher owns what goes in: it hands over pods ([`Engine::pods`]) before it captures them and snapshots
//! ([`Engine::swap`]) between taking grants away from the kernel and adding new ones. Each core owns its connections.
//! What is decided is decided by `weir-core` from the snapshot; nothing here knows SMI objects or BPF maps.
//!
//! ```text
//!   accept ─▶ flow ─┬─▶ relay                      bytes
//!      │            └─▶ http1 ─▶ upstream ⇄ pool   requests
//!      └ kernel: who, where to      judge, split: may it, and whose turn is it
//! ```

mod accept;
mod access;
mod account;
mod conn;
mod core;
mod flow;
mod http1;
mod http2;
mod judge;
mod kernel;
mod linger;
mod listen;
mod netns;
mod observe;
mod open;
mod opening;
mod outcome;
mod permit;
mod pods;
mod pool;
mod refuse;
mod relay;
mod reports;
mod settings;
mod share;
mod sni;
mod spare;
mod split;
mod stats;
mod turns;
mod upstream;

use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use weir_core::snapshot::Snapshot;

pub use access::{AccessLog, Entries, Entry, Logged, Note};
pub use kernel::{Direction, Kernel, ListenerKey};
pub use netns::Namespace;
pub use observe::{EdgeNumbers, Numbers, Side, SplitNumbers, Turn};
pub use open::{Found, Look, OpenConnection};
pub use outcome::{Allowed, Protocol};
pub use pods::{PodError, PodSpec};
pub use refuse::{Reason, Refusal};
pub use reports::{Reported, Reports, reports};
pub use settings::{Config, Http2, Limits, Times};
pub use stats::Stats;

use self::core::{Command, Core};
use account::Payers;
use observe::Registry;
use stats::Counters;

/// What all cores share; nothing that a request writes to but the count of connections, at their ends.
struct Shared {
    config: Config,
    kernel: Arc<dyn Kernel>,
    snapshot: ArcSwap<Snapshot>,
    refusals: Reports,
    payers: Arc<Payers>,
    registry: Arc<Registry>,
}

/// The running engine. Dropping it ends every connection with a reset.
pub struct Engine {
    shared: Arc<Shared>,
    cores: Vec<Handle>,
}

struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the cores' threads. Nobody is served before [`Engine::pods`], and nothing granted before
    /// [`Engine::swap`]. Refusals go to `refusals` as long as there is room, and are counted as lost otherwise.
    ///
    /// # Errors
    /// A thread or its runtime can't be made.
    pub fn start(mut config: Config, kernel: Arc<dyn Kernel>, refusals: Reports) -> io::Result<Engine> {
        config.cores = config.cores.max(1);
        let cores = config.cores;
        let registry = Arc::new(Registry::new(config.limits.workload_pairs, config.times.forget));
        let shared = Arc::new(Shared {
            registry,
            config,
            kernel,
            snapshot: ArcSwap::default(),
            refusals,
            payers: Arc::default(),
        });
        let cores = (0..cores)
            .map(|index| Handle::start(index, &shared))
            .collect::<io::Result<_>>()?;
        Ok(Engine { shared, cores })
    }

    /// Puts a snapshot in force: every request and connection that is judged from now on is judged by it, and what
    /// is open is judged again at once. Does not wait for that.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.shared.snapshot.store(snapshot.clone());
        self.shared.registry.judge(&snapshot);
        for core in &self.cores {
            core.tell(Command::Judge);
        }
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// Serves exactly these pods: opens what is missing, closes what has gone and ends its connections. All of them
    /// are listened for when this returns, but those that an error names; these are not served at all.
    pub async fn pods(&self, pods: Vec<PodSpec>) -> Vec<PodError> {
        let pods: Arc<[PodSpec]> = pods.into();
        let mut errors = self.serve(pods.clone()).await;
        if !errors.is_empty() {
            // A pod that one core can't serve must not be captured: the others close it too.
            let failed: BTreeSet<_> = errors.iter().map(PodError::pod).collect();
            let good = pods
                .iter()
                .filter(|spec| !failed.contains(&spec.pod))
                .cloned()
                .collect();
            self.serve(good).await;
            let mut seen = BTreeSet::new();
            errors.retain(|error| seen.insert(error.pod().clone()));
        }
        errors
    }

    /// The numbers of all cores, added up.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        for core in &self.cores {
            core.counters.add_to(&mut stats);
        }
        stats
    }

    /// What has passed between workloads since the start, pair by pair.
    pub fn edges(&self) -> Vec<EdgeNumbers> {
        self.shared.registry.edges()
    }

    /// Where splits have sent requests and connections since the start.
    pub fn splits(&self) -> Vec<SplitNumbers> {
        self.shared.registry.splits()
    }

    /// How often something was counted as `other`, for want of room.
    pub fn overflowed(&self) -> u64 {
        self.shared.registry.overflowed()
    }

    /// Takes no more connections, and no more requests than it has begun to read: listeners are closed, and idle
    /// connections in order. What is under way may end within `time`; the rest is reset. Does not wait for that, and
    /// goes on judging ([`Engine::swap`]). The first time counts, unless a later one is shorter.
    pub fn stop(&self, time: Duration) {
        for core in &self.cores {
            core.tell(Command::Stop(time));
        }
    }

    /// [`Engine::stop`], and blocks until the threads are gone.
    pub fn shutdown(mut self, time: Duration) {
        self.stop(time);
        for core in &mut self.cores {
            core.join();
        }
    }

    async fn serve(&self, pods: Arc<[PodSpec]>) -> Vec<PodError> {
        let mut replies = Vec::with_capacity(self.cores.len());
        for core in &self.cores {
            let (reply, replied) = oneshot::channel();
            core.tell(Command::Pods(pods.clone(), reply));
            replies.push(replied);
        }
        let mut errors = Vec::new();
        for replied in replies {
            match replied.await {
                Ok(failed) => errors.extend(failed),
                Err(_) => errors.extend(pods.iter().map(|pod| PodError::Stopped { pod: pod.pod.clone() })),
            }
        }
        errors
    }
}

impl Handle {
    fn start(index: usize, shared: &Arc<Shared>) -> io::Result<Handle> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let (commands, queue) = mpsc::unbounded_channel();
        let counters = Arc::new(Counters::default());
        let (shared, its_counters) = (shared.clone(), counters.clone());
        let run = move || {
            let core = Rc::new(Core::new(index, shared, its_counters));
            // What is still open when the core returns is dropped with the set, and so reset.
            LocalSet::new().block_on(&runtime, core.run(queue));
        };
        let thread = std::thread::Builder::new().name(format!("engine-{index}")).spawn(run)?;
        Ok(Handle {
            commands,
            counters,
            thread: Some(thread),
        })
    }

    /// A core that is gone hears nothing; [`Engine::pods`] finds out.
    fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    fn join(&mut self) {
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        if panicked {
            tracing::error!("a core of the engine has panicked");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for core in &self.cores {
            core.tell(Command::Stop(Duration::ZERO));
        }
        for core in &mut self.cores {
            core.join();
        }
    }
}
