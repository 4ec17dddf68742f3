//! The trace that a request belongs to: `traceparent` of W3C Trace Context.
//!
//! Bias: read for logs, never changed and never made up. What is not exactly as the recommendation says (section 3.2)
//! counts as absent there; it is forwarded like any other field.

use std::fmt;

use crate::matcher::RequestView;

/// A valid `traceparent`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    trace: [u8; 32],
    parent: [u8; 16],
    /// `trace-flags`; bit 0 says that the caller may have recorded it.
    pub flags: u8,
}

/// Length of a `traceparent` of version 00, in bytes.
const LENGTH: usize = 55;

impl TraceParent {
    /// That of a request; `None` without one, with more than one and with one that is not valid.
    pub fn of(request: &impl RequestView) -> Option<TraceParent> {
        let mut found = request
            .fields()
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"traceparent"));
        match (found.next(), found.next()) {
            (Some((_, value)), None) => TraceParent::parse(value),
            _ => None,
        }
    }

    /// Reads a value: `00-` 32 hex digits `-` 16 hex digits `-` 2 hex digits, in lower case and neither id all zeros.
    /// Higher versions may have more behind another `-`.
    pub fn parse(value: &[u8]) -> Option<TraceParent> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let parts: Vec<&[u8]> = known.split(|&byte| byte == b'-').collect();
        let [version, trace, parent, flags] = parts.as_slice() else {
            return None;
        };
        let version = hex(version)?;
        let whole = match version {
            0xff => false,
            0 => more.is_empty(),
            _ => more.first().is_none_or(|&byte| byte == b'-'),
        };
        let trace: [u8; 32] = (*trace).try_into().ok()?;
        let parent: [u8; 16] = (*parent).try_into().ok()?;
        let id = |id: &[u8]| id.iter().copied().all(is_hex) && id.iter().any(|&digit| digit != b'0');
        (whole && id(&trace) && id(&parent)).then_some(TraceParent {
            trace,
            parent,
            flags: hex(flags)?,
        })
    }

    /// `trace-id`: 32 hex digits.
    pub fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.trace).unwrap_or_default()
    }

    /// `parent-id`: the caller's span, 16 hex digits.
    pub fn parent_id(&self) -> &str {
        std::str::from_utf8(&self.parent).unwrap_or_default()
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:02x}", self.trace_id(), self.parent_id(), self.flags)
    }
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Two hex digits in lower case.
fn hex(digits: &[u8]) -> Option<u8> {
    match digits {
        [high, low] if is_hex(*high) && is_hex(*low) => {
            let digit = |byte: u8| {
                if byte.is_ascii_digit() {
                    byte - b'0'
                } else {
                    byte - b'a' + 10
                }
            };
            Some(digit(*high) << 4 | digit(*low))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Probe;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_recommendation_is_read() {
        let trace = TraceParent::parse(GOOD.as_bytes()).expect("valid");
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(trace.parent_id(), "b7ad6b7169203331");
        assert_eq!(trace.flags, 1);
        // A version to come, with and without more.
        for later in [
            GOOD.replacen("00-", "cc-", 1),
            GOOD.replacen("00-", "01-", 1) + "-what-the-future",
        ] {
            assert!(TraceParent::parse(later.as_bytes()).is_some(), "{later}");
        }
    }

    #[test]
    fn what_is_not_exactly_so_is_no_trace() {
        let bad = [
            String::new(),
            GOOD.to_uppercase(),
            GOOD.replacen("00-", "ff-", 1),
            GOOD.replacen("00-", "0x-", 1),
            GOOD[..54].to_owned(),
            GOOD.to_owned() + "-",
            GOOD.to_owned() + "0",
            GOOD.replacen("00-", "01-", 1) + "x",
            GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GOOD.replace("b7ad6b7169203331", &"0".repeat(16)),
            GOOD.replace("b7ad6b7169203331", "b7ad6b716920333g"),
            GOOD.replacen("-b7", "--7", 1),
            GOOD.replace("-01", "-0g"),
            format!(" {}", &GOOD[..54]),
            GOOD.replace('-', "_"),
        ];
        for value in bad {
            assert_eq!(TraceParent::parse(value.as_bytes()), None, "{value:?}");
        }
    }

    #[test]
    fn two_of_them_are_none() {
        let field = || ("Traceparent".to_owned(), GOOD.to_owned());
        let mut probe = Probe {
            headers: vec![field()],
            ..Probe::default()
        };
        assert!(TraceParent::of(&probe).is_some());
        probe.headers.push(field());
        assert_eq!(TraceParent::of(&probe), None);
    }
}
