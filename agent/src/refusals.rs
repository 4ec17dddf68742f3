//! One line per refusal, or per thing that mode `audit` let pass and that would have been one, with names, rate-limited without losing the count.
//!
//! Bias: the first refusal of its kind is logged at once; repeats within `QUIET` are counted and told with the next
//! line of that kind. The table of kinds is bounded, and so is each source's share of it, because a pod can make up paths
//! and ports without end: what does not fit is counted together. Owned by the app's task.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tracing::warn;
use weir_abi::{EVENT_AUDIT, EVENT_NO_ENDPOINT, EVENT_SOURCE, Event, IPPROTO_TCP, IPPROTO_UDP};
use weir_core::identity::Identity;
use weir_core::policy::Verdict;
use weir_core::snapshot::{PodInfo, Snapshot};

/// How long a kind stays quiet after a line.
const QUIET: Duration = Duration::from_secs(10);
/// Kinds that are told apart.
const KINDS: usize = 4096;
/// Kinds of one source that are told apart, so that it can't hide the refusals of others.
const KINDS_OF_SOURCE: usize = 64;
/// The same for what is audited: policy is made from these lines, each method and path of a source is one.
const AUDITED_OF_SOURCE: usize = 512;

/// A refusal with everything that is known of it.
#[derive(Clone, Debug, Default)]
pub struct Line {
    /// Who decided: `kernel` or `engine`.
    pub by: &'static str,
    /// Client address.
    pub source: Option<IpAddr>,
    /// Client pod, `namespace/name`.
    pub source_pod: String,
    /// Client identity, `namespace/account`.
    pub source_identity: String,
    /// Server address.
    pub destination: Option<IpAddr>,
    /// Server pod, or the Service that was asked for.
    pub destination_pod: String,
    /// Server identity.
    pub destination_identity: String,
    /// Server port.
    pub port: u16,
    /// `tcp`, `udp` or `other`.
    pub protocol: &'static str,
    /// It passed, and would have been refused.
    pub audit: bool,
    /// Method of a request.
    pub method: String,
    /// Path of a request.
    pub path: String,
    /// The rule that was missing.
    pub missing: String,
    /// The same as a word, where the engine decided: `no_target`, `no_route`, `not_http` and the like.
    pub reason: &'static str,
    /// Refusals that this one stands for, itself included.
    pub count: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Kind {
    by: &'static str,
    source: String,
    destination: String,
    port: u16,
    protocol: &'static str,
    missing: String,
    /// Method and path of what was audited: each of them needs a rule.
    audited: Option<(String, String)>,
}

#[derive(Debug)]
struct Seen {
    logged: Instant,
    /// Since that line.
    held: u64,
    last: Line,
}

/// The log.
#[derive(Debug, Default)]
pub struct RefusalLog {
    seen: HashMap<Kind, Seen>,
    /// How many of them each source has.
    sources: HashMap<String, usize>,
    /// Refusals of kinds that did not fit, since the last [`RefusalLog::flush`].
    other: u64,
    total: u64,
    lines: u64,
}

impl RefusalLog {
    /// Refusals so far, and lines written for them.
    pub fn counts(&self) -> (u64, u64) {
        (self.total, self.lines)
    }

    /// Takes a refusal.
    pub fn add(&mut self, line: Line, now: Instant) {
        self.total += line.count;
        let kind = Kind {
            by: line.by,
            source: if line.source_pod.is_empty() {
                text(line.source)
            } else {
                line.source_pod.clone()
            },
            destination: if line.destination_pod.is_empty() {
                text(line.destination)
            } else {
                line.destination_pod.clone()
            },
            port: line.port,
            protocol: line.protocol,
            missing: line.missing.clone(),
            audited: line.audit.then(|| (line.method.clone(), line.path.clone())),
        };
        let most = match line.audit {
            true => AUDITED_OF_SOURCE,
            false => KINDS_OF_SOURCE,
        };
        if let Some(seen) = self.seen.get_mut(&kind) {
            seen.held += line.count;
            seen.last = line;
            return;
        }
        let of_source = self.sources.get(&kind.source).copied().unwrap_or_default();
        if self.seen.len() >= KINDS || of_source >= most {
            self.other += line.count;
            return;
        }
        self.sources.insert(kind.source.clone(), of_source + 1);
        self.lines += 1;
        write(&line, line.count);
        self.seen.insert(
            kind,
            Seen {
                logged: now,
                held: 0,
                last: line,
            },
        );
    }

