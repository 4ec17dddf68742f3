//! Puts a plan in force: kernel and engine, in the order in which nothing opens that neither plan allows.
//!
//! 1. room for new pods, and the engine's listeners in them;
//! 2. what goes away leaves the kernel;
//! 3. the engine's snapshot is swapped;
//! 4. what comes is added to the kernel;
//! 5. links: sk_lookup of new pods, and once the cgroup hooks;
//! 6. open connections of the kernel's tier that nothing allows any more are ended; with an agent's first plan in any case.
//!
//! Bias: an entry that can't be written is missing, hence refused; it is reported and tried again with the next plan.
//! Owned by one task; the plan in force is known here and nowhere else.

mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use tracing::info;
use weir_core::diff::{MapOp, Weakened, diff};
use weir_core::model::Key;
use weir_core::plan::{KernelTable, Plan};
use weir_core::snapshot::Snapshot;

use crate::bpf::netns::Netns;
use crate::bpf::{ApplyError, Links, Origins, Programs, Sizes, Tables};

/// What the publisher asks of the engine.
pub trait DataPlane {
    /// Serves exactly these pods. What can't be served is told by an error each.
    fn serve(&self, pods: Vec<LocalPod>) -> impl Future<Output = Vec<String>>;
    /// Puts a snapshot in force.
    fn swap(&self, snapshot: Arc<Snapshot>);
}

/// An enrolled pod of this node.
#[derive(Clone, Debug)]
pub struct LocalPod {
    /// Namespace and name.
    pub pod: Key,
    /// Its network namespace.
    pub netns: Arc<Netns>,
    /// Its addresses, at most one per family.
    pub ips: Vec<std::net::IpAddr>,
}

/// The publisher.
pub struct Publisher {
    programs: Programs,
    tables: Tables,
    origins: Arc<Origins>,
    links: Option<Links>,
    cgroup: PathBuf,
    sizes: Sizes,
    prepared: BTreeSet<u64>,
    /// What open connections are judged by.
    in_force: Arc<ArcSwap<Snapshot>>,
}

/// What came of a plan.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Map operations done.
    pub operations: usize,
    /// Map operations that failed, by map.
    pub failed: BTreeMap<&'static str, u64>,
    /// What went wrong, one line each.
    pub problems: Vec<String>,
    /// Time that it took, in microseconds.
    pub micros: u64,
}

impl Publisher {
    /// On loaded programs. Nothing is attached before the first plan.
    pub fn new(programs: Programs, tables: Tables, origins: Arc<Origins>, cgroup: PathBuf, sizes: Sizes) -> Publisher {
        Publisher {
            programs,
            tables,
            origins,
            links: None,
            cgroup,
            sizes,
            prepared: BTreeSet::new(),
            in_force: Arc::default(),
        }
    }

    /// Puts `plan` in force. `netns` has the open namespaces by cookie.
    ///
    /// # Errors
    /// The hooks could not be attached. Everything else costs only what it concerns and is in the report.
    pub async fn publish(
        &mut self,
        plan: &Plan,
        netns: &BTreeMap<u64, Arc<Netns>>,
        engine: &impl DataPlane,
    ) -> anyhow::Result<Report> {
        let started = Instant::now();
        let mut report = Report::default();
        // The agent before this one may have died between narrowing the tables and ending what was open.
        let inherited = self.links.is_none();
        let wanted: BTreeSet<u64> = plan.kernel.pods.keys().copied().collect();
        self.prepare(&wanted, &mut report);
        report.problems.extend(engine.serve(local_pods(plan, netns)).await);

        let changes = diff(self.tables.content(), &plan.kernel);
        self.apply(&changes.before, &mut report);
        engine.swap(plan.snapshot.clone());
        self.in_force.store(plan.snapshot.clone());
        self.apply(&changes.after, &mut report);

        self.attach(&wanted, netns, &mut report)?;
        self.tables.keep_pods(&wanted, &self.origins);
        self.prepared.retain(|cookie| wanted.contains(cookie));
        report.micros = started.elapsed().as_micros() as u64;
        if report.operations > 0 {
            info!(
                generation = plan.generation,
                pods = wanted.len(),
                operations = report.operations,
                micros = report.micros,
                "plan in force"
            );
        }
        if inherited || changes.weakened != Weakened::default() {
            let pods = netns.iter().filter(|(cookie, _)| wanted.contains(cookie));
            sweep::start(
                self.in_force.clone(),
                pods.map(|(cookie, netns)| (*cookie, netns.clone())).collect(),
            );
        }
        Ok(report)
    }

    /// What the kernel holds.
    pub fn content(&self) -> &KernelTable {
        self.tables.content()
    }

    /// Entries and room of each table.
    pub fn table_sizes(&self) -> [(&'static str, usize, u32); 5] {
        let content = self.tables.content();
        [
            ("PODS", content.pods.len(), self.sizes.pods),
            ("PEERS", content.peers.len(), self.sizes.peers),
            ("POLICY", content.policy.len(), self.sizes.policy),
            ("SERVICES", content.services.len(), self.sizes.services),
            ("SLOTS", content.slots.len(), self.sizes.slots),
        ]
    }

    fn prepare(&mut self, wanted: &BTreeSet<u64>, report: &mut Report) {
        for cookie in wanted {
            if self.prepared.contains(cookie) {
                continue;
            }
            match self.tables.prepare_pod(*cookie, &self.origins) {
                Ok(()) => drop(self.prepared.insert(*cookie)),
                // The pod is captured all the same, and what the engine would have to decide is refused.
                Err(error) => fail(report, error),
            }
        }
    }

    fn apply(&mut self, operations: &[MapOp], report: &mut Report) {
        for operation in operations {
            match self.tables.apply(operation) {
                Ok(()) => report.operations += 1,
                Err(error) => fail(report, error),
            }
        }
    }

    fn attach(
        &mut self,
        wanted: &BTreeSet<u64>,
        netns: &BTreeMap<u64, Arc<Netns>>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let first = self.links.is_none();
        let links = match &mut self.links {
            Some(links) => links,
            none => none.insert(Links::attach(&self.programs, &self.cgroup)?),
        };
        for cookie in wanted {
            if links.is_current(*cookie) {
                continue;
            }
            let Some(netns) = netns.get(cookie) else { continue };
            if let Err(error) = links.attach_pod(&self.programs, netns) {
                report.problems.push(error.to_string());
            }
        }
        links.keep_pods(wanted);
        if first {
            self.programs.settle();
        }
        Ok(())
    }
}

fn fail(report: &mut Report, error: ApplyError) {
    let count = report.failed.entry(error.map).or_default();
    *count += 1;
    // A full map fails for each entry that does not fit; one line says it.
    if *count == 1 {
        report.problems.push(error.to_string());
    }
}

/// The pods that the kernel is to capture, as the engine takes them.
fn local_pods(plan: &Plan, netns: &BTreeMap<u64, Arc<Netns>>) -> Vec<LocalPod> {
    plan.kernel
        .pods
        .iter()
        .filter_map(|(cookie, entry)| {
            let pod = plan.snapshot.local.get(cookie)?;
            let ips = [entry.ip4, entry.ip6]
                .iter()
                .filter(|addr| !addr.is_none())
                .map(|addr| addr.to_ip())
                .collect();
            Some(LocalPod {
                pod: pod.pod.clone(),
                netns: netns.get(cookie)?.clone(),
                ips,
            })
        })
        .collect()
}
