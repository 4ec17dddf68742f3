//! Upgrades (RFC 9110 section 7.8): which protocols a request may ask its server for, and which answer is one.
//!
//! Bias: an upgrade that is in doubt is not asked for. A server may ignore `Upgrade`, so a request goes on without it
//! where it is malformed, comes with a body, or names a protocol that would carry further requests past the judge. What
//! is left is written anew, and a 101 has to name what is left.

use crate::detect::is_token_byte;

use super::{Field, Version};

/// Most protocols that one message may name. Clients name one.
const MAX: usize = 4;

/// Protocols that are more HTTP, or would hide it. Each request is to be judged, so they are not asked for.
const HTTP: [&[u8]; 5] = [b"h2c", b"h2", b"h3", b"http", b"tls"];

/// The protocols that a message names in `Upgrade`, in order: `name` or `name/version`. At least one.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade<'b>(Protocols<'b>);

impl<'b> Upgrade<'b> {
    /// The protocols, as sent.
    pub fn protocols(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.0.iter()
    }

    /// The field lines that are forwarded, one for each protocol.
    pub fn fields(&self) -> impl Iterator<Item = Field<'b>> + use<'b> {
        self.0.iter().map(|protocol| (&b"Upgrade"[..], protocol))
    }

    /// This answers `asked`: it names nothing that was not asked for.
    pub(super) fn answers(&self, asked: &Upgrade<'_>) -> bool {
        self.protocols()
            .all(|protocol| asked.protocols().any(|known| known.eq_ignore_ascii_case(protocol)))
    }
}

/// What the fields of one head say about an upgrade.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Protocols<'b> {
    list: [&'b [u8]; MAX],
    len: usize,
    doubtful: bool,
    /// `Connection` names it.
    named: bool,
}

impl<'b> Protocols<'b> {
    /// One `Upgrade` line. Empty elements count for nothing.
    pub(super) fn add(&mut self, value: &'b [u8]) {
        let elements = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
        for protocol in elements.filter(|protocol| !protocol.is_empty()) {
            match self.list.get_mut(self.len) {
                Some(slot) if is_protocol(protocol) => {
                    *slot = protocol;
                    self.len += 1;
                }
                _ => self.doubtful = true,
            }
        }
    }

    /// `Connection: upgrade`.
    pub(super) fn name(&mut self) {
        self.named = true;
    }

    /// What a request asks for and may ask for. `bare`: it has no body, and does not close its connection.
    pub(super) fn asked(mut self, version: Version, bare: bool) -> Option<Upgrade<'b>> {
        let mut kept = Protocols { len: 0, ..self };
        for protocol in self.iter().filter(|protocol| !carries_http(protocol)) {
            if let Some(slot) = kept.list.get_mut(kept.len) {
                *slot = protocol;
                kept.len += 1;
            }
        }
        self = kept;
        (bare && version == Version::Http11).then(|| self.sure()).flatten()
    }

    /// What the fields name, if they leave no doubt.
    pub(super) fn sure(self) -> Option<Upgrade<'b>> {
        (self.named && !self.doubtful && self.len > 0).then_some(Upgrade(self))
    }

    fn iter(&self) -> impl Iterator<Item = &'b [u8]> + use<'b> {
        self.list.into_iter().take(self.len)
    }
}

/// `protocol-name ["/" protocol-version]`, both tokens.
fn is_protocol(protocol: &[u8]) -> bool {
    let mut parts = protocol.splitn(2, |&byte| byte == b'/');
    parts.all(|part| !part.is_empty() && part.iter().all(|&byte| is_token_byte(byte)))
}

fn carries_http(protocol: &[u8]) -> bool {
    let name = protocol.split(|&byte| byte == b'/').next().unwrap_or_default();
    HTTP.iter().any(|http| name.eq_ignore_ascii_case(http))
}

#[cfg(test)]
mod tests {
    use super::super::{Downstream, Upstream, write_response};
    use super::super::{Limits, ResponseHead, parse_request, parse_response_to, write_request};
    use super::*;

    fn asked(fields: &str) -> String {
        asked_with("GET / HTTP/1.1", fields)
    }

    /// What a server gets of these fields.
    fn asked_with(line: &str, fields: &str) -> String {
        let request = format!("{line}\r\nHost: a\r\n{fields}\r\n");
        let head = parse_request(request.as_bytes(), &Limits::default()).unwrap().unwrap();
        let mut out = Vec::new();
        let upstream = Upstream {
            authority: b"a",
            close: false,
        };
        write_request(&head, upstream, &mut out);
        let written = String::from_utf8(out).unwrap();
        let again = parse_request(written.as_bytes(), &Limits::default()).unwrap().unwrap();
        assert_eq!(again.upgrade.is_some(), head.upgrade.is_some(), "{fields}");
        let lines = written.lines().skip(2).filter(|line| !line.is_empty());
        lines.collect::<Vec<_>>().join("|")
    }

