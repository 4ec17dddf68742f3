//! What has passed between workloads, as families of metrics.
//!
//! Bias: what was never seen has no line. Every label but `class`, `code` and `reason`, which are short lists, is a name
//! of an object; nothing that a request says becomes one.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::EngineReport;
use crate::engine::{EdgeNumbers, Numbers, Protocol};

/// What a latency is compared with at last.
const INFINITE: [f64; 1] = [f64::INFINITY];

/// Labels that each line has.
fn labels(edge: &EdgeNumbers) -> [(&'static str, &str); 7] {
    [
        ("side", edge.side.as_str()),
        ("source_namespace", &edge.source.namespace),
        ("source_kind", &edge.source.kind),
        ("source_workload", &edge.source.name),
        ("destination_namespace", &edge.destination.namespace),
        ("destination_kind", &edge.destination.kind),
        ("destination_workload", &edge.destination.name),
    ]
}

/// The same, and these.
fn with<'e>(edge: &'e EdgeNumbers, more: &[(&'static str, &'e str)]) -> Vec<(&'static str, &'e str)> {
    labels(edge).into_iter().chain(more.iter().copied()).collect()
}

/// Each pair and protocol.
fn each(edges: &[EdgeNumbers]) -> impl Iterator<Item = (&EdgeNumbers, Protocol, &Numbers)> {
    edges.iter().flat_map(|edge| {
        edge.protocols
            .iter()
            .map(move |(protocol, numbers)| (edge, *protocol, numbers))
    })
}

pub(super) fn encode(encoder: &mut DescriptorEncoder, report: &EngineReport) -> Result<(), fmt::Error> {
    requests(encoder, &report.edges)?;
    durations(encoder, &report.edges)?;
    grpc(encoder, &report.edges)?;
    bytes(encoder, &report.edges)?;
    connections(encoder, &report.edges)?;
    retries(encoder, &report.edges)?;
    refused(encoder, &report.edges)?;
    splits(encoder, report)?;
    super::counter(
        encoder,
        "pairs_overflowed",
        "Times that there was no room for a pair of workloads or a split's backend",
        report.overflowed,
    )
}

fn requests(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let mut family = encoder.encode_descriptor(
        "requests",
        "Requests and streams that have ended, by class of the answer",
        None,
        MetricType::Counter,
    )?;
    for (edge, protocol, numbers) in each(edges) {
        for (class, count) in CLASSES.iter().zip(numbers.classes).filter(|(_, count)| *count > 0) {
            let labels = with(edge, &[("protocol", protocol.as_str()), ("class", *class)]);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn durations(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "request_duration",
        "From a request's head to the end of its answer",
        Some(&Unit::Seconds),
        MetricType::Histogram,
    )?;
    for (edge, protocol, numbers) in each(edges) {
        let bounds = Numbers::bounds().chain(INFINITE);
        let buckets: Vec<(f64, u64)> = bounds.zip(numbers.buckets).collect();
        let count: u64 = numbers.buckets.iter().sum();
        if count > 0 {
            let labels = with(edge, &[("protocol", protocol.as_str())]);
            let mut metric = family.encode_family(&labels)?;
            metric.encode_histogram::<NoLabelSet>(numbers.seconds, count, &buckets, None)?;
        }
    }
    Ok(())
}

fn grpc(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    const CODES: [&str; 19] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16", "other", "none",
    ];
    let mut family = encoder.encode_descriptor("grpc_responses", "gRPC calls by status", None, MetricType::Counter)?;
    for (edge, _, numbers) in each(edges) {
        for (code, count) in CODES.iter().zip(numbers.grpc).filter(|(_, count)| *count > 0) {
            let labels = with(edge, &[("code", *code)]);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn bytes(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "transferred",
        "Bytes from clients (up) and from servers or of the engine's own answers (down)",
        Some(&Unit::Bytes),
        MetricType::Counter,
    )?;
    for (edge, protocol, numbers) in each(edges) {
        for (direction, count) in [("up", numbers.up), ("down", numbers.down)] {
            let labels = with(edge, &[("protocol", protocol.as_str()), ("direction", direction)]);
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn connections(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    let seen = || each(edges).filter(|(_, _, numbers)| numbers.connections > 0);
    let mut family = encoder.encode_descriptor(
        "connections",
        "Connections, under the protocol and the server that they began with",
        None,
        MetricType::Counter,
    )?;
    for (edge, protocol, numbers) in seen() {
        let labels = with(edge, &[("protocol", protocol.as_str())]);
        ConstCounter::new(numbers.connections).encode(family.encode_family(&labels)?)?;
    }
    let mut family = encoder.encode_descriptor("connections_open", "Those that are open", None, MetricType::Gauge)?;
    for (edge, protocol, numbers) in seen() {
        let labels = with(edge, &[("protocol", protocol.as_str())]);
        ConstGauge::new(numbers.open as i64).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn retries(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "request_retries",
        "Requests that were sent again",
        None,
        MetricType::Counter,
    )?;
    for (edge, protocol, numbers) in each(edges).filter(|(_, _, numbers)| numbers.retries > 0) {
        let labels = with(edge, &[("protocol", protocol.as_str())]);
        ConstCounter::new(numbers.retries).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn refused(encoder: &mut DescriptorEncoder, edges: &[EdgeNumbers]) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "refused",
        "Requests and connections that the engine has refused (enforce) or would have (audit)",
        None,
        MetricType::Counter,
    )?;
    for edge in edges {
        for ((reason, audit), count) in &edge.refused {
            let mode = if *audit { "audit" } else { "enforce" };
            let labels = with(edge, &[("reason", *reason), ("mode", mode)]);
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn splits(encoder: &mut DescriptorEncoder, report: &EngineReport) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(
        "split_decisions",
        "Where Services that are split have sent requests and connections",
        None,
        MetricType::Counter,
    )?;
    for split in &report.splits {
        let turn = &split.turn;
        let port = turn.port.to_string();
        let name = turn.split.as_ref().map_or("", |split| &split.name);
        let labels = [
            ("namespace", turn.root.namespace.as_str()),
            ("service", &turn.root.name),
            ("port", &port),
            ("split", name),
            ("backend", &turn.backend.name),
        ];
        ConstCounter::new(split.taken).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
