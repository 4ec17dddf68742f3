//! What a plan answers: the evaluator that the engine and `weir explain` share.
//!
//! Bias: the allowed path costs lookups and no allocation; a refusal may allocate, and says which rule was missing.
//! Reads a [`Snapshot`], owns nothing. An enforced destination is what all of it speaks of: who connects to a pod with
//! [`PodInfo::enforced`](crate::snapshot::PodInfo::enforced) `false` needs no grant.

mod explain;
mod missing;

use std::sync::Arc;

pub use explain::{AllowedBy, Candidate, Explanation, Routing, Share, explain, route};
pub use missing::Missing;

use crate::identity::Identity;
use crate::matcher::RequestView;
use crate::model::Key;
use crate::snapshot::{Grant, PairAccess, Snapshot};

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

    /// The grant that lets any bytes pass to this port.
    pub fn tcp(&self, port: u16) -> Option<&Grant> {
        self.grants
            .iter()
            .find(|grant| grant.http.is_none() && grant.ports.contains(port))
    }

    /// What lets this request pass to this port. Access 5 and 6: port and route of one grant, or any bytes.
    pub fn http(&self, port: u16, request: &impl RequestView) -> Option<HttpAllowed<'_>> {
        if let Some(Grant { target, .. }) = self.tcp(port) {
            return Some(HttpAllowed { target, route: None });
        }
        self.grants
            .iter()
            .filter(|grant| grant.ports.contains(port))
            .find_map(|grant| {
                let http = grant.http.as_ref()?;
                let (group, name) = http.names.get(http.routes.find(request)?)?;
                Some(HttpAllowed {
                    target: &grant.target,
                    route: Some((group, name)),
                })
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

    /// The grant that lets any bytes pass, or what is missing for one.
    pub fn authorize_tcp(&self, src: Identity, dst: Identity, port: u16) -> Result<&Grant, Missing> {
        let granted = self.pair(src, dst).and_then(|access| access.tcp(port));
        granted.ok_or_else(|| Missing::tcp(self, src, dst, port))
    }

    /// What lets this request pass, or what is missing for it.
    pub fn authorize_http(
        &self,
        src: Identity,
        dst: Identity,
        port: u16,
        request: &impl RequestView,
    ) -> Result<HttpAllowed<'_>, Missing> {
        let allowed = self.pair(src, dst).and_then(|access| access.http(port, request));
        allowed.ok_or_else(|| Missing::http(self, src, dst, port, request))
    }
}
