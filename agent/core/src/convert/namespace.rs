//! Namespace: whether its pods take part.
//!
//! Bias: a label that says nothing that is known enforces. A typo must not open a namespace.

use super::context::Context;
use super::node::{Fault, Node, shorten};
use crate::model::{Mode, Namespace};

/// The label that enrols a namespace.
const LABEL: &str = "weir.dev/mode";

pub(super) fn read(context: &mut Context<'_>) -> Namespace {
    let (mode, unknown_mode) = match label(context) {
        Ok(None) => (Mode::Off, None),
        Ok(Some("enforce")) => (Mode::Enforce, None),
        Ok(Some("audit")) => (Mode::Audit, None),
        Ok(Some("permissive")) => (Mode::Permissive, None),
        Ok(Some(text)) => {
            let field = format!("metadata.labels[{LABEL:?}]");
            let message = format!("{} is no mode that is known", shorten(text));
            let fault = Fault {
                field,
                message,
                hint: Some("the values are enforce, audit and permissive".to_owned()),
            };
            context.error(fault, "the namespace is enforced");
            (Mode::Enforce, Some(text.to_owned()))
        }
        Err(fault) => {
            context.error(fault, "the namespace is enforced");
            (Mode::Enforce, Some(String::new()))
        }
    };
    Namespace {
        name: context.key().name,
        mode,
        unknown_mode,
    }
}

fn label<'a>(context: &Context<'a>) -> Result<Option<&'a str>, Fault> {
    let label = context
        .metadata_map("labels")?
        .map_or(Ok(None), |labels| labels.get(LABEL))?;
    label.as_ref().map(Node::text).transpose()
}
