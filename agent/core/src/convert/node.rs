//! A JSON value that knows where in its object it stands, so that every error names the field.
//!
//! Bias: nothing is guessed. A value of the wrong type is a fault, also `null` where it is asked for; the callers say
//! where `null` is as good as absent ([`Node::optional`]), which they must not where the field narrows access.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::names;

/// Something that can't be read: the field, what is wrong, what to do.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) field: String,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Fault {
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Fault {
        self.hint = Some(hint.into());
        self
    }
}

/// A value and the path to it.
#[derive(Clone, Debug)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Node<'a> {
        Node {
            value,
            path: String::new(),
        }
    }

    /// The path of a field of this value.
    pub(super) fn path_of(&self, name: &str) -> String {
        let plain = !name.is_empty()
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
        match (plain, self.path.is_empty()) {
            (true, true) => name.to_owned(),
            (true, false) => format!("{}.{name}", self.path),
            (false, _) => format!("{}[{name:?}]", self.path),
        }
    }

    pub(super) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault {
            field: self.path.clone(),
            message: message.into(),
            hint: None,
        }
    }

    /// The fault of a field that should be there.
    pub(super) fn missing(&self, name: &str) -> Fault {
        Fault {
            field: self.path_of(name),
            message: "is missing".to_owned(),
            hint: None,
        }
    }

    fn wrong(&self, wanted: &str) -> Fault {
        let found = match self.value {
            Value::Null => "empty (null)".to_owned(),
            Value::Bool(value) => format!("the boolean {value}"),
            Value::Number(value) => format!("the number {value}"),
            Value::String(text) => format!("the text {}", shorten(text)),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a mapping".to_owned(),
        };
        self.fault(format!("has to be {wanted}, but is {found}"))
    }

    pub(super) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    fn map(&self) -> Result<&'a Map<String, Value>, Fault> {
        self.value.as_object().ok_or_else(|| self.wrong("a mapping"))
    }

    /// A field, also if it is null. A fault where this is no mapping.
    pub(super) fn get(&self, name: &str) -> Result<Option<Node<'a>>, Fault> {
        Ok(self.map()?.get(name).map(|value| Node {
            value,
            path: self.path_of(name),
        }))
    }

    /// A field for which null is the same as absent.
    pub(super) fn optional(&self, name: &str) -> Result<Option<Node<'a>>, Fault> {
        Ok(self.get(name)?.filter(|node| !node.is_null()))
    }

    /// A field that has to be there.
    pub(super) fn require(&self, name: &str) -> Result<Node<'a>, Fault> {
        self.get(name)?.ok_or_else(|| self.missing(name))
    }

    /// A text field for which absent, null and empty are the same.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        match self.optional(name)? {
            Some(node) => Ok(Some(node.text()?).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }

    /// The elements of an optional list field; absent and null are empty.
    pub(super) fn optional_list(&self, name: &str) -> Result<Vec<Node<'a>>, Fault> {
        self.optional(name)?.map_or(Ok(Vec::new()), |node| node.list())
    }

    /// The fields of a mapping, in the order they are written.
    pub(super) fn entries(&self) -> Result<Vec<(&'a str, Node<'a>)>, Fault> {
        let node = |(name, value): (&'a String, &'a Value)| {
            (
                name.as_str(),
                Node {
                    value,
                    path: self.path_of(name),
                },
            )
        };
        Ok(self.map()?.iter().map(node).collect())
    }

    /// The first field that is none of `known`.
    pub(super) fn unknown_field(&self, known: &[&str]) -> Option<&'a str> {
        let fields = self.value.as_object()?;
        fields.keys().map(String::as_str).find(|name| !known.contains(name))
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<Vec<Node<'a>>, Fault> {
        let list = self.value.as_array().ok_or_else(|| self.wrong("a list"))?;
        let node = |(index, value)| Node {
            value,
            path: format!("{}[{index}]", self.path),
        };
        Ok(list.iter().enumerate().map(node).collect())
    }

    /// Text.
    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.value.as_str().ok_or_else(|| match self.value {
            Value::Bool(_) | Value::Number(_) => self.wrong("text").hint("put it in quotes"),
            _ => self.wrong("text"),
        })
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    /// A number as it is written, or text that may hold one.
    pub(super) fn number_text(&self) -> Result<String, Fault> {
        match self.value {
            Value::Number(number) => Ok(number.to_string()),
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.wrong("a number")),
        }
    }

    /// A name that is an RFC 1123 subdomain.
    pub(super) fn name(&self) -> Result<&'a str, Fault> {
        let text = self.text()?;
        if names::is_subdomain(text) {
            return Ok(text);
        }
        let rule = "names have a-z, 0-9, '-' and '.', and begin and end with a letter or digit (RFC 1123)";
        Err(self
            .fault(format!("{} is no name that an object can have", shorten(text)))
            .hint(rule))
    }

    /// A name that is an RFC 1123 label.
    pub(super) fn label(&self) -> Result<&'a str, Fault> {
        let text = self.text()?;
        if names::is_label(text) {
            return Ok(text);
        }
        let rule = "up to 63 of a-z, 0-9 and '-', with a letter or digit at both ends (RFC 1123)";
        Err(self
            .fault(format!(
                "{} is no name that an object of this kind can have",
                shorten(text)
            ))
            .hint(rule))
    }

    /// A port number, as a number or as digits in text.
    pub(super) fn port(&self) -> Result<u16, Fault> {
        let text = self.number_text().map_err(|_| self.wrong("a port number"))?;
        let digits = !text.is_empty() && text.len() <= 5 && text.bytes().all(|c| c.is_ascii_digit());
        match text.parse::<u16>() {
            Ok(port) if digits && port > 0 => Ok(port),
            _ => Err(self
                .fault(format!("{} is no port number", shorten(&text)))
                .hint("a port is a whole number from 1 to 65535")),
        }
    }

    /// An address of a single host. IPv4-mapped IPv6 addresses become IPv4 ones.
    pub(super) fn address(&self) -> Result<IpAddr, Fault> {
        let text = self.text()?;
        let Ok(address) = text.parse::<IpAddr>() else {
            return Err(self.fault(format!("{} is no IP address", shorten(text))));
        };
        let address = address.to_canonical();
        if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
            return Err(self.fault(format!("{address} is no address that others can reach")));
        }
        Ok(address)
    }
}

/// Text in quotes, cut where it is long: what others wrote must not fill the log.
pub(super) fn shorten(text: &str) -> String {
    let mut cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    format!("{cut:?}")
}
