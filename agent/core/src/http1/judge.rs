//! What the header fields of a head say about framing and the connection: the rules that requests and responses share.

use httparse::Header;

use super::fields::{Nominated, reads_as};
use super::upgrade::Protocols;
use super::{HeadError, Version};
use crate::detect::is_token_byte;

/// The facts that were found, none of them in doubt.
#[derive(Default)]
pub(super) struct Facts<'b> {
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) host: Option<&'b [u8]>,
    pub(super) expect_continue: bool,
    pub(super) upgrade: Protocols<'b>,
    pub(super) nominated: Nominated<'b>,
    close: bool,
    keep_alive: bool,
}

impl Facts<'_> {
    /// The peer says that it closes.
    pub(super) fn closes(&self) -> bool {
        self.close
    }

    /// The peer keeps its connection (RFC 9112 section 9.3).
    pub(super) fn keeps_alive(&self, version: Version) -> bool {
        !self.close && (version == Version::Http11 || self.keep_alive)
    }
}

/// Judges all fields of one head.
pub(super) fn judge<'b>(headers: &[Header<'b>], version: Version) -> Result<Facts<'b>, HeadError> {
    let mut facts = Facts::default();
    for header in headers {
        field(&mut facts, header.name.as_bytes(), header.value.trim_ascii())?;
    }
    if facts.chunked && facts.length.is_some() {
        return Err(HeadError::bad("both Content-Length and Transfer-Encoding"));
    }
    if facts.chunked && version == Version::Http10 {
        return Err(HeadError::bad("Transfer-Encoding in HTTP/1.0"));
    }
    Ok(facts)
}

fn field<'b>(facts: &mut Facts<'b>, name: &'b [u8], value: &'b [u8]) -> Result<(), HeadError> {
    let is = |field: &[u8]| name.eq_ignore_ascii_case(field);
    match name.len() {
        4 if is(b"host") => once(&mut facts.host, value, "more than one Host")?,
        6 if is(b"expect") => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(HeadError::with(417, "unknown expectation"));
            }
            facts.expect_continue = true;
        }
        7 if is(b"upgrade") => facts.upgrade.add(value),
        10 if is(b"connection") => options(facts, value)?,
        14 if is(b"content-length") => {
            once(
                &mut facts.length,
                content_length(value)?,
                "more than one Content-Length",
            )?;
        }
        17 if is(b"transfer-encoding") => {
            if facts.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HeadError::bad("a transfer coding other than one chunked"));
            }
            facts.chunked = true;
        }
        14 | 17 if reads_as(name, b"content-length") || reads_as(name, b"transfer-encoding") => {
            return Err(HeadError::bad("a framing field spelt with an underscore"));
        }
        _ => {}
    }
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T, twice: &'static str) -> Result<(), HeadError> {
    if slot.replace(value).is_some() {
        Err(HeadError::bad(twice))
    } else {
        Ok(())
    }
}

/// `1*DIGIT` (RFC 9110 section 8.6), below 2^63: no sign, no list, no prefix.
fn content_length(value: &[u8]) -> Result<u64, HeadError> {
    const BAD: HeadError = HeadError::bad("malformed Content-Length");
    if value.is_empty() {
        return Err(BAD);
    }
    let mut length = 0_u64;
    for &byte in value {
        if !byte.is_ascii_digit() {
            return Err(BAD);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .ok_or(BAD)?;
    }
    if length < 1 << 63 { Ok(length) } else { Err(BAD) }
}

/// The list of one `Connection` line (RFC 9110 section 7.6.1). Empty elements count for nothing.
fn options<'b>(facts: &mut Facts<'b>, value: &'b [u8]) -> Result<(), HeadError> {
    for option in value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
    {
        if !option.iter().all(|&byte| is_token_byte(byte)) {
            return Err(HeadError::bad("malformed Connection"));
        }
        if option.eq_ignore_ascii_case(b"close") {
            facts.close = true;
        } else if option.eq_ignore_ascii_case(b"keep-alive") {
            facts.keep_alive = true;
        } else if option.eq_ignore_ascii_case(b"upgrade") {
            facts.upgrade.name();
        } else {
            facts.nominated.add(option)?;
        }
    }
    Ok(())
}
