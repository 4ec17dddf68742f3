//! The answer, for people (`Display`) and for programs (`Serialize`).

use std::fmt;

use serde::Serialize;
use weir_core::model::Mode;
use weir_core::policy::{AllowedBy, Explanation, Routing, Verdict};

/// What `weir explain` found out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Whether all of it is allowed.
    pub allowed: bool,
    /// Where a Service sends it; one for each family of addresses where they differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routing: Vec<Routing>,
    /// The verdict for each identity that is the source and each that is the destination.
    pub answers: Vec<Explanation>,
    /// Where something is refused: what is wrong with the manifests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn new(routing: Vec<Routing>, answers: Vec<Explanation>, notes: Vec<String>) -> Report {
        let somewhere = routing.is_empty() || routing.iter().any(|routing| !routing.shares.is_empty());
        let allowed = somewhere && answers.iter().all(|answer| answer.allowed);
        Report {
            allowed,
            routing,
            answers,
            notes: if allowed { vec![] } else { notes },
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for routing in &self.routing {
            show_routing(routing, f)?;
        }
        let by_engine = self.routing.iter().any(|routing| routing.by_engine);
        for answer in &self.answers {
            show_answer(answer, by_engine, f)?;
        }
        if self.answers.is_empty() && self.allowed {
            writeln!(f, "allowed: the endpoints are outside of the mesh")?;
        }
        if !self.notes.is_empty() {
            writeln!(f, "what is wrong with the manifests:")?;
            for note in &self.notes {
                writeln!(f, "  {note}")?;
            }
        }
        Ok(())
    }
}

fn show_routing(routing: &Routing, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Routing { service, port, .. } = routing;
    match &routing.split {
        Some(split) => writeln!(f, "Service {service}:{port}, split by TrafficSplit {split}:")?,
        None => writeln!(f, "Service {service}:{port}, not split:")?,
    }
    for share in &routing.shares {
        let endpoints: Vec<String> = share.endpoints.iter().map(ToString::to_string).collect();
        writeln!(
            f,
            "  {:5.1} % {} at {}",
            share.percent,
            share.backend,
            endpoints.join(", ")
        )?;
    }
    if routing.shares.is_empty() {
        writeln!(f, "  nobody: HTTP is answered 503, the rest refused")?;
    }
    Ok(())
}

fn show_answer(answer: &Explanation, by_engine: bool, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let word = if answer.allowed { "allowed" } else { "refused" };
    let Explanation {
        source,
        destination,
        port,
        ..
    } = answer;
    let (from, to) = (&answer.source_identity, &answer.destination_identity);
    let protocol = answer
        .protocol
        .map(|protocol| format!("/{protocol}"))
        .unwrap_or_default();
    writeln!(f, "{word}: {source} ({from}) to {destination}:{port}{protocol} ({to})")?;
    match &answer.by {
        Some(AllowedBy::NotEnforced) => writeln!(f, "  the destination's namespace is not enrolled")?,
        Some(AllowedBy::TcpRoute { target }) => writeln!(f, "  by TrafficTarget {target}: any bytes on this port")?,
        Some(AllowedBy::UdpRoute { target }) => writeln!(f, "  by TrafficTarget {target}: datagrams to this port")?,
        Some(AllowedBy::HttpRoute { target, group, name }) => {
            writeln!(f, "  by TrafficTarget {target}: HTTPRouteGroup {group}, match {name}")?;
        }
        Some(AllowedBy::Mode { mode: Mode::Audit }) => {
            writeln!(
                f,
                "  by the mode of its namespace, audit: would be refused, and is reported"
            )?;
        }
        Some(AllowedBy::Mode { mode }) => writeln!(f, "  by the mode of its namespace, {}", mode.as_str())?,
        None => {}
    }
    if let Some(missing) = &answer.missing {
        writeln!(f, "  {missing}")?;
    }
    match answer.verdict {
        Some(_) if by_engine => writeln!(f, "  the engine picks the backend and judges there")?,
        Some(Verdict::Allow) => writeln!(f, "  decided in the kernel, the engine never sees it")?,
        Some(Verdict::L7) => writeln!(f, "  the engine judges each request")?,
        Some(Verdict::Deny) if answer.mode.is_lenient() && answer.protocol.is_none() => {
            writeln!(
                f,
                "  by way of the engine, or straight where a Service declares the port as bytes"
            )?;
        }
        Some(Verdict::Deny) if answer.protocol.is_some() => {
            writeln!(f, "  decided in the kernel when the client sends")?
        }
        Some(Verdict::Deny) => writeln!(f, "  decided in the kernel when the client connects")?,
        None => {}
    }
    for candidate in &answer.candidates {
        match &candidate.route {
            Some(route) => writeln!(
                f,
                "  not by TrafficTarget {}, match {route}: {}",
                candidate.target, candidate.why
            )?,
            None => writeln!(f, "  not by TrafficTarget {}: {}", candidate.target, candidate.why)?,
        }
    }
    Ok(())
}
