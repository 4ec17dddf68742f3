//! HTTPRouteGroup: `matches` at top level (v1alpha1, v1alpha2) or under `spec` (v1alpha3 and later); either counts
//! under any version.
//!
//! Bias: the matches of a group are OR'd, so one that can't be read is left out. Everything inside a match narrows
//! it, so a field that is not known leaves the match out as well: `pathregex` must not mean "any path".

use std::collections::BTreeSet;

use super::context::Context;
use super::names;
use super::node::{Fault, Node, shorten};
use crate::model::{HttpMatch, HttpRouteGroup};

/// The fields of a match.
const FIELDS: [&str; 4] = ["name", "pathRegex", "methods", "headers"];

pub(super) fn read(context: &mut Context<'_>) -> Result<HttpRouteGroup, Fault> {
    let under_spec = context
        .root
        .optional("spec")?
        .map_or(Ok(None), |spec| spec.get("matches"))?;
    let at_top = context.root.get("matches")?;
    if under_spec.is_none() && at_top.is_none() {
        return Err(Fault {
            field: "spec.matches".to_owned(),
            message: "is missing".to_owned(),
            hint: Some("a group without matches matches no request".to_owned()),
        });
    }
    if let (Some(_), Some(top)) = (&under_spec, &at_top) {
        context.warn(
            top.fault("matches stand under spec and at top level; all of them count")
                .hint("keep them under spec"),
        );
    }
    let mut group = HttpRouteGroup {
        key: context.key(),
        matches: Vec::new(),
    };
    let mut names = BTreeSet::new();
    for list in [under_spec, at_top].into_iter().flatten() {
        for node in list.list()? {
            let Some(read) = context.part(http_match(&node), "the match matches nothing") else {
                continue;
            };
            remarks(context, &node, &read);
            if !read.name.is_empty() && !names.insert(read.name.clone()) {
                let fault = node.fault(format!("there is another match {}", shorten(&read.name)));
                context.warn(fault.hint("who names it means both"));
            }
            group.matches.push(read);
        }
    }
    Ok(group)
}

fn http_match(node: &Node<'_>) -> Result<HttpMatch, Fault> {
    if let Some(name) = node.unknown_field(&FIELDS) {
        let fault = Fault {
            field: node.path_of(name),
            message: "is no field of a match".to_owned(),
            hint: None,
        };
        let near = FIELDS.into_iter().find(|field| {
            field
                .trim_end_matches('s')
                .eq_ignore_ascii_case(name.trim_end_matches('s'))
        });
        return Err(fault.hint(near.map_or_else(
            || format!("the fields are {}", FIELDS.join(", ")),
            |field| format!("write {field}"),
        )));
    }
    Ok(HttpMatch {
        name: node.optional_text("name")?.unwrap_or_default().to_owned(),
        path_regex: node
            .get("pathRegex")?
            .map(|path| path.text().map(str::to_owned))
            .transpose()?,
        methods: node
            .get("methods")?
            .map_or(Ok(Vec::new()), |list| list.list()?.iter().map(method).collect())?,
        headers: node
            .get("headers")?
            .map_or(Ok(Vec::new()), |headers| read_headers(&headers))?,
    })
}

fn method(node: &Node<'_>) -> Result<String, Fault> {
    let text = node.text()?;
    if names::is_token(text) {
        return Ok(text.to_owned());
    }
    Err(node.fault(format!("{} is no HTTP method", shorten(text))))
}

/// A map (the specification's prose) or a list of maps (its CRD). All of the headers have to match.
fn read_headers(node: &Node<'_>) -> Result<Vec<(String, String)>, Fault> {
    let maps = if node.is_list() {
        node.list()?
    } else {
        vec![node.clone()]
    };
    let mut headers = Vec::new();
    for map in maps {
        let entries = map.entries()?;
        if entries.is_empty() && node.is_list() {
            return Err(map.fault("names no header"));
        }
        for (name, value) in entries {
            if !names::is_token(name) {
                return Err(value.fault(format!("{} is no header name", shorten(name))));
            }
            headers.push((name.to_owned(), value.text()?.to_owned()));
        }
    }
    Ok(headers)
}

/// What works, but hardly as meant.
fn remarks(context: &mut Context<'_>, node: &Node<'_>, read: &HttpMatch) {
    if read.name.is_empty() {
        context.warn(
            node.missing("name")
                .hint("no TrafficTarget can choose a match without a name"),
        );
    }
    if let Some(method) = read
        .methods
        .iter()
        .find(|method| method.bytes().any(|c| c.is_ascii_lowercase()))
    {
        let fault = Fault {
            field: node.path_of("methods"),
            message: format!("{method:?} never matches {}", method.to_ascii_uppercase()),
            hint: None,
        };
        context.warn(fault.hint("methods are compared with regard to case"));
    }
}
