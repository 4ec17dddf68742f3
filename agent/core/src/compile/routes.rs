//! HTTPRouteGroups to compiled route sets, each combination of groups and matches once per plan.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::finding::Finding;
use crate::index::Index;
use crate::matcher::{MatchSpec, RouteSet};
use crate::model::{HttpRouteGroup, Key, Kind, ObjectRef};
use crate::snapshot::HttpRoutes;

/// Groups by name, with the names of the matches that count (`None`: all of them).
pub(super) type Selection<'i> = Vec<(&'i Key, Option<Vec<&'i str>>)>;

/// Why matches can't be chosen.
pub(super) enum NoMatch {
    /// The group is not there.
    Group,
    /// The group has no match of this place in the names; with an explanation.
    Name(usize, String),
}

/// Compiled selections.
pub(super) struct Routes<'i> {
    index: &'i Index,
    compiled: HashMap<Selection<'i>, Option<Arc<HttpRoutes>>>,
}

impl<'i> Routes<'i> {
    pub(super) fn new(index: &'i Index) -> Routes<'i> {
        Routes {
            index,
            compiled: HashMap::new(),
        }
    }

    /// The group, and what is wrong with naming these matches of it. Access 3: a rule with a name that is not there
    /// matches nothing, never everything, also where its other names are right.
    pub(super) fn group(&self, key: &Key, names: &[String]) -> Result<&'i HttpRouteGroup, NoMatch> {
        let Some(group) = self.index.groups.get(key) else {
            return Err(NoMatch::Group);
        };
        let known: BTreeSet<&str> = group.matches.iter().map(|m| m.name.as_str()).collect();
        match names.iter().position(|name| !known.contains(name.as_str())) {
            Some(at) => {
                let known: Vec<&str> = known.into_iter().collect();
                let name = names.get(at).map_or("", String::as_str);
                let why = format!("HTTPRouteGroup {key} has no match {name:?}, only {known:?}");
                Err(NoMatch::Name(at, why))
            }
            None => Ok(group),
        }
    }

    /// The union of the selected matches; `None` where nothing in it can match.
    pub(super) fn compile(&mut self, selection: Selection<'i>, findings: &mut Vec<Finding>) -> Option<Arc<HttpRoutes>> {
        if let Some(compiled) = self.compiled.get(&selection) {
            return compiled.clone();
        }
        let compiled = compile(self.index, &selection, findings);
        self.compiled.insert(selection, compiled.clone());
        compiled
    }
}

fn compile(index: &Index, selection: &Selection<'_>, findings: &mut Vec<Finding>) -> Option<Arc<HttpRoutes>> {
    let mut specs = Vec::new();
    let mut names: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    let mut fields = Vec::new();
    for (key, wanted) in selection {
        let Some(group) = index.groups.get(*key) else { continue };
        let object = ObjectRef {
            kind: Kind::HTTPRouteGroup,
            key: group.key.clone(),
        };
        if group.matches.is_empty() {
            let finding = Finding::warning(&object, "spec.matches", "a group without matches matches nothing");
            findings.push(finding.hint("write a match with `methods: [\"*\"]` for every request"));
        }
        let group_name: Arc<str> = group.key.name.as_str().into();
        for (at, http) in group.matches.iter().enumerate() {
            if wanted
                .as_ref()
                .is_none_or(|wanted| wanted.contains(&http.name.as_str()))
            {
                specs.push(MatchSpec {
                    name: format!("{}/{}/{at}", group.key, http.name),
                    path_regex: http.path_regex.clone(),
                    methods: http.methods.clone(),
                    headers: http.headers.clone(),
                });
                names.push((group_name.clone(), http.name.as_str().into()));
                fields.push((object.clone(), http.name.as_str()));
            }
        }
    }
    let (routes, errors) = RouteSet::compile(specs.iter().cloned());
    for error in &errors {
        // The names are unique: they hold the place in the list.
        let at = specs.iter().position(|spec| spec.name == error.name);
        if let Some((object, name)) = at.and_then(|at| fields.get(at)) {
            let message = format!("the match matches nothing: {}", error.reason);
            // By name: places have shifted where the converter left a match out.
            findings.push(Finding::error(
                object,
                format!("spec.matches[{name:?}].{}", error.field),
                message,
            ));
        }
    }
    (errors.len() < specs.len()).then(|| Arc::new(HttpRoutes { routes, names }))
}
