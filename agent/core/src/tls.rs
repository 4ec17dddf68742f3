//! The server name that a TLS client asks for (SNI, RFC 6066 section 3), read from its ClientHello in passing.
//!
//! Bias: it is for logs and numbers and never decides anything, so what is malformed, too long or encrypted (ECH) has
//! simply no name. Bounded: at most [`MAX_HELLO`] bytes are looked at, and only their headers before all have come. No
//! state: the caller keeps the bytes.
//!
//! A ClientHello is one handshake message (RFC 8446 section 4.1.2) in one or more records (section 5.1). Both may be cut
//! into segments at any byte.

/// No more bytes than this are ever asked for. The largest ClientHellos, with post-quantum key shares and tickets, have
/// about 4 KiB.
pub const MAX_HELLO: usize = 8 * 1024;

/// Type of a handshake record.
const HANDSHAKE: u8 = 22;
/// Type of a ClientHello.
const CLIENT_HELLO: u8 = 1;
/// Number of the `server_name` extension, and of a DNS name in it.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// Not all of the ClientHello has come; never with [`MAX_HELLO`] bytes or more.
    NeedMore,
    /// It asks for this server: a DNS name in lower case, of letters, digits, `-`, `_` and dots, 253 bytes at most.
    Name(String),
    /// It is a ClientHello without such a name.
    Nameless,
    /// It is no ClientHello, or none that can be read.
    Other,
}

/// Reads the first bytes that a client has sent, from its very first one.
pub fn server_name(seen: &[u8]) -> Hello {
    match message(seen) {
        Some(Ok(body)) => match name(&body) {
            Some(Some(name)) => Hello::Name(name),
            Some(None) => Hello::Nameless,
            None => Hello::Other,
        },
        Some(Err(())) => Hello::Other,
        None if seen.len() >= MAX_HELLO => Hello::Other,
        None => Hello::NeedMore,
    }
}

/// The body of the ClientHello; `None`: more bytes are needed. Put together only once all of it is there.
fn message(seen: &[u8]) -> Option<Result<Vec<u8>, ()>> {
    let Some(length) = head(seen) else {
        return Fragments(seen).any(|fragment| fragment.is_err()).then_some(Err(()));
    };
    let Ok(length) = length else { return Some(Err(())) };
    let mut have = 0;
    for fragment in Fragments(seen) {
        let Ok(fragment) = fragment else { return Some(Err(())) };
        have += fragment.len();
        if have >= length + 4 {
            let bytes = Fragments(seen).flatten().flatten().copied();
            return Some(Ok(bytes.skip(4).take(length).collect()));
        }
    }
    None
}

/// The length that the handshake message's head says.
fn head(seen: &[u8]) -> Option<Result<usize, ()>> {
    let mut bytes = Fragments(seen).flatten().flatten().copied();
    if bytes.next()? != CLIENT_HELLO {
        return Some(Err(()));
    }
    let [high, middle, low] = [bytes.next()?, bytes.next()?, bytes.next()?];
    let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
    Some(if length <= MAX_HELLO { Ok(length) } else { Err(()) })
}

/// What has come of the payloads of handshake records.
struct Fragments<'b>(&'b [u8]);

impl<'b> Iterator for Fragments<'b> {
    type Item = Result<&'b [u8], ()>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = match *self.0 {
            [kind, ..] if kind != HANDSHAKE => return self.end(),
            [_, major, ..] if major != 3 => return self.end(),
            [_, _, _, high, low, ref rest @ ..] => (usize::from(u16::from_be_bytes([high, low])), rest),
            _ => return None,
        };
        if length == 0 {
            // RFC 8446 section 5.1: no empty fragments of handshake messages.
            return self.end();
        }
        let (fragment, rest) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        self.0 = rest;
        Some(Ok(fragment))
    }
}

impl<'b> Fragments<'b> {
    fn end(&mut self) -> Option<Result<&'b [u8], ()>> {
        self.0 = &[];
        Some(Err(()))
    }
}

/// The name in the body of a ClientHello; `None`: it can't be read.
fn name(body: &[u8]) -> Option<Option<String>> {
    let rest = body.get(2 + 32..)?;
    let (_session, rest) = vector8(rest)?;
    let (_suites, rest) = vector16(rest)?;
    let (_compression, rest) = vector8(rest)?;
    if rest.is_empty() {
        return Some(None);
    }
    let (mut extensions, _) = vector16(rest)?;
    while !extensions.is_empty() {
        let (kind, rest) = number16(extensions)?;
        let (data, rest) = vector16(rest)?;
        if kind == SERVER_NAME {
            return host_name(data);
        }
        extensions = rest;
    }
    Some(None)
}

/// The first DNS name of a `server_name` extension.
fn host_name(data: &[u8]) -> Option<Option<String>> {
    let (mut names, _) = vector16(data)?;
    while let Some((kind, rest)) = names.split_first() {
        let (name, rest) = vector16(rest)?;
        if *kind == HOST_NAME {
            return checked(name).map(Some);
        }
        names = rest;
    }
    Some(None)
}

fn checked(name: &[u8]) -> Option<String> {
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = (1..=253).contains(&name.len()) && name.iter().all(good);
    fits.then(|| String::from_utf8_lossy(name).to_ascii_lowercase())
}

fn number16(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*number), rest))
}

fn vector8(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn vector16(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number16(bytes)?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests;
