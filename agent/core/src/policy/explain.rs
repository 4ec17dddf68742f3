//! The same verdicts, with their reasons written out.
//!
//! Bias: for people, so it may be slow. It asks the evaluator and never decides by itself.

use serde::Serialize;

use super::Verdict;
use crate::matcher::Probe;
use crate::model::{Key, Mode};
use crate::snapshot::{Grant, HttpRoutes, PairAccess, PodInfo, Ports, Root, Snapshot, UdpGrant};

/// One connection or request between two pods, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// Pod that connects.
    pub source: String,
    /// Its identity, `namespace/account`.
    pub source_identity: String,
    /// Pod that is connected to.
    pub destination: String,
    /// Its identity, `namespace/account`.
    pub destination_identity: String,
    /// Pod port.
    pub port: u16,
    /// `udp` for datagrams; absent for a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// The mode of the destination's namespace.
    pub mode: Mode,
    /// Whether it passes.
    pub allowed: bool,
    /// What the kernel does with the connection by the rules; `None` where the destination takes no part.
    pub verdict: Option<Verdict>,
    /// What allows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<AllowedBy>,
    /// What is missing, in one line; also where the mode lets pass without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
    /// Where something is missing: the TrafficTargets that come closest, and why they don't hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

/// What allows a connection or request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum AllowedBy {
    /// The destination's namespace is not enrolled.
    NotEnforced,
    /// No rule: its namespace's mode.
    Mode {
        /// `audit` or `permissive`.
        mode: Mode,
    },
    /// Any bytes, by TCPRoutes alone.
    TcpRoute {
        /// TrafficTarget.
        target: String,
    },
    /// Datagrams, by UDPRoutes.
    UdpRoute {
        /// TrafficTarget.
        target: String,
    },
    /// An HTTP match.
    HttpRoute {
        /// TrafficTarget.
        target: String,
        /// HTTPRouteGroup.
        group: String,
        /// Name of the match.
        name: String,
    },
}

/// A TrafficTarget that does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// TrafficTarget.
    pub target: String,
    /// HTTPRouteGroup and match, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Why not.
    pub why: String,
}

/// Where a Service sends a connection or request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Routing {
    /// The Service.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// The TrafficSplit; `None` for the Service's own endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Backends; none left is a 503, for TCP a refusal.
    pub shares: Vec<Share>,
    /// The engine picks the backend, whatever the verdict is; else the kernel does.
    pub by_engine: bool,
}

/// A backend's part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// The Service.
    pub backend: String,
    /// Its part of all, 0 to 100.
    pub percent: f64,
    /// Pod addresses and ports.
    pub endpoints: Vec<std::net::SocketAddr>,
}

/// Judges what `src` sends to `dst`: the request, or with `None` a connection with any bytes.
pub fn explain(snapshot: &Snapshot, src: &PodInfo, dst: &PodInfo, port: u16, request: Option<&Probe>) -> Explanation {
    let (by, missing) = judge(snapshot, src, dst, port, request);
    let candidates = if missing.is_none() {
        vec![]
    } else {
        candidates(snapshot, src, dst, port, request)
    };
    Explanation {
        source: src.pod.to_string(),
        source_identity: src.info.to_string(),
        destination: dst.pod.to_string(),
        destination_identity: dst.info.to_string(),
        port,
        protocol: None,
        mode: dst.mode,
        allowed: by.is_some(),
        verdict: dst
            .mode
            .takes_part()
            .then(|| snapshot.verdict(src.identity, dst.identity, port)),
        by,
        missing,
        candidates,
    }
}

/// Judges datagrams from `src` to `dst`.
pub fn explain_udp(snapshot: &Snapshot, src: &PodInfo, dst: &PodInfo, port: u16) -> Explanation {
    let judged = snapshot.authorize_udp(src.identity, dst.identity, port);
    let (by, missing) = match judged {
        _ if !dst.mode.takes_part() => (Some(AllowedBy::NotEnforced), None),
        Ok(grant) => {
            let target = grant.target.to_string();
            (Some(AllowedBy::UdpRoute { target }), None)
        }
        Err(missing) if dst.mode.is_lenient() => (Some(AllowedBy::Mode { mode: dst.mode }), Some(missing.to_string())),
        Err(missing) => (None, Some(missing.to_string())),
    };
    Explanation {
        source: src.pod.to_string(),
        source_identity: src.info.to_string(),
        destination: dst.pod.to_string(),
        destination_identity: dst.info.to_string(),
        port,
        protocol: Some("udp"),
        mode: dst.mode,
        allowed: by.is_some(),
        verdict: dst
            .mode
            .takes_part()
            .then(|| snapshot.udp_verdict(src.identity, dst.identity, port)),
        candidates: if missing.is_none() {
            vec![]
        } else {
            udp_candidates(snapshot, src, dst, port)
        },
        by,
        missing,
    }
}

fn udp_candidates(snapshot: &Snapshot, src: &PodInfo, dst: &PodInfo, port: u16) -> Vec<Candidate> {
    let pair = snapshot.pair(src.identity, dst.identity);
    if let Some(access) = pair.filter(|access| !access.udp.is_empty()) {
        let not = |grant: &UdpGrant| Candidate {
            target: grant.target.to_string(),
            route: None,
            why: other_ports(&grant.ports, port).unwrap_or_default(),
        };
        return access.udp.iter().map(not).collect();
    }
    let mut others = of_other_sources(snapshot, src, dst, |access| {
        access.udp.iter().map(|grant| &grant.target).collect()
    });
    // TrafficTargets that name both and no UDPRoute come closest.
    let tcp = pair.into_iter().flat_map(|access| &access.grants);
    others.extend(tcp.map(|grant| Candidate {
        target: grant.target.to_string(),
        route: None,
        why: "it has no UDPRoute".to_owned(),
    }));
    others.sort_by(|a, b| (&a.target, &a.why).cmp(&(&b.target, &b.why)));
    others.dedup();
    others
}

