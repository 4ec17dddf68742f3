//! `/metrics`: OpenMetrics by prometheus-client, put together at scrape.
//!
//! Bias: nothing here is touched by a request. Cores and programs count in plain numbers of their own; a scrape reads
//! and adds them. Names are a promise to dashboards; docs/metrics.md lists them.

mod workloads;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use weir_core::finding::{Finding, Severity};

use crate::bpf::VerdictCount;
use crate::cluster::manifests::Batch;
use crate::engine::{EdgeNumbers, Engine, SplitNumbers, Stats};
use crate::publish::Report;

/// Numbers that the app's task sets.
#[derive(Clone, Debug, Default)]
pub struct AppNumbers {
    /// Generation of the plan in force.
    pub generation: u64,
    /// Findings by severity.
    pub findings: BTreeMap<&'static str, u64>,
    /// Files with problems.
    pub file_problems: u64,
    /// Entries and room of each kernel table.
    pub tables: Vec<(&'static str, usize, u32)>,
    /// Map operations that failed, by map, since the start.
    pub map_failures: BTreeMap<&'static str, u64>,
    /// How long the last plan took to get in force, in microseconds.
    pub publish_micros: u64,
    /// Refusals that were reported to the log, and lines written.
    pub refusals: (u64, u64),
}

impl AppNumbers {
    /// After a plan was put in force.
    pub fn of_plan(
        &mut self,
        generation: u64,
        findings: &[Finding],
        batch: &Batch,
        tables: &[(&'static str, usize, u32)],
        report: &Report,
    ) {
        let all = findings.iter().chain(batch.findings.iter().map(|found| &found.finding));
        let (mut errors, mut warnings) = (0, 0);
        for finding in all {
            match finding.severity {
                Severity::Error => errors += 1,
                Severity::Warning => warnings += 1,
            }
        }
        self.generation = generation;
        self.findings = [("error", errors), ("warning", warnings)].into();
        self.file_problems = batch.problems.len() as u64;
        self.tables = tables.to_vec();
        self.publish_micros = report.micros;
        for (map, failures) in &report.failed {
            *self.map_failures.entry(map).or_default() += failures;
        }
    }
}

/// Everything that a scrape reads.
pub struct Metrics {
    registry: Registry,
    app: std::sync::Arc<Mutex<AppNumbers>>,
}

/// What the engine tells at scrape.
#[derive(Debug, Default)]
pub struct EngineReport {
    /// Its own numbers.
    pub stats: Stats,
    /// What has passed between workloads.
    pub edges: Vec<EdgeNumbers>,
    /// Where splits have led.
    pub splits: Vec<SplitNumbers>,
    /// How often there was no room for one of these.
    pub overflowed: u64,
}

impl EngineReport {
    /// By now.
    pub fn of(engine: &Engine) -> EngineReport {
        EngineReport {
            stats: engine.stats(),
            edges: engine.edges(),
            splits: engine.splits(),
            overflowed: engine.overflowed(),
        }
    }
}

type Verdicts = dyn Fn() -> Vec<VerdictCount> + Send + Sync;
type Scrape = dyn Fn() -> EngineReport + Send + Sync;

impl Metrics {
    /// Media type of [`Metrics::encode`].
    pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Reads kernel counters and what the engine tells.
    pub fn new(kernel: Box<Verdicts>, engine: Box<Scrape>) -> Metrics {
        let app = std::sync::Arc::new(Mutex::new(AppNumbers::default()));
        let mut registry = Registry::with_prefix("weir");
        registry.register_collector(Box::new(Source {
            kernel,
            engine,
            app: app.clone(),
        }));
        Metrics { registry, app }
    }

    /// Changes the app's numbers.
    pub fn update(&self, change: impl FnOnce(&mut AppNumbers)) {
        change(&mut self.app.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// The text of a scrape.
    ///
    /// # Errors
    /// A number could not be formatted.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

struct Source {
    kernel: Box<Verdicts>,
    engine: Box<Scrape>,
    app: std::sync::Arc<Mutex<AppNumbers>>,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Source")
    }
}

/// Engine rows that are gauges; the others only grow.
const ENGINE_GAUGES: &[&str] = &["open", "requests_in_flight", "buffered_bytes", "upstream_idle"];

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let app = self
            .app
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone();
        let mut family = encoder.encode_descriptor(
            "kernel_verdicts",
            "What the eBPF programs decided, by hook and outcome",
            None,
            MetricType::Counter,
        )?;
        for row in (self.kernel)() {
            let labels = [("hook", row.hook), ("outcome", row.outcome)];
            ConstCounter::new(row.count).encode(family.encode_family(&labels)?)?;
        }
        let report = (self.engine)();
        for (name, value) in report.stats.rows() {
            let name = format!("engine_{name}");
            if ENGINE_GAUGES.iter().any(|gauge| name.ends_with(gauge)) {
                gauge(&mut encoder, &name, "See docs/metrics.md", value)?;
            } else {
                counter(&mut encoder, &name, "See docs/metrics.md", value)?;
            }
        }
        workloads::encode(&mut encoder, &report)?;
        tables(&mut encoder, &app)?;
        gauge(
            &mut encoder,
            "plan_generation",
            "Generation of the plan in force",
            app.generation,
        )?;
        gauge(
            &mut encoder,
            "plan_publish_microseconds",
            "How long the last plan took to get in force",
            app.publish_micros,
        )?;
        let mut family = encoder.encode_descriptor(
            "findings",
            "What is wrong with objects, by severity",
            None,
            MetricType::Gauge,
        )?;
        for (severity, count) in &app.findings {
            ConstGauge::new(*count as i64).encode(family.encode_family(&[("severity", *severity)])?)?;
        }
        gauge(
            &mut encoder,
            "manifest_problems",
            "Documents that can't be read as they are",
            app.file_problems,
        )?;
        counter(
            &mut encoder,
            "refusals",
            "Refusals that kernel and engine reported to the log",
            app.refusals.0,
        )?;
        counter(
            &mut encoder,
            "refusal_lines",
            "Log lines written for them",
            app.refusals.1,
        )
    }
}

fn tables(encoder: &mut DescriptorEncoder, app: &AppNumbers) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "kernel_map_entries",
        "Entries of a kernel table",
        None,
        MetricType::Gauge,
    )?;
    for (map, entries, _) in &app.tables {
        ConstGauge::new(*entries as i64).encode(family.encode_family(&[("map", *map)])?)?;
    }
    let mut family =
        encoder.encode_descriptor("kernel_map_capacity", "Room of a kernel table", None, MetricType::Gauge)?;
    for (map, _, room) in &app.tables {
        ConstGauge::new(i64::from(*room)).encode(family.encode_family(&[("map", *map)])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "kernel_map_failures",
        "Map operations that failed; what is missing is refused",
        None,
        MetricType::Counter,
    )?;
    for (map, failures) in &app.map_failures {
        ConstCounter::new(*failures).encode(family.encode_family(&[("map", *map)])?)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let metric = ConstCounter::new(value);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

fn gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let metric = ConstGauge::new(value as i64);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}
