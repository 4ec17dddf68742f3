//! A connection behind a 101: bytes, as far as Weir can tell.
//!
//! Bias: the request that asked stays responsible. It was judged like any other, and its canonical head is kept and judged
//! again whenever the policy changes, for as long as the bytes go on. What either side has sent too early goes first.

use tokio::net::TcpStream;

use super::super::conn::Standing;
use super::super::judge::Server;
use super::super::outcome::Protocol;
use super::super::relay;
use super::request::Asked;
use super::{Session, Then, again};

impl Session<'_> {
    /// Relays bytes between a client and a server that have agreed on another protocol, until both have closed or the
    /// request that asked for it is not allowed any more.
    pub(super) async fn switched(
        &mut self,
        client: &mut TcpStream,
        mut server: TcpStream,
        asked: Asked,
        target: Server,
    ) -> Then {
        let Session { core, conn, .. } = *self;
        core.counters.upgraded.one();
        conn.stands_on(Standing::Upgraded(target.clone()));
        conn.allow_forever();
        // Nothing but the head and what was sent too early is of use any more, and it may be for days.
        let ahead = relay::Ahead {
            client: self.input.split(),
            server: self.response.split(),
        };
        (self.input, self.response) = Default::default();
        self.output = Vec::new();
        self.request.shrink_to_fit();
        self.note();
        let (request, told) = (&self.request, self.ongoing.as_ref());
        if let Some(told) = told {
            told.protocol.set(Protocol::Upgraded);
        }
        let stays = || again::judge(core, conn, &target, asked, request, told).is_ok();
        // An error on one side has ended the other by then: dropping both sockets resets them.
        let _ = relay::run(core, conn, client, &mut server, ahead, None, stays).await;
        Then::Ended
    }
}
