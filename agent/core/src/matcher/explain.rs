//! Why a request does not meet a match, for people.

use std::fmt;

use serde::Serialize;

use super::scratch::{self, Scratch};
use super::{RequestView, Route, RouteSet, view};

/// A match that a request does not meet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Index of the spec in the set.
    pub index: usize,
    /// [`super::MatchSpec::name`]
    pub name: String,
    /// Every condition that does not hold; never empty.
    pub reasons: Vec<Reason>,
}

/// A condition that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// The match is broken and meets nothing.
    Broken(String),
    /// The method is none of these.
    Method(Vec<String>),
    /// The path does not begin with what this pattern says.
    Path(String),
    /// The request has no such header.
    HeaderAbsent(String),
    /// The header's value has nothing that this pattern says.
    HeaderValue {
        /// In lower case.
        name: String,
        /// As written in the match.
        pattern: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Broken(why) => write!(f, "the match is broken: {why}"),
            Reason::Method(methods) => write!(f, "the method is none of {}", methods.join(", ")),
            Reason::Path(pattern) => write!(f, "the path does not match ^(?:{pattern})"),
            Reason::HeaderAbsent(name) => write!(f, "there is no header {name}"),
            Reason::HeaderValue { name, pattern } => write!(f, "the header {name} does not match {pattern}"),
        }
    }
}

impl RouteSet {
    /// For every spec that `request` does not meet, all the reasons. Empty if it meets them all.
    pub fn explain(&self, request: &impl RequestView) -> Vec<Mismatch> {
        let routes = self.routes.iter().enumerate();
        routes
            .map(|(index, route)| Mismatch {
                index,
                name: route.spec.name.clone(),
                reasons: self.reasons(index, route, request),
            })
            .filter(|mismatch| !mismatch.reasons.is_empty())
            .collect()
    }

    fn reasons(&self, index: usize, route: &Route, request: &impl RequestView) -> Vec<Reason> {
        if let Some(why) = &route.broken {
            return vec![Reason::Broken(why.to_string())];
        }
        let mut reasons = Vec::new();
        if !route.accepts_method(request.method()) {
            reasons.push(Reason::Method(route.spec.methods.clone()));
        }
        scratch::with(|scratch| {
            scratch.begin(self.paths.len(), self.headers.len());
            let Scratch { paths, headers, text } = scratch;
            self.paths.search(request.path(), true, paths, &mut text.block);
            let by_path = |number: usize| self.by_path.get(number).is_some_and(|routes| routes.contains(&index));
            let path_holds = self.any_path.contains(&index) || paths.iter().any(|id| by_path(id.as_usize()));
            if let (false, Some(pattern)) = (path_holds, &route.spec.path_regex) {
                reasons.push(Reason::Path(pattern.clone()));
            }
            for (&(group, number), (_, pattern)) in route.headers.iter().zip(&route.spec.headers) {
                let (Some(header), Some(scratch)) = (self.headers.get(group), headers.get_mut(group)) else {
                    continue;
                };
                scratch.begin(header.patterns.len());
                header.search(request, scratch, text);
                let name = header.name.to_string();
                if !scratch.matched(number) {
                    reasons.push(match is_there(request, &name) {
                        true => Reason::HeaderValue {
                            name,
                            pattern: pattern.clone(),
                        },
                        false => Reason::HeaderAbsent(name),
                    });
                }
            }
        });
        reasons
    }
}

fn is_there(request: &impl RequestView, name: &str) -> bool {
    if name == "host" {
        request.authority().is_some()
    } else {
        view::values(request, name).next().is_some()
    }
}
