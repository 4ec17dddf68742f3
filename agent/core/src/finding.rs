//! What is wrong with an object, in one form for the log, `/plan`, `weir lint` and events.

use std::fmt;

use crate::model::{Kind, ObjectRef};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The object, or the named part of it, has no effect.
    Error,
    /// It works, but hardly as meant.
    Warning,
}

/// One thing that is wrong with one object. It costs that object, or the named part, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Finding {
    /// The object.
    pub object: ObjectRef,
    /// How bad it is.
    pub severity: Severity,
    /// Path of the field, `spec.rules[0].name`; empty for the whole object.
    pub field: String,
    /// What is wrong, lower case, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Kind of the object that is referred to and not there. Who sees only some of the objects, as `weir lint` does,
    /// can tell from it what may be elsewhere.
    #[serde(skip)]
    pub missing: Option<Kind>,
}

impl Finding {
    /// An error.
    pub fn error(object: &ObjectRef, field: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            object: object.clone(),
            severity: Severity::Error,
            field: field.into(),
            message: message.into(),
            hint: None,
            missing: None,
        }
    }

    /// A warning.
    pub fn warning(object: &ObjectRef, field: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            severity: Severity::Warning,
            ..Finding::error(object, field, message)
        }
    }

    /// With a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// About an object of this kind that is not there.
    pub fn missing(mut self, kind: Kind) -> Finding {
        self.missing = Some(kind);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}
