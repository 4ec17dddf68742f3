//! The composition root: everything is made and wired here, and nowhere else.
//!
//! ```text
//! manifests ─▶ index ─▶ compile ─▶ publisher ─┬─▶ kernel maps and links
//!                ▲                            └─▶ engine
//!   attachments ─┘         ring buffer, engine ─▶ refusal log
//! ```
//!
//! | Port | Where | Why |
//! |---|---|---|
//! | 15000 | loopback of the node | admin: probes, metrics, the plan, what is open |
//! | 15001 | each enrolled pod | what the pod's connect() was turned to |
//! | 15006 | each enrolled pod | what sk_lookup steers to the engine |
//!
//! Bias: one task owns index, attachments and publisher, so that no two plans are ever put in force at once.

mod attach;
mod drain;
mod news;
pub mod node;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing::{error, info, warn};
use weir_core::compile::compile;
use weir_core::index::Index;
use weir_core::plan::{Plan, Settings};

use crate::access_log::{self, Format};
use crate::admin::{Admin, State};
use crate::bpf::{self, Events, Origins, Sizes, Tables};
use crate::cluster::manifests::{Batch, Manifests};
use crate::engine::{self, AccessLog, Engine, Logged};
use crate::metrics::{EngineReport, Metrics};
use crate::publish::Publisher;
use crate::refusals::{self, RefusalLog};
use attach::Attachments;
use drain::{Drain, Signals};
use news::News;

/// Everything that the command line can say.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder of manifests.
    pub manifests: PathBuf,
    /// This node's name.
    pub node: String,
    /// Admin address.
    pub admin: SocketAddr,
    /// Where the programs are attached.
    pub cgroup: PathBuf,
    /// The agent's folder in bpffs.
    pub bpffs: PathBuf,
    /// Table sizes.
    pub sizes: Sizes,
    /// How long answers to datagrams are waited for, and how long a UDP flow keeps to its endpoint, seconds.
    pub udp_idle_seconds: u32,
    /// `errno` of a refused `connect()`.
    pub errno: u32,
    /// The engine.
    pub engine: engine::Config,
    /// What the access log has, and how its lines look.
    pub access_log: Option<(Logged, Format)>,
    /// Remove everything from the kernel when the agent stops.
    pub uninstall: bool,
    /// For what is under way when the agent stops.
    pub drain: Duration,
}

/// Lines of the access log that wait to be written, for each core; more are counted as lost.
const ACCESS_QUEUE: usize = 8192;
/// Between two looks at what can't be attached and what the refusal log holds back.
const TICK: Duration = Duration::from_secs(1);

