//! Byte strings in YAML.

use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error};

/// Bytes, written as a string whose characters are all below U+0100, or as a list of such strings and of
/// `[string, times]` pairs for long ones.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(Vec<u8>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Bytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Written {
    Once(String),
    Parts(Vec<Part>),
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Part {
    Once(String),
    Times(String, usize),
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        let parts = match Written::deserialize(deserializer)? {
            Written::Once(text) => vec![Part::Once(text)],
            Written::Parts(parts) => parts,
        };
        let mut bytes = Vec::new();
        for part in parts {
            let (text, times) = match part {
                Part::Once(text) => (text, 1),
                Part::Times(text, times) => (text, times),
            };
            let part: Result<Vec<u8>, _> = text.chars().map(u8::try_from).collect();
            let part = part.map_err(|_| D::Error::custom(format!("{text:?}: a character above U+00FF is no byte")))?;
            bytes.extend(part.repeat(times));
        }
        Ok(Bytes(bytes))
    }
}
