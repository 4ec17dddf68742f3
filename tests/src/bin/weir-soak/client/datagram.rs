//! UDP: a question from a socket of its own, asked again where no answer comes, since datagrams may be lost.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use weir_tests::protocol::Echo;

use super::{Me, Span, Worker, wire};
use crate::event::{Ask, Kind, Outcome, Work};
use crate::rng::Rng;

/// Waiting times for an answer, one after the other.
const WAITS: [u64; 4] = [100, 300, 600, 1000];

pub struct Datagram {
    to: SocketAddr,
    rng: Rng,
}

impl Datagram {
    pub fn new(work: &Work, rng: Rng) -> Datagram {
        Datagram { to: work.to, rng }
    }

    fn ask(&mut self, me: &Me) -> Result<String, Outcome> {
        let any: IpAddr = match self.to {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        // EPERM is how the kernel refuses to send.
        let refused = |error: std::io::Error| match error.kind() {
            ErrorKind::PermissionDenied => Outcome::Refused("EPERM".into()),
            _ => wire::before_an_answer(&error),
        };
        let socket = UdpSocket::bind((any, 0)).map_err(refused)?;
        let connected = self.rng.once_in(2);
        if connected {
            socket.connect(self.to).map_err(refused)?;
        }
        let text = format!("{:016x}", self.rng.next());
        let mut buffer = [0; 2048];
        for wait in WAITS {
            socket
                .set_read_timeout(Some(Duration::from_millis(wait)))
                .map_err(refused)?;
            match connected {
                true => socket.send(text.as_bytes()).map_err(refused)?,
                false => socket.send_to(text.as_bytes(), self.to).map_err(refused)?,
            };
            match socket.recv_from(&mut buffer) {
                Ok((len, from)) => return self.answer(me, &buffer[..len], from, &text),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Err(Outcome::Refused("no answer".into()))
    }

    fn answer(&self, me: &Me, bytes: &[u8], from: SocketAddr, text: &str) -> Result<String, Outcome> {
        let echo: Echo = serde_json::from_slice(bytes).map_err(|error| Outcome::Torn(error.to_string()))?;
        if echo.text != text || from != self.to || !me.is_me(echo.peer) {
            return Err(Outcome::Torn(format!("{text} was answered by {from} with {echo:?}")));
        }
        Ok(echo.name)
    }
}

impl Worker for Datagram {
    fn turn(&mut self, me: &Me) {
        let span = Span::from_now(None);
        let result = self.ask(me);
        let outcome = result.map_or_else(|outcome| outcome, |name| Outcome::Served(Some(name)));
        me.report(Kind::Udp, self.to, Ask::Datagram, span, outcome);
    }

    fn rest(&mut self) {}
}