    #[test]
    fn an_upgrade_is_asked_for_in_one_form() {
        const ASKED: &str = "Upgrade: websocket|Connection: upgrade";
        for fields in [
            "Upgrade: websocket\r\nConnection: upgrade\r\n",
            "Connection: keep-alive, Upgrade\r\nupgrade:  websocket \r\n",
            "Connection: keep-alive\r\nConnection: UPGRADE\r\nUPGRADE: ,websocket,\r\n",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
            "Connection: Upgrade\r\nUpgrade: HTTP/2.0, h2c, TLS/1.0\r\nUpgrade: websocket\r\n",
            "Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n",
        ] {
            let asked = asked(fields).replace("Content-Length: 0|", "");
            assert_eq!(asked, ASKED, "{fields}");
        }
        assert_eq!(
            asked("Connection: Upgrade\r\nUpgrade: SPDY/3.1, foo\r\n"),
            "Upgrade: SPDY/3.1, foo|Connection: upgrade"
        );
    }

    #[test]
    fn what_is_in_doubt_is_not_asked_for() {
        for fields in [
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Connection: upgrade\r\nUpgrade:\r\n",
            "Connection: upgrade, close\r\nUpgrade: websocket\r\n",
            "Connection: upgrade\r\nUpgrade: h2c\r\n",
            "Connection: upgrade\r\nUpgrade: H2C\r\n",
            "Connection: upgrade\r\nUpgrade: http/1.1\r\n",
            "Connection: upgrade\r\nUpgrade: TLS/1.2\r\n",
            "Connection: upgrade\r\nUpgrade: web socket\r\n",
            "Connection: upgrade\r\nUpgrade: websocket;q=1\r\n",
            "Connection: upgrade\r\nUpgrade: websocket/\r\n",
            "Connection: upgrade\r\nUpgrade: /13\r\n",
            "Connection: upgrade\r\nUpgrade: a/b/c\r\n",
            "Connection: upgrade\r\nUpgrade: a, b, c, d, e\r\n",
        ] {
            assert_eq!(asked(fields), "", "{fields}");
        }
        let fields = "Connection: upgrade\r\nUpgrade: websocket\r\n";
        assert_eq!(asked_with("GET / HTTP/1.0", fields), "");
        for body in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            assert_eq!(asked_with("POST / HTTP/1.1", &format!("{fields}{body}\r\n")), body);
        }
    }

    fn answer<'b>(asked: &str, head: &'b str) -> Result<Option<ResponseHead<'b>>, super::super::HeadError> {
        let mut protocols = Protocols::default();
        protocols.add(asked.as_bytes());
        protocols.name();
        parse_response_to(head.as_bytes(), false, protocols.sure().as_ref(), &Limits::default())
    }

    #[test]
    fn a_101_that_answers_what_was_asked_is_written_in_one_form() {
        for named in ["websocket", "WebSocket"] {
            let bytes = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: {named}\r\nConnection: keep-alive, Upgrade\r\n\
                 Sec-WebSocket-Accept: x\r\n\r\n"
            );
            let head = answer("foo, websocket", &bytes).unwrap().unwrap();
            assert!(!head.is_interim());
            let mut out = Vec::new();
            let downstream = Downstream {
                version: Version::Http11,
                keep_alive: false,
            };
            write_response(&head, downstream, &mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nUpgrade: {named}\r\n\
                     Connection: upgrade\r\n\r\n"
                )
            );
        }
    }

    #[test]
    fn any_other_101_is_a_502() {
        const GOOD: &str = "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        assert!(answer("websocket", GOOD).is_ok());
        assert_eq!(answer("foo", GOOD).unwrap_err().status, 502);
        for bad in [
            "HTTP/1.1 101 S\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n",
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.0 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket, h2c\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: web socket\r\nConnection: upgrade\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            assert_eq!(answer("websocket", bad).unwrap_err().status, 502, "{bad}");
        }
        let unasked = super::super::parse_response(GOOD.as_bytes(), false, &Limits::default());
        assert_eq!(unasked.unwrap_err().status, 502);
    }

    #[test]
    fn a_rule_sees_the_upgrade_that_the_server_sees() {
        use crate::matcher::RequestView;
        let seen = |fields: &str| {
            let request = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let head = parse_request(request.as_bytes(), &Limits::default()).unwrap().unwrap();
            let fields: Vec<_> = head.fields().map(|(_, value)| value.to_vec()).collect();
            String::from_utf8(fields.join(&b"|"[..])).unwrap()
        };
        assert_eq!(seen("Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"), "websocket");
        assert_eq!(seen("Upgrade: websocket\r\n"), "");
    }
}
