//! Lines of the agent's log to what was let pass. Both formats carry the same fields (see `crate::refusals`).

use std::collections::BTreeMap;

use serde_json::Value;

/// Message of a line about something that was let pass.
const AUDITED: &str = "would be refused";
/// Where such lines come from, as the text format has it in front of the message.
const TARGET: &str = "weir_agent::refusals: ";
/// Message of a line about what was only counted.
const UNTOLD: &str = "of more kinds than are told apart";

/// What a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Something else.
    Other,
    /// Something was let pass.
    Audited(Entry),
    /// More was refused or let pass than the log tells apart.
    Untold,
    /// It is about something that was let pass, and can't be read.
    Unreadable(String),
}

/// What was let pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    /// Client address.
    pub source: String,
    /// `namespace/account`, empty for somebody unknown.
    pub source_identity: String,
    /// Server address.
    pub destination: String,
    /// `namespace/account`.
    pub destination_identity: String,
    /// Pod port.
    pub port: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Method of a request, empty for bytes.
    pub method: String,
    /// Canonical path of a request.
    pub path: String,
    /// Why it lacks a rule, as a word; empty where the kernel told of it.
    pub reason: String,
}

pub(super) fn read(line: &str) -> Line {
    let line = line.trim();
    if line.contains(UNTOLD) && !line.contains("missing") {
        return Line::Untold;
    }
    if !line.contains(AUDITED) {
        return Line::Other;
    }
    // Logs of containers have words of their own in front. What comes first tells the format: what a peer has chosen
    // stands behind both.
    let text = line.find(TARGET).map(|at| (at, &line[at + TARGET.len()..]));
    let json = line.find('{').filter(|at| text.is_none_or(|(text, _)| *at < text));
    let fields = match (json, text) {
        (Some(at), _) => match serde_json::from_str::<Value>(&line[at..]) {
            Ok(Value::Object(map)) if map.get("message").and_then(Value::as_str) == Some(AUDITED) => {
                let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                Some(map.iter().map(|(name, value)| (name.clone(), text(value))).collect())
            }
            Ok(_) => return Line::Other,
            Err(_) => None,
        },
        (None, Some((_, message))) => match message.strip_prefix(AUDITED) {
            Some(fields) => text_fields(fields.trim_start()),
            None => return Line::Other,
        },
        (None, None) => return Line::Other,
    };
    match fields.and_then(|fields| entry(&fields)) {
        Some(entry) => Line::Audited(entry),
        None => Line::Unreadable(line.chars().take(200).collect()),
    }
}

fn entry(fields: &BTreeMap<String, String>) -> Option<Entry> {
    let get = |name: &str| fields.get(name).cloned();
    if fields.get("audit").map(String::as_str) != Some("true") {
        return None;
    }
    Some(Entry {
        source: get("source")?,
        source_identity: get("source_identity")?,
        destination: get("destination")?,
        destination_identity: get("destination_identity")?,
        port: get("port")?.parse().ok()?,
        protocol: get("protocol")?,
        method: get("method")?,
        path: get("path")?,
        reason: get("reason")?,
    })
}

/// `name=value` and `name="value"`, as Rust writes a text with `{:?}`.
fn text_fields(mut rest: &str) -> Option<BTreeMap<String, String>> {
    let mut fields = BTreeMap::new();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, behind) = match behind.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => match behind.split_once(' ') {
                Some((value, behind)) => (value.to_owned(), behind),
                None => (behind.to_owned(), ""),
            },
        };
        fields.insert(name.to_owned(), value);
        rest = behind.trim_start();
    }
    Some(fields)
}

/// The text up to its closing quote, and what follows.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                't' => value.push('\t'),
                '0' => value.push('\0'),
                'u' => {
                    let hex: String = chars.by_ref().map(|(_, char)| char).take_while(|c| *c != '}').collect();
                    let code = u32::from_str_radix(hex.trim_start_matches('{'), 16).ok()?;
                    value.push(char::from_u32(code)?);
                }
                other => value.push(other),
            },
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "2026-11-21T05:00:00.1Z  WARN weir_agent::refusals: would be refused audit=true by=\"engine\" \
        source=\"10.0.0.1\" source_pod=\"shop/buyer\" source_identity=\"shop/buyer\" destination=\"10.0.0.2\" \
        destination_pod=\"shop/store\" destination_identity=\"shop/store\" port=80 protocol=\"tcp\" method=\"GET\" \
        path=\"/a\\\"b\\\\c=d\" missing=\"no rule\" reason=\"no_target\" count=1";

    #[test]
    fn both_formats_say_the_same() {
        let Line::Audited(text) = read(TEXT) else {
            panic!("{:?}", read(TEXT))
        };
        assert_eq!((text.path.as_str(), text.port), ("/a\"b\\c=d", 80));
        let json = serde_json::json!({
            "timestamp": "2026-11-21T05:00:00.1Z", "level": "WARN", "message": "would be refused", "audit": true,
            "by": "engine", "source": "10.0.0.1", "source_identity": "shop/buyer", "destination": "10.0.0.2",
            "destination_identity": "shop/store", "port": 80, "protocol": "tcp", "method": "GET",
            "path": "/a\"b\\c=d", "missing": "no rule", "reason": "no_target", "count": 1,
        });
        assert_eq!(read(&json.to_string()), Line::Audited(text.clone()));
        assert_eq!(read(&format!("pod/weir-x {json}")), Line::Audited(text));
    }

    #[test]
    fn what_a_peer_sends_is_no_line_of_its_own() {
        let path = TEXT.replace("would be refused audit=true", "refused");
        let path = path.replace("/a", "/x: would be refused audit=true by=");
        assert_eq!(read(&path), Line::Other);
        let json = serde_json::json!({"message": "refused", "path": TEXT});
        assert_eq!(read(&json.to_string()), Line::Other);
        let json = serde_json::json!({"message": "refused", "path": "/would be refused", "audit": true});
        assert_eq!(read(&json.to_string()), Line::Other);
    }

    #[test]
    fn half_a_line_is_told_and_makes_no_rule() {
        let half = &TEXT[..TEXT.len() - 60];
        assert!(matches!(read(half), Line::Unreadable(_)));
        assert_eq!(read("agent started"), Line::Other);
        assert_eq!(
            read("WARN weir_agent::refusals: refused, of more kinds than are told apart count=3"),
            Line::Untold
        );
    }
}
