//! Paths against a naive model: decode each segment once, then resolve.

use weir_core::path::canonicalise;

/// The canonical form is its own canonical form, has nothing left to resolve, and is what the model says.
///
/// # Panics
/// It is not so.
pub fn paths(path: &[u8]) {
    let Ok(canonical) = canonicalise(path) else { return };
    let text = path.escape_ascii();
    assert_eq!(canonicalise(&canonical).as_deref(), Ok(&*canonical), "twice: {text}");
    assert!(canonical.starts_with(b"/"), "{text}");
    let segments: Vec<&[u8]> = canonical[1..].split(|&byte| byte == b'/').collect();
    for (number, segment) in segments.iter().enumerate() {
        assert!(
            !segment.is_empty() || number + 1 == segments.len(),
            "an empty segment: {text}"
        );
        assert!(!matches!(segment, [b'.'] | [b'.', b'.']), "a dot segment: {text}");
        // What a server sees that cuts parameters, or decodes once more than it should, is no other directory.
        let name = segment.split(|&byte| byte == b';').next().unwrap_or_default();
        assert!(
            segment.is_empty() || !matches!(name, [] | [b'.'] | [b'.', b'.']),
            "behind `;`: {text}"
        );
        let decoded = decode(segment);
        let bare: Vec<u8> = decoded.iter().map(|unit| unit.byte).collect();
        assert!(
            !bare
                .iter()
                .any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control()),
            "{text}"
        );
        assert!(std::str::from_utf8(&bare).is_ok(), "{text}");
        assert!(!matches!(&bare[..], [b'.'] | [b'.', b'.']), "{text}");
    }
    assert_eq!(model(path), canonical.to_vec(), "{text}");
}

/// `canonical` (path and query, or `*`) is what becomes of `wire`, the same as another server has read it.
pub(crate) fn is_canonical_of(canonical: &str, wire: &str) -> bool {
    if canonical == "*" {
        // `OPTIONS *`, or the absolute form without a path.
        return wire == "*" || wire == "/";
    }
    let (path, query) = match wire.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (wire, None),
    };
    let (own, own_query) = match canonical.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (canonical, None),
    };
    let path = if path.is_empty() { "/" } else { path };
    query == own_query && canonicalise(path.as_bytes()).is_ok_and(|path| *path == *own.as_bytes())
}

/// One byte of a segment, and whether it has to stay an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Unit {
    byte: u8,
    escaped: bool,
}

fn decode(segment: &[u8]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        if byte != b'%' {
            units.push(Unit { byte, escaped: false });
            at += 1;
            continue;
        }
        let digits = segment.get(at + 1..at + 3).expect("two digits behind a percent sign");
        let digits = std::str::from_utf8(digits).expect("ASCII");
        let byte = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
        let unreserved = byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        units.push(Unit {
            byte,
            escaped: !unreserved,
        });
        at += 3;
    }
    units
}

fn model(path: &[u8]) -> Vec<u8> {
    let mut kept: Vec<Vec<Unit>> = Vec::new();
    let mut directory = true;
    for segment in path[1..].split(|&byte| byte == b'/') {
        let units = decode(segment);
        let bytes: Vec<u8> = units.iter().map(|unit| unit.byte).collect();
        directory = true;
        match &bytes[..] {
            [] | [b'.'] => {}
            [b'.', b'.'] => {
                kept.pop().expect("nothing climbs above the root");
            }
            _ => {
                directory = false;
                kept.push(units);
            }
        }
    }
    let mut out = Vec::new();
    for segment in kept {
        out.push(b'/');
        for unit in segment {
            match unit.escaped {
                true => out.extend_from_slice(format!("%{:02X}", unit.byte).as_bytes()),
                false => out.push(unit.byte),
            }
        }
    }
    if directory {
        out.push(b'/');
    }
    out
}
