//! Which protocol the first bytes of a connection belong to.
//!
//! Bias: a quick, bounded answer over a perfect one. At most [`MAX_PREFIX`] bytes are asked for; how long to wait for
//! them is the engine's affair. `Http1` is a guess that lets the strict parser answer: it proves nothing about the
//! rest. No state.
//!
//! | First bytes | Answer |
//! |---|---|
//! | none | `NeedMore` |
//! | `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n` (RFC 9113 section 3.4) | `Http2Preface`; a beginning of it: `NeedMore` |
//! | 0x16, 0x03, a minor version up to 4, two length bytes, 0x01 (a ClientHello, RFC 8446 section 4) | `Tls` |
//! | a method token of up to [`METHOD_MAX`] bytes, a space, `/` or `*` | `Http1` |
//! | the same, then `http://` or `https://` in any case | `Http1` |
//! | `CONNECT` and a space | `Http1` (which refuses it) |
//! | a beginning of one of these | `NeedMore` |
//! | anything else, a line end in front included | `Other` |

/// Longest method that Weir knows as one, in bytes. The longest registered one has 17.
pub const METHOD_MAX: usize = 24;

/// No more than this many bytes are ever asked for: a method, a space, `https://`.
pub const MAX_PREFIX: usize = METHOD_MAX + 1 + 8;

const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Detected {
    /// Too few bytes to tell; never with [`MAX_PREFIX`] bytes or more.
    NeedMore,
    /// The beginning of an HTTP/1 request line.
    Http1,
    /// The preface of HTTP/2 with prior knowledge.
    Http2Preface,
    /// A TLS ClientHello record.
    Tls {
        /// The record's legacy version, 0x0301 for most clients.
        version: u16,
    },
    /// None of these.
    Other,
}

/// Judges the first bytes of a connection, from its very first one.
pub fn detect(prefix: &[u8]) -> Detected {
    match prefix.first() {
        None => Detected::NeedMore,
        Some(0x16) => tls(prefix),
        Some(_) if prefix.starts_with(H2_PREFACE) => Detected::Http2Preface,
        Some(_) if H2_PREFACE.starts_with(prefix) => Detected::NeedMore,
        Some(_) => http1(prefix),
    }
}

fn tls(prefix: &[u8]) -> Detected {
    match *prefix {
        [_] | [_, 3] | [_, 3, 0..=4] | [_, 3, 0..=4, _] | [_, 3, 0..=4, _, _] => Detected::NeedMore,
        [_, 3, minor @ 0..=4, _, _, 1, ..] => Detected::Tls {
            version: 0x0300 | u16::from(minor),
        },
        _ => Detected::Other,
    }
}

fn http1(prefix: &[u8]) -> Detected {
    let length = prefix.iter().take_while(|&&byte| is_token_byte(byte)).count();
    let (method, behind) = prefix.split_at_checked(length).unwrap_or((prefix, &[]));
    if length == 0 || length > METHOD_MAX {
        return Detected::Other;
    }
    match behind {
        [] => Detected::NeedMore,
        [b' '] if method != b"CONNECT" => Detected::NeedMore,
        [b' ', ..] if method == b"CONNECT" => Detected::Http1,
        [b' ', b'/' | b'*', ..] => Detected::Http1,
        [b' ', target @ ..] => absolute(target),
        _ => Detected::Other,
    }
}

/// A target that is neither in origin nor in asterisk form.
fn absolute(target: &[u8]) -> Detected {
    let mut answer = Detected::Other;
    for scheme in [&b"http://"[..], b"https://"] {
        let common = scheme.len().min(target.len());
        if scheme
            .iter()
            .zip(target)
            .all(|(want, have)| *want == have.to_ascii_lowercase())
        {
            if common == scheme.len() {
                return Detected::Http1;
            }
            answer = Detected::NeedMore;
        }
    }
    answer
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_row_of_the_table() {
        for (prefix, expected) in [
            (&b""[..], Detected::NeedMore),
            (b"G", Detected::NeedMore),
            (b"GET", Detected::NeedMore),
            (b"GET ", Detected::NeedMore),
            (b"GET /", Detected::Http1),
            (b"get /", Detected::Http1),
            (b"OPTIONS *", Detected::Http1),
            (b"GET HTTP:/", Detected::NeedMore),
            (b"GET http://", Detected::Http1),
            (b"GET Https://a", Detected::Http1),
            (b"CONNECT ", Detected::Http1),
            (b"CONNECT", Detected::NeedMore),
            (b"EHLO example.org\r\n", Detected::Other),
            (b"get key\r\n", Detected::Other),
            (b"GET\r\n", Detected::Other),
            (b"\r\nGET /", Detected::Other),
            (b" GET /", Detected::Other),
            (b"P", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Http2Preface),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Detected::Http1),
            (b"\x16\x03\x01\x02\x00", Detected::NeedMore),
            (b"\x16\x03\x01\x02\x00\x01", Detected::Tls { version: 0x0301 }),
            (b"\x16\x03\x01\x02\x00\x02", Detected::Other),
            (b"\x16\x03\x05", Detected::Other),
            (b"\x16\x02", Detected::Other),
            (b"\x00", Detected::Other),
            (b"AAAAAAAAAAAAAAAAAAAAAAAA", Detected::NeedMore),
            (b"AAAAAAAAAAAAAAAAAAAAAAAAA", Detected::Other),
        ] {
            assert_eq!(detect(prefix), expected, "{}", prefix.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn never_asks_for_more_than_the_bound(
            head in prop::sample::select(vec!["", "GET ", "GET https:/", "PRI * HTTP/2.0\r\n\r\nSM", "\u{16}\u{3}"]),
            tail in prop::collection::vec(any::<u8>(), MAX_PREFIX),
        ) {
            let mut prefix = head.as_bytes().to_vec();
            prefix.extend(tail);
            prop_assert_ne!(detect(&prefix), Detected::NeedMore);
        }

        #[test]
        fn more_bytes_never_change_an_answer(prefix in "(GET|PRI \\*|CONNECT|X)[ ]?(/|https?:|HTTP/2.0\r\n)?.{0,20}") {
            let bytes = prefix.as_bytes();
            let answers: Vec<_> = (0..=bytes.len()).map(|end| detect(&bytes[..end])).collect();
            let settled = answers.iter().position(|answer| *answer != Detected::NeedMore);
            if let Some(first) = settled {
                prop_assert!(answers[first..].iter().all(|answer| *answer == answers[first]));
            }
        }
    }
}
