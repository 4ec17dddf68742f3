//! What a plan answers: the evaluator that the engine and `weir explain` share.
//!
//! Bias: the allowed path costs lookups and no allocation; a refusal may allocate, and says which rule was missing.
//! Reads a [`Snapshot`], owns nothing. It says what rules allow. Whether it matters that none does is the mode of the
//! destination ([`PodInfo::mode`](crate::snapshot::PodInfo::mode)): [`Snapshot::verdict_at`] has both in it.

mod explain;
mod missing;

use std::sync::Arc;

pub use explain::{AllowedBy, Candidate, Explanation, Routing, Share, explain, explain_udp, route};
pub use missing::Missing;

use crate::identity::Identity;
use crate::matcher::RequestView;
use crate::model::{Key, Mode};
use crate::snapshot::{Grant, PairAccess, PodInfo, Snapshot, UdpGrant};

/// What the kernel does with a connection. In order: a later one lets more pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Refuse.
    Deny,
    /// The engine decides.
    L7,
    /// Any bytes pass.
    Allow,
}

/// What allowed a request. Borrowed from the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAllowed<'s> {
    /// The TrafficTarget.
    pub target: &'s Key,
    /// HTTPRouteGroup and match; `None` where a TCPRoute alone allows any bytes.
    pub route: Option<(&'s Arc<str>, &'s Arc<str>)>,
}

/// Where in a [`PairAccess`] that is which lets something pass. Outlives the snapshot's borrow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Index of the grant.
    pub grant: usize,
    /// Index of the match among the grant's; `None` where a TCPRoute alone allows any bytes.
    pub route: Option<usize>,
}

impl PairAccess {
    /// The verdict on a pod port.
    pub fn verdict(&self, port: u16) -> Verdict {
        verdict(self.grants.iter().filter(|grant| grant.ports.contains(port)))
    }

    /// The verdict on ports that no grant names.
    pub fn verdict_elsewhere(&self) -> Verdict {
        verdict(
            self.grants
                .iter()
                .filter(|grant| grant.ports == crate::snapshot::Ports::All),
        )
    }

    /// The verdict on datagrams to a pod port: there is no engine for them.
    pub fn udp_verdict(&self, port: u16) -> Verdict {
        if self.udp(port).is_some() {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }

    /// The verdict on datagrams to ports that no grant names.
    pub fn udp_verdict_elsewhere(&self) -> Verdict {
        if self.udp.iter().any(|grant| grant.ports == crate::snapshot::Ports::All) {
            Verdict::Allow
        } else {
            Verdict::Deny
        }
    }

    /// The grant that lets datagrams pass to this port. Access 8.
    pub fn udp(&self, port: u16) -> Option<&UdpGrant> {
        self.udp.iter().find(|grant| grant.ports.contains(port))
    }

    /// The grant that lets any bytes pass to this port.
    pub fn tcp(&self, port: u16) -> Option<&Grant> {
        self.grants.get(self.find_tcp(port)?.grant)
    }

    /// What lets this request pass to this port. Access 5 and 6: port and route of one grant, or any bytes.
    pub fn http(&self, port: u16, request: &impl RequestView) -> Option<HttpAllowed<'_>> {
        self.named(self.find_http(port, request)?)
    }

    /// Where [`PairAccess::tcp`] finds its grant.
    pub fn find_tcp(&self, port: u16) -> Option<Granted> {
        let holds = |grant: &Grant| grant.http.is_none() && grant.ports.contains(port);
        let grant = self.grants.iter().position(holds)?;
        Some(Granted { grant, route: None })
    }

    /// Where [`PairAccess::http`] finds its grant and match.
    pub fn find_http(&self, port: u16, request: &impl RequestView) -> Option<Granted> {
        self.find_tcp(port).or_else(|| {
            let mut open = self.grants.iter().enumerate();
            open.find_map(|(grant, found)| {
                let http = found.http.as_ref().filter(|_| found.ports.contains(port))?;
                let route = http.routes.find(request)?;
                http.names.get(route)?;
                Some(Granted {
                    grant,
                    route: Some(route),
                })
            })
        })
    }

    /// The names of what was found; `None` for what this access has not.
    pub fn named(&self, granted: Granted) -> Option<HttpAllowed<'_>> {
        let grant = self.grants.get(granted.grant)?;
        let route = match granted.route {
            Some(index) => {
                let (group, name) = grant.http.as_ref()?.names.get(index)?;
                Some((group, name))
            }
            None => None,
        };
        Some(HttpAllowed {
            target: &grant.target,
            route,
        })
    }
}

