//! One path segment: judged byte by byte, and written in canonical form.

use super::{Kind, PathError};

/// What was found in a segment.
pub(super) struct Scanned {
    pub(super) kind: Kind,
    /// The bytes of the segment are in canonical form (its kind apart).
    pub(super) canonical: bool,
}

/// Judges one segment (without its slashes).
pub(super) fn segment(segment: &[u8]) -> Result<Scanned, PathError> {
    let mut canonical = true;
    let mut length = 0_usize;
    let mut dots = 0_usize;
    let mut rest = segment;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let decoded = if byte == b'%' {
            let (value, upper) = escape(rest)?;
            rest = rest.get(2..).unwrap_or_default();
            if value >= 0x80 {
                rest = continuation(value, rest, &mut canonical)?;
            }
            canonical &= upper && !is_unreserved(value);
            judge_escaped(value)?;
            value
        } else if is_path_byte(byte) {
            byte
        } else {
            return Err(PathError::Byte);
        };
        if decoded == b';' && length == dots && length <= 2 {
            return Err(PathError::Parameter);
        }
        dots += usize::from(decoded == b'.');
        length += 1;
    }
    let kind = match (length, dots) {
        (0, _) => Kind::Empty,
        (1, 1) => Kind::Dot,
        (2, 2) => Kind::DotDot,
        _ => Kind::Name,
    };
    Ok(Scanned { kind, canonical })
}

/// Appends the canonical bytes of a segment that [`segment`] has passed.
pub(super) fn write_segment(segment: &[u8], out: &mut Vec<u8>) {
    let mut rest = segment;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match escape(rest) {
            Ok((value, _)) if byte == b'%' => {
                rest = rest.get(2..).unwrap_or_default();
                if is_unreserved(value) {
                    out.push(value);
                } else {
                    out.extend_from_slice(&[b'%', upper_hex(value >> 4), upper_hex(value & 15)]);
                }
            }
            _ => out.push(byte),
        }
    }
}

/// The byte of the two digits behind a percent sign, and whether they are in upper case.
fn escape(digits: &[u8]) -> Result<(u8, bool), PathError> {
    let (Some(&high), Some(&low)) = (digits.first(), digits.get(1)) else {
        return Err(PathError::Escape);
    };
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    let (Some(h), Some(l)) = (value(high), value(low)) else {
        return Err(PathError::Escape);
    };
    Ok((h << 4 | l, !high.is_ascii_lowercase() && !low.is_ascii_lowercase()))
}

/// Takes the escapes that complete the UTF-8 sequence that `lead` begins.
fn continuation<'s>(lead: u8, mut rest: &'s [u8], canonical: &mut bool) -> Result<&'s [u8], PathError> {
    let length = match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Err(PathError::NotUtf8),
    };
    let mut bytes = [lead, 0, 0, 0];
    let sequence = bytes.get_mut(..length).ok_or(PathError::NotUtf8)?;
    for slot in sequence.iter_mut().skip(1) {
        let digits = rest.strip_prefix(b"%").ok_or(PathError::NotUtf8)?;
        let (value, upper) = escape(digits)?;
        *slot = value;
        *canonical &= upper;
        rest = digits.get(2..).unwrap_or_default();
    }
    if std::str::from_utf8(sequence).is_ok() {
        Ok(rest)
    } else {
        Err(PathError::NotUtf8)
    }
}

fn judge_escaped(value: u8) -> Result<(), PathError> {
    match value {
        b'/' | b'\\' => Err(PathError::EscapedSlash),
        0..=0x1F | 0x7F => Err(PathError::EscapedControl),
        _ => Ok(()),
    }
}

/// RFC 3986 section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 section 3.3 without the percent sign.
fn is_path_byte(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
        )
}

fn upper_hex(digit: u8) -> u8 {
    if digit < 10 { b'0' + digit } else { b'A' + (digit - 10) }
}
