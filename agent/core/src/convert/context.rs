//! What all converters share while they read one object: which object it is, and what was found so far.

use std::collections::BTreeMap;

use super::ConvertError;
use super::node::{Fault, Node};
use crate::finding::Finding;
use crate::model::{Key, Kind, ObjectRef};

/// One object that is being read.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The whole object.
    pub(super) root: Node<'a>,
    /// Its `metadata`.
    metadata: Node<'a>,
    /// The version in its `apiVersion`.
    pub(super) version: &'a str,
    /// What it is.
    pub(super) object: ObjectRef,
    /// What was found so far.
    pub(super) findings: Vec<Finding>,
}

impl<'a> Context<'a> {
    /// Reads `metadata.name` and `metadata.namespace`.
    pub(super) fn open(root: Node<'a>, version: &'a str, kind: Kind) -> Result<Context<'a>, ConvertError> {
        let mut object = ObjectRef {
            kind,
            key: Key::default(),
        };
        match identify(&root, &mut object) {
            Ok(metadata) => Ok(Context {
                root,
                metadata,
                version,
                object,
                findings: Vec::new(),
            }),
            Err(fault) => Err(ConvertError::new(Some(object), fault)),
        }
    }

    pub(super) fn key(&self) -> Key {
        self.object.key.clone()
    }

    /// A part of the object has no effect.
    pub(super) fn error(&mut self, fault: Fault, cost: &str) {
        let finding = Finding::error(&self.object, fault.field, format!("{}; {cost}", fault.message));
        self.findings.push(Finding {
            hint: fault.hint,
            ..finding
        });
    }

    /// Something works, but hardly as meant.
    pub(super) fn warn(&mut self, fault: Fault) {
        let finding = Finding::warning(&self.object, fault.field, fault.message);
        self.findings.push(Finding {
            hint: fault.hint,
            ..finding
        });
    }

    /// A part that costs only itself: `None` and a finding where it can't be read.
    pub(super) fn part<T>(&mut self, read: Result<T, Fault>, cost: &str) -> Option<T> {
        read.map_err(|fault| self.error(fault, cost)).ok()
    }

    /// A text field of `metadata`; what can't be read is absent, with a finding.
    pub(super) fn metadata_text(&mut self, name: &str) -> Option<String> {
        let read = self.metadata.optional_text(name);
        self.part(read, "it is left out").flatten().map(str::to_owned)
    }

    pub(super) fn metadata_has(&self, name: &str) -> bool {
        matches!(self.metadata.optional(name), Ok(Some(_)))
    }

    /// `metadata.labels` or `metadata.annotations`, as it stands.
    pub(super) fn metadata_map(&self, name: &str) -> Result<Option<Node<'a>>, Fault> {
        self.metadata.optional(name)
    }

    /// The labels; one that can't be read is left out, with a finding. Fewer labels are chosen by fewer selectors.
    pub(super) fn labels(&mut self) -> BTreeMap<String, String> {
        let read = self
            .metadata_map("labels")
            .and_then(|node| node.map_or(Ok(Vec::new()), |node| node.entries()));
        let mut labels = BTreeMap::new();
        for (name, value) in self.part(read, "the object has no labels").unwrap_or_default() {
            if let Some(value) = self.part(value.text(), "the label is left out") {
                labels.insert(name.to_owned(), value.to_owned());
            }
        }
        labels
    }
}

fn identify<'a>(root: &Node<'a>, object: &mut ObjectRef) -> Result<Node<'a>, Fault> {
    let metadata = root.require("metadata")?;
    let name = metadata.require("name");
    if object.kind == Kind::Namespace {
        object.key.name = name?.label()?.to_owned();
        return Ok(metadata);
    }
    // The name first, so that a bad namespace is reported with the name.
    let name = name.and_then(|node| {
        if object.kind == Kind::Service {
            node.label()
        } else {
            node.name()
        }
    });
    object.key.name = name.as_ref().map_or(String::new(), |name| (*name).to_owned());
    object.key.namespace = match metadata.optional("namespace")? {
        Some(node) if node.text()?.is_empty() => "default".to_owned(),
        Some(node) => node.label()?.to_owned(),
        None => "default".to_owned(),
    };
    name?;
    Ok(metadata)
}

/// Labels of a selector: all of it or nothing, because a label that is left out would choose more pods.
pub(super) fn selector(node: &Node<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let text = |(name, value): (&str, Node<'_>)| Ok((name.to_owned(), value.text()?.to_owned()));
    node.entries()?.into_iter().map(text).collect()
}