fn verdict<'s>(grants: impl Iterator<Item = &'s Grant>) -> Verdict {
    let of = |grant: &Grant| {
        if grant.http.is_none() {
            Verdict::Allow
        } else {
            Verdict::L7
        }
    };
    grants.map(of).max().unwrap_or(Verdict::Deny)
}

impl Snapshot {
    /// What `src` may do at `dst`.
    pub fn pair(&self, src: Identity, dst: Identity) -> Option<&Arc<PairAccess>> {
        self.access.get(&(src, dst))
    }

    /// The verdict on a connection to a pod port: the same as the kernel's table gives.
    pub fn verdict(&self, src: Identity, dst: Identity, port: u16) -> Verdict {
        self.pair(src, dst).map_or(Verdict::Deny, |access| access.verdict(port))
    }

    /// The verdict on datagrams to a pod port: the same as the kernel's table gives.
    pub fn udp_verdict(&self, src: Identity, dst: Identity, port: u16) -> Verdict {
        self.pair(src, dst)
            .map_or(Verdict::Deny, |access| access.udp_verdict(port))
    }

    /// The grant that lets datagrams pass, or what is missing for one.
    pub fn authorize_udp(&self, src: Identity, dst: Identity, port: u16) -> Result<&UdpGrant, Missing> {
        let granted = self.pair(src, dst).and_then(|access| access.udp(port));
        granted.ok_or_else(|| Missing::udp(self, src, dst, port))
    }

    /// What becomes of a connection to this pod: as its rules say where it enforces, and whatever it is elsewhere. Where a
    /// mode lets pass, the kernel may still send it by way of the engine.
    pub fn verdict_at(&self, src: Identity, dst: &PodInfo, port: u16) -> Verdict {
        match dst.mode {
            Mode::Enforce => self.verdict(src, dst.identity, port),
            Mode::Off | Mode::Permissive | Mode::Audit => Verdict::Allow,
        }
    }

    /// As [`Snapshot::verdict_at`], for datagrams.
    pub fn udp_verdict_at(&self, src: Identity, dst: &PodInfo, port: u16) -> Verdict {
        match dst.mode {
            Mode::Enforce => self.udp_verdict(src, dst.identity, port),
            Mode::Off | Mode::Permissive | Mode::Audit => Verdict::Allow,
        }
    }

    /// Whether this is the kubelet, at a port that it probes.
    pub fn is_probe(&self, client: std::net::IpAddr, dst: &PodInfo, port: u16) -> bool {
        dst.probe_ports.binary_search(&port).is_ok() && self.node.contains(&client) && !self.peers.contains_key(&client)
    }

    /// The grant that lets any bytes pass, or what is missing for one.
    pub fn authorize_tcp(&self, src: Identity, dst: Identity, port: u16) -> Result<&Grant, Missing> {
        let (access, granted) = self.find_tcp(src, dst, port)?;
        let grant = access.grants.get(granted.grant);
        grant.ok_or_else(|| Missing::tcp(self, src, dst, port))
    }

    /// What lets this request pass, or what is missing for it.
    pub fn authorize_http(
        &self,
        src: Identity,
        dst: Identity,
        port: u16,
        request: &impl RequestView,
    ) -> Result<HttpAllowed<'_>, Missing> {
        let (access, granted) = self.find_http(src, dst, port, request)?;
        let allowed = access.named(granted);
        allowed.ok_or_else(|| Missing::http(self, src, dst, port, request))
    }

    /// Where [`Snapshot::authorize_tcp`] finds its grant.
    pub fn find_tcp(&self, src: Identity, dst: Identity, port: u16) -> Result<(&Arc<PairAccess>, Granted), Missing> {
        let found = self
            .pair(src, dst)
            .and_then(|access| Some((access, access.find_tcp(port)?)));
        found.ok_or_else(|| Missing::tcp(self, src, dst, port))
    }

    /// Where [`Snapshot::authorize_http`] finds what lets the request pass.
    pub fn find_http(
        &self,
        src: Identity,
        dst: Identity,
        port: u16,
        request: &impl RequestView,
    ) -> Result<(&Arc<PairAccess>, Granted), Missing> {
        let found = self
            .pair(src, dst)
            .and_then(|access| Some((access, access.find_http(port, request)?)));
        found.ok_or_else(|| Missing::http(self, src, dst, port, request))
    }
}