/// Runs the agent until SIGTERM or SIGINT, and then until what is under way has ended or had its time.
///
/// # Errors
/// Something without which nothing could be enforced failed; the message says what and the likely cause.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals {
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    let listener = TcpListener::bind(config.admin).await.with_context(|| {
        format!(
            "can't listen on the admin address {}, maybe another agent runs",
            config.admin
        )
    })?;
    let mut manifests = Manifests::open(&config.manifests)
        .with_context(|| format!("can't read the folder of manifests {}", config.manifests.display()))?;

    // Before anything is pinned: the programs are attached with the first plan only.
    let cgroup = config.cgroup.display();
    match bpf::mount::is_cgroup2(&config.cgroup) {
        Ok(true) => {}
        Ok(false) => bail!("{cgroup} is not in a cgroup v2 file system, name one with --cgroup"),
        Err(error) => return Err(error).with_context(|| format!("can't use {cgroup} as the pods' cgroup")),
    }
    let mut programs = bpf::load(&bpf::Options {
        bpffs: config.bpffs.clone(),
        sizes: config.sizes,
        udp_idle_seconds: config.udp_idle_seconds,
    })?;
    let origins = Arc::new(Origins::new(&programs)?);
    let kernel_stats = bpf::Stats::take(&mut programs)?;
    let events = Events::take(&mut programs)?;
    // SAFETY: the descriptor is the ring buffer's own, which the registration owns and never gives away.
    let events = unsafe { AsyncFd::register_with_interest(events, Interest::READABLE) }
        .map_err(|error| anyhow!("can't wait for kernel events: {error}"))?;
    let tables = Tables::take(&mut programs, &config.sizes)?;
    let publisher = Publisher::new(programs, tables, origins.clone(), config.cgroup.clone(), config.sizes);

    let limits = &config.engine.limits;
    let (refusals, mut refused) = engine::reports(limits.reports, limits.pod_share);
    let (mut engine_config, mut access_log) = (config.engine.clone(), None);
    if let Some((logged, format)) = config.access_log {
        let (log, entries) = AccessLog::new(logged, ACCESS_QUEUE);
        engine_config.access_log = Some(log);
        let writer = access_log::Writer::start(entries, format, std::io::stdout());
        access_log = Some(writer.context("can't start the access log")?);
    }
    let engine = Arc::new(Engine::start(engine_config, origins, refusals).context("can't start the engine")?);
    let scraped = engine.clone();
    let metrics = Arc::new(Metrics::new(
        Box::new(move || kernel_stats.read()),
        Box::new(move || EngineReport::of(&scraped)),
    ));
    let state = Arc::new(arc_swap::ArcSwap::from_pointee(State::default()));
    let admin = Admin {
        state: state.clone(),
        metrics: metrics.clone(),
        engine: engine.clone(),
    };
    info!(admin = %config.admin, node = %config.node, manifests = %config.manifests.display(), "agent started");
    let serving = tokio::spawn(admin.serve(listener));

    let mut app = App {
        settings: Settings {
            node: config.node.clone(),
            outbound_port: config.engine.outbound_port,
            inbound_port: config.engine.inbound_port,
            errno: config.errno,
            node_addresses: Default::default(),
        },
        index: Index::new(),
        attachments: Attachments::default(),
        publisher,
        engine: engine.clone(),
        metrics,
        state,
        batch: Batch::default(),
        news: News::default(),
        generation: 0,
        in_force: None,
        holding: true,
        log: RefusalLog::default(),
    };
    app.look_at_node();
    if node::is_host_network() == Some(false) {
        info!(
            addresses = ?app.settings.node_addresses,
            "not in the host's network namespace: the kubelet's probes pass only if they come from these addresses"
        );
    }
    let outcome = tokio::select! {
        outcome = app.work(&mut manifests, events, &mut refused) => outcome,
        signal = signals.next() => { info!("{signal}: stopping"); Ok(()) }
    };
    // Waited for, because the task holds the engine through the metrics, and the admin address is the next agent's.
    serving.abort();
    let _ = serving.await;
    let drain = app.on_the_way_out(manifests, refused);
    if config.uninstall {
        uninstall(&config);
    }
    drain.run(&engine, config.drain, &mut signals).await;
    // Nobody else holds it by now. Resets what is left.
    drop(engine);
    if let Some(writer) = access_log {
        writer.finish();
    }
    outcome
}

fn uninstall(config: &Config) {
    match bpf::uninstall(&config.bpffs) {
        Ok(_) => info!(bpffs = %config.bpffs.display(), "removed programs, links and maps"),
        Err(error) => error!(%error, "can't remove everything from the kernel, try `weir uninstall`"),
    }
}

struct App {
    settings: Settings,
    index: Index,
    attachments: Attachments,
    publisher: Publisher,
    engine: Arc<Engine>,
    metrics: Arc<Metrics>,
    state: Arc<arc_swap::ArcSwap<State>>,
    /// What is wrong with files and objects, as the source last told.
    batch: Batch,
    news: News,
    generation: u64,
    /// The last plan, and whether part of it is missing in the kernel or the engine.
    in_force: Option<(Arc<Plan>, bool)>,
    /// Something could not be read since the start: what it would enrol is not known, so nothing is given up.
    holding: bool,
    log: RefusalLog,
}

