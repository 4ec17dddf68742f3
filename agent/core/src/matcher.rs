//! Which HTTP match of a set a request meets (SMI HTTPRouteGroup; `docs/semantics.md`, Matching).
//!
//! Bias: a request costs about the same against one match and against a thousand. All path patterns run as one
//! automaton, as do all patterns of one header; that takes memory, which the limits below bound. Nothing is allocated
//! per request once a thread's scratch has grown to the size of the set.
//!
//! A [`RouteSet`] is immutable and shared; the scratch belongs to the thread that asks.
//!
//! - `pathRegex` is anchored at its start only, as if it stood in `^(?:…)`, and sees the canonical path alone.
//! - `methods`: case-sensitive, `*` is any, none at all is any.
//! - `headers`: names without regard to case; values searched unanchored; all must match. Lines of one name are joined
//!   with `, ` first (cookies with `; `). A header that is not there never matches, whatever its pattern. `host` is
//!   the authority, with and without its port.
//! - Patterns are those of the `regex` crate over bytes, without Unicode classes: linear time. One that does not
//!   compile, or is larger than [`MAX_PATTERN_BYTES`] or [`MAX_NFA_BYTES`], makes its match match nothing.

mod compile;
mod explain;
mod patterns;
mod scratch;
mod view;

use std::sync::Arc;

use crate::http1::without_port;
use patterns::Patterns;
use scratch::{HeaderScratch, Scratch, TextScratch};

pub use compile::{MatchError, MatchSpec};
pub use explain::{Mismatch, Reason};
pub use view::{Probe, RequestView};

/// Longest pattern, in bytes of its text.
pub const MAX_PATTERN_BYTES: usize = 2048;

/// Largest automaton of one pattern, in bytes. A counted repetition gets there soonest: `(a{100}){100}`. In the worst
/// case a search takes time in proportion to this and to the length of the text, so it bounds what one rule can cost
/// its neighbours.
pub const MAX_NFA_BYTES: usize = 128 * 1024;

/// A compiled, ordered set of matches.
#[derive(Debug)]
pub struct RouteSet {
    routes: Vec<Route>,
    paths: Patterns,
    /// For each pattern of `paths`, the routes that have it, in order.
    by_path: Vec<Vec<usize>>,
    /// The routes without a path pattern, in order.
    any_path: Vec<usize>,
    headers: Vec<HeaderPatterns>,
}

#[derive(Debug)]
struct Route {
    spec: MatchSpec,
    /// `None`: any.
    methods: Option<Vec<Box<str>>>,
    /// (index in `RouteSet::headers`, pattern there)
    headers: Vec<(usize, usize)>,
    /// Why this route matches nothing, if it does not.
    broken: Option<Arc<str>>,
}

/// All patterns on one header.
#[derive(Debug)]
struct HeaderPatterns {
    /// In lower case.
    name: Box<str>,
    patterns: Patterns,
}

impl RouteSet {
    /// How many matches the set was made of, those that match nothing included.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// The set was made of no matches; nothing matches then.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// What the set was made of, in order.
    pub fn specs(&self) -> impl Iterator<Item = &MatchSpec> {
        self.routes.iter().map(|route| &route.spec)
    }

    /// The index of the first spec that `request` meets.
    pub fn find(&self, request: &impl RequestView) -> Option<usize> {
        self.find_where(request, |_| true)
    }

    /// The index of the first spec that `request` meets among those that `wanted` accepts by index.
    pub fn find_where(&self, request: &impl RequestView, wanted: impl Fn(usize) -> bool) -> Option<usize> {
        scratch::with(|scratch| {
            scratch.begin(self.paths.len(), self.headers.len());
            let Scratch { paths, headers, text } = scratch;
            self.paths.search(request.path(), true, paths, &mut text.block);
            let mut best: Option<usize> = None;
            // To the last that matches, not through what larger sets have left room for.
            let matched = paths
                .iter()
                .take(paths.len())
                .filter_map(|pattern| self.by_path.get(pattern.as_usize()));
            for candidates in matched.chain([&self.any_path]) {
                let found = candidates
                    .iter()
                    .copied()
                    .take_while(|&index| best.is_none_or(|best| index < best))
                    .find(|&index| wanted(index) && self.meets(index, request, headers, text));
                best = found.or(best);
            }
            best
        })
    }

    /// Method and headers of the route `index` hold; its path does already.
    fn meets(
        &self,
        index: usize,
        request: &impl RequestView,
        headers: &mut [HeaderScratch],
        text: &mut TextScratch,
    ) -> bool {
        let Some(route) = self.routes.get(index) else {
            return false;
        };
        route.accepts_method(request.method())
            && route.headers.iter().all(|&(group, pattern)| {
                let (Some(header), Some(scratch)) = (self.headers.get(group), headers.get_mut(group)) else {
                    return false;
                };
                if !scratch.searched {
                    scratch.begin(header.patterns.len());
                    header.search(request, scratch, text);
                }
                scratch.matched(pattern)
            })
    }
}

impl Route {
    fn accepts_method(&self, method: &[u8]) -> bool {
        self.methods
            .as_ref()
            .is_none_or(|methods| methods.iter().any(|have| have.as_bytes() == method))
    }
}

impl HeaderPatterns {
    /// Finds all patterns that the header's value meets; none if the header is absent.
    fn search(&self, request: &impl RequestView, scratch: &mut HeaderScratch, text: &mut TextScratch) {
        if &*self.name == "host" {
            if let Some(authority) = request.authority() {
                self.patterns
                    .search(authority, false, &mut scratch.set, &mut text.block);
                let host = without_port(authority);
                if host.len() < authority.len() {
                    self.patterns.search(host, false, &mut scratch.set, &mut text.block);
                }
            }
            return;
        }
        let mut lines = view::values(request, &self.name);
        let Some(first) = lines.next() else { return };
        let Some(second) = lines.next() else {
            self.patterns.search(first, false, &mut scratch.set, &mut text.block);
            return;
        };
        let TextScratch { joined, block } = text;
        joined.clear();
        joined.extend_from_slice(first);
        for line in std::iter::once(second).chain(lines) {
            joined.extend_from_slice(view::separator(&self.name));
            joined.extend_from_slice(line);
        }
        self.patterns.search(joined, false, &mut scratch.set, block);
    }
}

#[cfg(test)]
mod tests;
