//! Which rule was missing: the one line in a 403, in the log and in an explanation.

use std::fmt;
use std::sync::Arc;

use crate::identity::{Identity, IdentityInfo};
use crate::matcher::RequestView;
use crate::model::Key;
use crate::snapshot::{PairAccess, Snapshot};

/// Longest method and path that a line repeats, in bytes: the peer chooses them.
const MAX_ECHO: usize = 120;
/// TrafficTargets that a line names at most.
const MAX_NAMED: usize = 3;

/// Why something is refused. Made on the refused path of the engine: what needs formatting is formatted when displayed.
#[derive(Clone, Debug, PartialEq)]
pub enum Missing {
    /// The source is no pod that is known, or one whose address or number another one claims as well.
    UnknownSource,
    /// The destination is no pod that is known, or one whose address or number another one claims as well.
    UnknownDestination,
    /// No TrafficTarget names both.
    Target {
        /// The source.
        src: Arc<IdentityInfo>,
        /// The destination.
        dst: Arc<IdentityInfo>,
    },
    /// TrafficTargets name both, none of them holds for the port.
    Port {
        /// What they grant.
        access: Arc<PairAccess>,
        /// The pod port.
        port: u16,
    },
    /// No TrafficTarget names both with a UDPRoute.
    UdpTarget {
        /// The source.
        src: Arc<IdentityInfo>,
        /// The destination.
        dst: Arc<IdentityInfo>,
    },
    /// TrafficTargets name both with UDPRoutes, none of them holds for the port.
    UdpPort {
        /// What they grant.
        access: Arc<PairAccess>,
        /// The pod port.
        port: u16,
    },
    /// TrafficTargets allow HTTP on this port, and these bytes are none (or are not seen as such).
    AnyBytes {
        /// What they grant.
        access: Arc<PairAccess>,
        /// The pod port.
        port: u16,
    },
    /// TrafficTargets allow HTTP on this port, none of them this request.
    Route {
        /// What they grant.
        access: Arc<PairAccess>,
        /// The pod port.
        port: u16,
        /// The request's method and path, cut short and without control characters.
        request: Box<str>,
    },
}

impl Missing {
    pub(super) fn tcp(snapshot: &Snapshot, src: Identity, dst: Identity, port: u16) -> Missing {
        Missing::before_http(snapshot, src, dst, port).unwrap_or_else(|access| Missing::AnyBytes { access, port })
    }

    pub(super) fn udp(snapshot: &Snapshot, src: Identity, dst: Identity, port: u16) -> Missing {
        let Some(src_info) = snapshot.identities.get(&src) else {
            return Missing::UnknownSource;
        };
        let Some(dst_info) = snapshot.identities.get(&dst) else {
            return Missing::UnknownDestination;
        };
        match snapshot.pair(src, dst) {
            Some(access) if !access.udp.is_empty() => Missing::UdpPort {
                access: access.clone(),
                port,
            },
            _ => Missing::UdpTarget {
                src: src_info.clone(),
                dst: dst_info.clone(),
            },
        }
    }

    pub(super) fn http(
        snapshot: &Snapshot,
        src: Identity,
        dst: Identity,
        port: u16,
        request: &impl RequestView,
    ) -> Missing {
        let line = || format!("{} {}", echo(request.method()), echo(request.path())).into_boxed_str();
        Missing::before_http(snapshot, src, dst, port).unwrap_or_else(|access| Missing::Route {
            access,
            port,
            request: line(),
        })
    }

    /// What is missing whatever the bytes are; `Err` where something is granted on the port.
    fn before_http(snapshot: &Snapshot, src: Identity, dst: Identity, port: u16) -> Result<Missing, Arc<PairAccess>> {
        let Some(src_info) = snapshot.identities.get(&src) else {
            return Ok(Missing::UnknownSource);
        };
        let Some(dst_info) = snapshot.identities.get(&dst) else {
            return Ok(Missing::UnknownDestination);
        };
        match snapshot.pair(src, dst).filter(|access| !access.grants.is_empty()) {
            None => Ok(Missing::Target {
                src: src_info.clone(),
                dst: dst_info.clone(),
            }),
            Some(access) if !access.grants.iter().any(|grant| grant.ports.contains(port)) => Ok(Missing::Port {
                access: access.clone(),
                port,
            }),
            Some(access) => Err(access.clone()),
        }
    }

    /// A constant word for this variant, for counters.
    pub fn reason(&self) -> &'static str {
        match self {
            Missing::UnknownSource => "unknown_source",
            Missing::UnknownDestination => "unknown_destination",
            Missing::Target { .. } | Missing::UdpTarget { .. } => "no_target",
            Missing::Port { .. } | Missing::UdpPort { .. } => "no_port",
            Missing::AnyBytes { .. } => "not_http",
            Missing::Route { .. } => "no_route",
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Missing::UnknownSource => f.write_str("the source is no pod that is known"),
            Missing::UnknownDestination => f.write_str("the destination is no pod that is known"),
            Missing::Target { src, dst } => write!(f, "no TrafficTarget allows {src} to reach {dst}"),
            Missing::Port { access, port } => {
                let targets = access.grants.iter().map(|grant| &grant.target);
                write!(f, "{} port {port}", Allows(targets.collect(), "no"))
            }
            Missing::UdpTarget { src, dst } => {
                write!(f, "no TrafficTarget with a UDPRoute allows {src} to reach {dst}")
            }
            Missing::UdpPort { access, port } => {
                let targets = access.udp.iter().map(|grant| &grant.target);
                write!(f, "{} UDP port {port}", Allows(targets.collect(), "no"))
            }
            Missing::AnyBytes { access, port } => {
                let targets = on_port(access, *port);
                write!(f, "{} HTTP on port {port}", Allows(targets, "only"))
            }
            Missing::Route { access, port, request } => {
                let targets = on_port(access, *port);
                write!(f, "{} {request}", Allows(targets, "no"))
            }
        }
    }
}

fn on_port(access: &PairAccess, port: u16) -> Vec<&Key> {
    access
        .grants
        .iter()
        .filter(|grant| grant.ports.contains(port))
        .map(|grant| &grant.target)
        .collect()
}

/// `TrafficTarget shop/checkout allows no`, for one or several.
struct Allows<'a>(Vec<&'a Key>, &'static str);

impl fmt::Display for Allows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Allows(targets, what) = self;
        let (noun, verb) = if targets.len() == 1 {
            ("TrafficTarget", "allows")
        } else {
            ("TrafficTargets", "allow")
        };
        write!(f, "{noun} ")?;
        for (at, target) in targets.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{}{target}", if at == 0 { "" } else { ", " })?;
        }
        if targets.len() > MAX_NAMED {
            write!(f, " and {} more", targets.len() - MAX_NAMED)?;
        }
        write!(f, " {verb} {what}")
    }
}

/// A peer's bytes for a line of text: what is not printable ASCII becomes `?`, what is long is cut.
fn echo(bytes: &[u8]) -> String {
    let shown = bytes.iter().take(MAX_ECHO).map(|byte| {
        if byte.is_ascii_graphic() {
            char::from(*byte)
        } else {
            '?'
        }
    });
    let cut = if bytes.len() > MAX_ECHO { "..." } else { "" };
    shown.chain(cut.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_does_not_break_the_line() {
        assert_eq!(echo(b"/a\r\nb\x1b[2J"), "/a??b?[2J");
        assert_eq!(echo(&[b'a'; 500]).len(), MAX_ECHO + 3);
    }
}