impl App {
    /// Lets go of the kernel, of the folder in bpffs and of the engine's numbers.
    fn on_the_way_out(self, manifests: Manifests, refused: engine::Reported) -> Drain {
        Drain {
            settings: self.settings,
            index: self.index,
            attachments: self.attachments,
            generation: self.generation,
            manifests,
            refused,
            log: self.log,
        }
    }

    async fn work(
        &mut self,
        manifests: &mut Manifests,
        mut events: AsyncFd<Events>,
        refused: &mut engine::Reported,
    ) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                batch = manifests.next() => {
                    let batch = batch.context("the folder of manifests is not watched any more")?;
                    self.take(batch).await?;
                }
                ready = events.readable_mut() => {
                    let mut ready = ready.context("can't read kernel events")?;
                    let snapshot = self.engine.snapshot();
                    while let Some(event) = ready.get_inner_mut().next_event() {
                        self.log.add(refusals::from_kernel(&event, &snapshot), Instant::now());
                    }
                    ready.clear_ready();
                }
                Some(refusal) = refused.recv() => self.log.add(refusal.line(), Instant::now()),
                _ = tick.tick() => {
                    self.log.flush(Instant::now());
                    let counts = self.log.counts();
                    self.metrics.update(|numbers| numbers.refusals = counts);
                    self.look_again().await?;
                }
            }
        }
    }

    /// Finds namespaces that have come, gone, or were made anew under the same path, and tries again what failed.
    async fn look_again(&mut self) -> anyhow::Result<()> {
        let mut changed = self.look_at_node();
        changed |= self.attachments.update(&mut self.index, &self.settings.node);
        if changed && self.generation > 0 {
            return self.plan().await;
        }
        match self.in_force.take() {
            Some((plan, true)) => self.publish(plan).await,
            other => {
                self.in_force = other;
                Ok(())
            }
        }
    }

    /// Reads the node's addresses. True when they are others than before.
    fn look_at_node(&mut self) -> bool {
        let addresses = node::addresses().unwrap_or_else(|error| {
            warn!(%error, "can't read the node's addresses: the kubelet's probes are refused");
            Default::default()
        });
        let changed = addresses != self.settings.node_addresses;
        self.settings.node_addresses = addresses;
        changed
    }

    async fn take(&mut self, batch: Batch) -> anyhow::Result<()> {
        let mut changed = self.generation == 0;
        for change in &batch.changes {
            changed |= self.index.apply(change.clone());
        }
        changed |= self.attachments.update(&mut self.index, &self.settings.node);
        if self.holding && !batch.incomplete {
            self.holding = false;
            changed = true;
        }
        let news = batch.problems != self.batch.problems || batch.findings != self.batch.findings;
        self.batch = batch;
        if changed || news { self.plan().await } else { Ok(()) }
    }

    async fn plan(&mut self) -> anyhow::Result<()> {
        self.generation += 1;
        let mut plan = compile(&self.index, &self.settings, self.generation);
        if self.holding {
            plan.kernel.keep_enrolled(self.publisher.content());
        }
        self.publish(Arc::new(plan)).await
    }

    async fn publish(&mut self, plan: Arc<Plan>) -> anyhow::Result<()> {
        let report = self
            .publisher
            .publish(&plan, &self.attachments.by_cookie(), &*self.engine)
            .await?;
        let mut findings = plan.findings.clone();
        findings.extend(self.attachments.findings());
        self.news.log(&findings, &self.batch, &report);
        let tables = self.publisher.table_sizes();
        self.metrics
            .update(|numbers| numbers.of_plan(plan.generation, &findings, &self.batch, &tables, &report));
        let incomplete = !report.problems.is_empty();
        let shown = show::Shown {
            plan: plan.clone(),
            findings,
            batch: self.batch.clone(),
            tables,
            report,
        };
        self.state.store(Arc::new(State {
            not_ready: None,
            plan: Box::new(move || shown.render()),
        }));
        self.in_force = Some((plan, incomplete));
        Ok(())
    }
}