fn judge(
    snapshot: &Snapshot,
    src: &PodInfo,
    dst: &PodInfo,
    port: u16,
    request: Option<&Probe>,
) -> (Option<AllowedBy>, Option<String>) {
    if !dst.mode.takes_part() {
        return (Some(AllowedBy::NotEnforced), None);
    }
    let judged = match request {
        Some(request) => snapshot
            .authorize_http(src.identity, dst.identity, port, request)
            .map(|allowed| {
                let target = allowed.target.to_string();
                match allowed.route {
                    None => AllowedBy::TcpRoute { target },
                    Some((group, name)) => AllowedBy::HttpRoute {
                        target,
                        group: group.to_string(),
                        name: name.to_string(),
                    },
                }
            }),
        None => snapshot
            .authorize_tcp(src.identity, dst.identity, port)
            .map(|grant| AllowedBy::TcpRoute {
                target: grant.target.to_string(),
            }),
    };
    match judged {
        Ok(by) => (Some(by), None),
        Err(missing) if dst.mode.is_lenient() => (Some(AllowedBy::Mode { mode: dst.mode }), Some(missing.to_string())),
        Err(missing) => (None, Some(missing.to_string())),
    }
}

/// Why each TrafficTarget between the two does not hold; where there is none, those that speak of the destination.
fn candidates(snapshot: &Snapshot, src: &PodInfo, dst: &PodInfo, port: u16, request: Option<&Probe>) -> Vec<Candidate> {
    let pair = snapshot.pair(src.identity, dst.identity);
    if let Some(access) = pair.filter(|access| !access.grants.is_empty()) {
        return access
            .grants
            .iter()
            .flat_map(|grant| why_not(grant, port, request))
            .collect();
    }
    let mut others = of_other_sources(snapshot, src, dst, |access| {
        access.grants.iter().map(|grant| &grant.target).collect()
    });
    let udp = pair.into_iter().flat_map(|access| &access.udp);
    others.extend(udp.map(|grant| Candidate {
        target: grant.target.to_string(),
        route: None,
        why: "it has UDPRoutes only".to_owned(),
    }));
    others.sort_by(|a, b| (&a.target, &a.why).cmp(&(&b.target, &b.why)));
    others.dedup();
    others
}

/// TrafficTargets that speak of the destination, and of others than the source.
fn of_other_sources(
    snapshot: &Snapshot,
    src: &PodInfo,
    dst: &PodInfo,
    targets: impl Fn(&PairAccess) -> Vec<&Key>,
) -> Vec<Candidate> {
    let mut others: Vec<Candidate> = Vec::new();
    for ((other, to), access) in &snapshot.access {
        if *to != dst.identity || *other == src.identity {
            continue;
        }
        let Some(other) = snapshot.identities.get(other) else {
            continue;
        };
        others.extend(targets(access).into_iter().map(|target| Candidate {
            target: target.to_string(),
            route: None,
            why: format!("it names {other} as a source, not {}", src.info),
        }));
    }
    others
}

/// Why a set of ports does not hold for this one.
fn other_ports(ports: &Ports, port: u16) -> Option<String> {
    let Ports::Only(ports) = ports else { return None };
    if ports.contains(&port) {
        return None;
    }
    let ports = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    Some(format!("it holds for port {ports}, not {port}"))
}

fn why_not(grant: &Grant, port: u16, request: Option<&Probe>) -> Vec<Candidate> {
    let candidate = |route: Option<String>, why: String| Candidate {
        target: grant.target.to_string(),
        route,
        why,
    };
    if let Some(why) = other_ports(&grant.ports, port) {
        return vec![candidate(None, why)];
    }
    match (&grant.http, request) {
        (None, _) => vec![],
        (Some(_), None) => vec![candidate(
            None,
            "it allows HTTP requests only; ask with a method and a path".into(),
        )],
        (Some(http), Some(request)) => {
            let mismatches = http.routes.explain(request).into_iter();
            mismatches
                .map(|mismatch| {
                    let why = mismatch
                        .reasons
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; ");
                    candidate(route_name(http, mismatch.index), why)
                })
                .collect()
        }
    }
}

fn route_name(http: &HttpRoutes, index: usize) -> Option<String> {
    http.names.get(index).map(|(group, name)| format!("{group}/{name}"))
}

/// Where a root sends the request, or a connection with any bytes.
pub fn route(root: &Root, request: Option<&Probe>) -> Routing {
    let chosen = root.routes.iter().find(|route| match (&route.matches, request) {
        (None, _) => true,
        (Some(matches), Some(request)) => matches.routes.find(request).is_some(),
        (Some(_), None) => false,
    });
    let backends = chosen.map_or(&[][..], |route| route.backends.as_slice());
    let total: u128 = backends.iter().map(|backend| u128::from(backend.weight)).sum();
    let share = |backend: &crate::snapshot::Backend| Share {
        backend: backend.service.to_string(),
        percent: backend.weight as f64 * 100.0 / total.max(1) as f64,
        endpoints: backend.endpoints.clone(),
    };
    Routing {
        service: root.service.to_string(),
        port: root.port,
        split: chosen.and_then(|route| route.split.as_ref()).map(ToString::to_string),
        shares: backends.iter().map(share).collect(),
        by_engine: root.engine_picks(),
    }
}
