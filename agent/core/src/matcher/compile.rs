//! From SMI matches to a [`RouteSet`].

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::patterns::{self, Patterns};
use super::{HeaderPatterns, Route, RouteSet};

/// One match of an HTTPRouteGroup, normalised.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchSpec {
    /// What errors and explanations call it, `namespace/group/match` say.
    pub name: String,
    /// Anchored at the start; `None` is any path.
    pub path_regex: Option<String>,
    /// Case-sensitive; empty, or with a `*` among them: any.
    pub methods: Vec<String>,
    /// Names and patterns; all must match.
    pub headers: Vec<(String, String)>,
}

/// A match that matches nothing, and why. The other matches of the set are not affected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("match {name} matches nothing: {field}: {reason}")]
pub struct MatchError {
    /// [`MatchSpec::name`]
    pub name: String,
    /// `pathRegex`, or `headers.NAME`.
    pub field: String,
    /// What is wrong with the pattern.
    pub reason: String,
}

/// Distinct patterns in the order of their first use.
#[derive(Default)]
struct Distinct {
    numbers: HashMap<String, Result<usize, String>>,
    sources: Vec<String>,
}

impl Distinct {
    fn number(&mut self, pattern: &str) -> Result<usize, String> {
        if let Some(known) = self.numbers.get(pattern) {
            return known.clone();
        }
        let number = patterns::check(pattern).map(|()| {
            self.sources.push(pattern.to_owned());
            self.sources.len() - 1
        });
        self.numbers.insert(pattern.to_owned(), number.clone());
        number
    }

    fn patterns(&self) -> Patterns {
        Patterns::new(&self.sources)
    }
}

impl RouteSet {
    /// Compiles `specs` in their order. The set has one route for each of them; a broken one matches nothing and is
    /// reported by name.
    pub fn compile(specs: impl IntoIterator<Item = MatchSpec>) -> (RouteSet, Vec<MatchError>) {
        let mut build = Build::default();
        let mut errors = Vec::new();
        for spec in specs {
            if let Err(error) = build.add(spec) {
                errors.push(error);
            }
        }
        (build.finish(), errors)
    }
}

#[derive(Default)]
struct Build {
    routes: Vec<Route>,
    paths: Distinct,
    by_path: Vec<Vec<usize>>,
    any_path: Vec<usize>,
    headers: Vec<(String, Distinct)>,
}

impl Build {
    fn add(&mut self, spec: MatchSpec) -> Result<(), MatchError> {
        let index = self.routes.len();
        let compiled = self.compile(&spec);
        let any_method = spec.methods.is_empty() || spec.methods.iter().any(|method| method == "*");
        let methods = (!any_method).then(|| spec.methods.iter().map(|method| method.as_str().into()).collect());
        let mut route = Route {
            spec,
            methods,
            headers: Vec::new(),
            broken: None,
        };
        let result = match compiled {
            Ok((path, headers)) => {
                route.headers = headers;
                match path {
                    Some(number) => {
                        self.by_path.resize(self.by_path.len().max(number + 1), Vec::new());
                        if let Some(routes) = self.by_path.get_mut(number) {
                            routes.push(index);
                        }
                    }
                    None => self.any_path.push(index),
                }
                Ok(())
            }
            Err((field, reason)) => {
                route.broken = Some(Arc::from(format!("{field}: {reason}")));
                Err(MatchError {
                    name: route.spec.name.clone(),
                    field,
                    reason,
                })
            }
        };
        self.routes.push(route);
        result
    }

    /// The numbers of a spec's patterns, or the field at fault and why.
    #[expect(clippy::type_complexity, reason = "a path and its headers, used once")]
    fn compile(&mut self, spec: &MatchSpec) -> Result<(Option<usize>, Vec<(usize, usize)>), (String, String)> {
        let path = match spec.path_regex.as_deref() {
            // Patterns that hold for every path cost nothing this way, and they are the usual ones.
            None | Some("" | ".*") => None,
            Some(pattern) => Some(
                self.paths
                    .number(pattern)
                    .map_err(|reason| ("pathRegex".to_owned(), reason))?,
            ),
        };
        let mut headers = Vec::new();
        for (name, pattern) in &spec.headers {
            let name = name.to_ascii_lowercase();
            let group = self
                .headers
                .iter()
                .position(|(have, _)| *have == name)
                .unwrap_or_else(|| {
                    self.headers.push((name.clone(), Distinct::default()));
                    self.headers.len() - 1
                });
            if let Some((_, patterns)) = self.headers.get_mut(group) {
                let number = patterns
                    .number(pattern)
                    .map_err(|reason| (format!("headers.{name}"), reason))?;
                headers.push((group, number));
            }
        }
        Ok((path, headers))
    }

    fn finish(self) -> RouteSet {
        let headers = self.headers.iter();
        RouteSet {
            paths: self.paths.patterns(),
            headers: headers
                .map(|(name, distinct)| HeaderPatterns {
                    name: name.as_str().into(),
                    patterns: distinct.patterns(),
                })
                .collect(),
            routes: self.routes,
            by_path: self.by_path,
            any_path: self.any_path,
        }
    }
}
