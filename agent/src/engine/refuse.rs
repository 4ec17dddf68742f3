//! What was refused, for whom and why: the engine's side of the refusal log.
//!
//! Bias: the data path never waits for the log. A refusal goes into a bounded queue or is counted as lost; its strings
//! are made only when there is room.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use weir_core::model::Key;
use weir_core::policy::Missing;
use weir_core::snapshot::PodInfo;

use super::kernel::Direction;

/// One refused connection or request, or one that passed because the server is only audited.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The side at which it was refused.
    pub direction: Direction,
    /// Address and port of the client.
    pub client: SocketAddr,
    /// The client's pod, where known.
    pub source: Option<Arc<PodInfo>>,
    /// What the client asked for: a Service's address and port, or a pod's; where known.
    pub asked: Option<SocketAddr>,
    /// The Service that it asked for.
    pub service: Option<Key>,
    /// Address and port of the pod that it would have gone to, where one was picked.
    pub server: Option<SocketAddr>,
    /// That pod.
    pub destination: Option<Arc<PodInfo>>,
    /// Method and canonical path of a request.
    pub request: Option<(String, String)>,
    /// Why.
    pub reason: Reason,
    /// It was not refused: it would have been, were the server's namespace not in mode audit.
    pub audit: bool,
}

impl Refusal {
    /// The same, as one that was let pass.
    pub(super) fn audited(self) -> Refusal {
        Refusal { audit: true, ..self }
    }
}

/// Why it was refused.
#[derive(Clone, Debug)]
pub enum Reason {
    /// A rule is missing.
    Missing(Missing),
    /// Only HTTP is granted, and the first bytes are none.
    NotHttp,
    /// Only HTTP is granted, and no byte came in time.
    Silent,
    /// Nothing is granted to the client at any server of what it asked for.
    Unreachable,
    /// Nobody knows who the client is.
    UnknownClient,
    /// Nobody knows where the connection wanted to go: it did not come by way of the programs.
    UnknownOrigin,
    /// The connection came from the pod itself, or went to a port of the engine.
    Loop,
}

impl Reason {
    /// One word: of the missing rule where one is missing, the name of the reason otherwise.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::Missing(missing) => missing.reason(),
            reason => reason.name(),
        }
    }

    /// The name of the reason, for labels and rate limits.
    pub fn name(&self) -> &'static str {
        match self {
            Reason::Missing(_) => "missing_rule",
            Reason::NotHttp => "not_http",
            Reason::Silent => "silent",
            Reason::Unreachable => "unreachable",
            Reason::UnknownClient => "unknown_client",
            Reason::UnknownOrigin => "unknown_origin",
            Reason::Loop => "loop",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Missing(missing) => missing.fmt(f),
            Reason::NotHttp => f.write_str("only http is granted, and this is not http"),
            Reason::Silent => f.write_str("only http is granted, and no request came in time"),
            Reason::Unreachable => f.write_str("no TrafficTarget grants anything here to this client"),
            Reason::UnknownClient => f.write_str("the client is no pod that is known"),
            Reason::UnknownOrigin => f.write_str("the connection was not redirected by the kernel"),
            Reason::Loop => f.write_str("the pod connected to the engine itself"),
        }
    }
}