    /// Writes what was held back for long enough, and forgets kinds that have been quiet. To be called every second or so.
    pub fn flush(&mut self, now: Instant) {
        let (lines, sources) = (&mut self.lines, &mut self.sources);
        self.seen.retain(|kind, seen| {
            if now.duration_since(seen.logged) < QUIET {
                return true;
            }
            if seen.held == 0 {
                match sources.get_mut(&kind.source) {
                    Some(kinds) if *kinds > 1 => *kinds -= 1,
                    _ => drop(sources.remove(&kind.source)),
                }
                return false;
            }
            *lines += 1;
            write(&seen.last, seen.held);
            seen.logged = now;
            seen.held = 0;
            true
        });
        if self.other > 0 {
            self.lines += 1;
            warn!(count = self.other, "refused, of more kinds than are told apart");
            self.other = 0;
        }
    }
}

fn write(line: &Line, count: u64) {
    // `weir suggest` reads these lines: the words and the names of the fields are a promise.
    macro_rules! tell {
        ($message:literal $(, $name:ident = $value:expr)*) => {
            warn!(
                $($name = $value,)*
                by = line.by,
                source = text(line.source),
                source_pod = line.source_pod,
                source_identity = line.source_identity,
                destination = text(line.destination),
                destination_pod = line.destination_pod,
                destination_identity = line.destination_identity,
                port = line.port,
                protocol = line.protocol,
                method = line.method,
                path = line.path,
                missing = line.missing,
                reason = line.reason,
                count,
                $message
            )
        };
    }
    match line.audit {
        true => tell!("would be refused", audit = true),
        false => tell!("refused"),
    }
}

fn text(ip: Option<IpAddr>) -> String {
    ip.map(|ip| ip.to_string()).unwrap_or_default()
}

/// A kernel event, with names from the snapshot in force.
pub fn from_kernel(event: &Event, snapshot: &Snapshot) -> Line {
    let (source, destination) = (event.src.to_ip(), event.dst.to_ip());
    let port = event.port as u16;
    let kind = event.kind & !EVENT_AUDIT;
    let mut line = Line {
        by: "kernel",
        audit: event.kind & EVENT_AUDIT != 0,
        source: Some(source),
        destination: Some(destination),
        port,
        protocol: match event.proto {
            IPPROTO_TCP => "tcp",
            IPPROTO_UDP => "udp",
            _ => "other",
        },
        count: 1 + u64::from(event.suppressed),
        ..Line::default()
    };
    line.name_source(snapshot.peers.get(&source).map(|pod| pod.as_ref()));
    line.name_destination(snapshot.peers.get(&destination).map(|pod| pod.as_ref()));
    if kind == EVENT_NO_ENDPOINT {
        line.missing = "the Service has no ready endpoint".to_owned();
        let roots = match event.proto {
            IPPROTO_UDP => &snapshot.udp_roots,
            _ => &snapshot.roots,
        };
        if let Some(root) = roots.get(&std::net::SocketAddr::new(destination, port)) {
            line.destination_pod = format!("Service {}", root.service);
        }
        return line;
    }
    let (src, dst) = (Identity(event.src_identity), Identity(event.dst_identity));
    if kind == EVENT_SOURCE {
        // The address is somebody else's, or nobody's: only the identity tells who it was.
        line.source_pod.clear();
        line.source_identity = snapshot
            .identities
            .get(&src)
            .map(ToString::to_string)
            .unwrap_or_default();
        line.missing = "the source address is not the pod's own".to_owned();
        return line;
    }
    match event.proto {
        IPPROTO_TCP => {}
        IPPROTO_UDP => {
            line.missing = match snapshot.authorize_udp(src, dst, port) {
                Err(missing) => missing.to_string(),
                Ok(_) => "allowed by now".to_owned(),
            };
            return line;
        }
        proto => {
            line.missing = format!("no rule can allow IP protocol {proto}");
            return line;
        }
    }
    line.missing = match snapshot.authorize_tcp(src, dst, port) {
        Err(missing) => missing.to_string(),
        // Either policy has changed since, or the verdict is the engine's and something got past it.
        Ok(_) if snapshot.verdict(src, dst, port) == Verdict::Allow => "allowed by now".to_owned(),
        Ok(_) => "only the engine may decide this".to_owned(),
    };
    line
}

impl Line {
    /// Fills in who the client is.
    pub fn name_source(&mut self, pod: Option<&PodInfo>) {
        if let Some(pod) = pod {
            self.source_pod = pod.pod.to_string();
            self.source_identity = pod.info.to_string();
        }
    }

    /// Fills in who the server is.
    pub fn name_destination(&mut self, pod: Option<&PodInfo>) {
        if let Some(pod) = pod {
            self.destination_pod = pod.pod.to_string();
            self.destination_identity = pod.info.to_string();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(source: &str) -> Line {
        Line {
            source_pod: source.to_owned(),
            missing: "no rule".to_owned(),
            count: 1,
            ..Line::default()
        }
    }

    #[test]
    fn repeats_are_held_and_none_is_lost() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        for _ in 0..100 {
            log.add(line("a"), start);
        }
        log.add(line("b"), start);
        assert_eq!(log.counts(), (101, 2));
        log.flush(start + QUIET);
        assert_eq!(log.counts(), (101, 3), "the 99 that were held make one line");
        log.flush(start + QUIET + QUIET);
        assert!(log.seen.is_empty(), "quiet kinds are forgotten");
        assert!(log.sources.is_empty());
    }

    #[test]
    fn a_source_does_not_use_up_the_kinds_of_others() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        for port in 0..2 * KINDS as u16 {
            let scan = Line { port, ..line("thief") };
            log.add(scan, start);
        }
        assert_eq!(log.counts(), (2 * KINDS as u64, KINDS_OF_SOURCE as u64));
        log.add(line("buyer"), start);
        assert_eq!(
            log.counts().1,
            KINDS_OF_SOURCE as u64 + 1,
            "the buyer's has a line of its own"
        );
    }

    #[test]
    fn each_request_that_is_audited_is_a_kind_of_its_own() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        for path in ["/a", "/b", "/a"] {
            let audited = Line {
                audit: true,
                method: "GET".to_owned(),
                path: path.to_owned(),
                ..line("buyer")
            };
            log.add(audited, start);
        }
        assert_eq!(log.counts(), (3, 2));
    }

    #[test]
    fn kinds_are_bounded() {
        let (mut log, start) = (RefusalLog::default(), Instant::now());
        for source in 0..KINDS + 10 {
            log.add(line(&source.to_string()), start);
        }
        assert_eq!(log.seen.len(), KINDS);
        assert_eq!(log.other, 10);
        assert_eq!(log.counts().0, KINDS as u64 + 10);
    }
}
