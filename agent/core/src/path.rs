//! One canonical spelling of a request path (RFC 3986 section 6.2.2, and stricter).
//!
//! Bias: safety over compatibility. What a back-end could read in two ways is refused, because policy must see the
//! bytes that the back-end sees: the canonical form is what is matched *and* what is forwarded. The path is decoded
//! once, never twice. No state; a path that is canonical already is borrowed, not copied.
//!
//! | In the path | What happens |
//! |---|---|
//! | unreserved bytes, sub-delims, `:`, `@` | kept |
//! | `%41`, `%7E`, `%2e` and every other escape of an unreserved byte | decoded, once |
//! | `%3a`, `%2c`, `%20`, `%25` and every other escape of visible ASCII or space | kept, hexadecimal in upper case |
//! | `%252e` | kept: it is an escaped percent sign and two characters, not a dot |
//! | `%C3%A9` (escapes of well-formed UTF-8) | kept, hexadecimal in upper case |
//! | `%E9`, `%C0%AF` (escapes of what is not UTF-8; overlong forms) | refused |
//! | `%2F`, `%5C`, `%00` | refused |
//! | `%0A`, `%7F` and every other escape of a control character | refused |
//! | `%zz`, `%4`, a single `%` | refused |
//! | `//` | one `/` |
//! | `/./`, `/%2e/`, a final `/.` | removed; a final one leaves `/` |
//! | `/a/../b`, also with `%2e` | `/b`; climbing above the root is refused |
//! | `;x=1` behind a name | kept |
//! | `/;x`, `/.;x`, `/..;x`, also with `%3B` | refused: some servers cut the parameter and see `//`, `/.`, `/..` |
//! | `\`, `#`, space, control characters, `"` `<` `>` `[` `]` `^` `` ` `` `{` `|` `}` | refused |
//! | a byte above 0x7F | refused |
//! | no leading `/`, nothing at all | refused |

mod scan;

use std::borrow::Cow;

/// Why a path has no canonical form. Always answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathError {
    /// Empty, or the first byte is not `/`.
    NotAbsolute,
    /// A raw byte that RFC 3986 does not allow in a path.
    Byte,
    /// A percent sign without two hexadecimal digits.
    Escape,
    /// An escaped slash or backslash.
    EscapedSlash,
    /// An escaped control character, NUL included.
    EscapedControl,
    /// Escapes that are not well-formed UTF-8.
    NotUtf8,
    /// More `..` than there are segments above.
    AboveRoot,
    /// A parameter on an empty or dot segment.
    Parameter,
}

impl PathError {
    /// A constant, short reason, fit for the answer to the client.
    pub const fn reason(self) -> &'static str {
        match self {
            PathError::NotAbsolute => "path does not start with a slash",
            PathError::Byte => "byte not allowed in a path",
            PathError::Escape => "malformed percent escape in the path",
            PathError::EscapedSlash => "escaped slash or backslash in the path",
            PathError::EscapedControl => "escaped control character in the path",
            PathError::NotUtf8 => "path escapes are not utf-8",
            PathError::AboveRoot => "path climbs above the root",
            PathError::Parameter => "parameter on an empty or dot segment of the path",
        }
    }
}

impl std::fmt::Display for PathError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for PathError {}

/// The canonical form of `path` (without the query), or why there is none.
///
/// Borrowed if `path` is canonical already. Idempotent: the canonical form of a canonical form is itself.
///
/// # Errors
/// [`PathError`] for each form that the module's table calls refused.
pub fn canonicalise(path: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    let Some((b'/', relative)) = path.split_first() else {
        return Err(PathError::NotAbsolute);
    };
    let mut canonical = true;
    let mut depth = 0_usize;
    let mut segments = relative.split(|&byte| byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        let scanned = scan::segment(segment)?;
        canonical &= scanned.canonical;
        match scanned.kind {
            Kind::Name => depth += 1,
            Kind::Empty => canonical &= last,
            Kind::Dot => canonical = false,
            Kind::DotDot => {
                canonical = false;
                depth = depth.checked_sub(1).ok_or(PathError::AboveRoot)?;
            }
        }
    }
    if canonical {
        Ok(Cow::Borrowed(path))
    } else {
        rewrite(relative).map(Cow::Owned)
    }
}

/// What a segment is once decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Dot,
    DotDot,
    Name,
}

/// Writes the canonical form of a path that was scanned without an error.
fn rewrite(relative: &[u8]) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(relative.len() + 1);
    let mut directory = true;
    for segment in relative.split(|&byte| byte == b'/') {
        let kind = scan::segment(segment)?.kind;
        directory = kind != Kind::Name;
        match kind {
            Kind::Name => {
                out.push(b'/');
                scan::write_segment(segment, &mut out);
            }
            Kind::Empty | Kind::Dot => {}
            Kind::DotDot => out.truncate(out.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
        }
    }
    if directory {
        out.push(b'/');
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
