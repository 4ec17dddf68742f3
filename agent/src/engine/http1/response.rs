//! The server's answer on its way to the client.

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use weir_core::http1::{self, Body, Downstream};

use super::super::conn::{Conn, Late};
use super::super::core::Core;
use super::super::outcome::{Meter, Ongoing};
use super::again;
use super::body::{self, Cut};
use super::exchange::Progress;
use super::request::Asked;

/// Room for the bytes of a head, at first.
const HEAD: usize = 4096;

/// A response that has reached the client whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// The client's connection stays open.
    pub keep_client: bool,
    /// The server's does.
    pub keep_server: bool,
    /// It was a 101: neither connection speaks HTTP any more.
    pub switched: bool,
}

/// Why no response has reached the client, or not all of one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unanswered {
    /// The server's connection ended without a byte.
    Silence,
    /// The server broke the protocol; nothing final was sent to the client.
    Bad(&'static str),
    /// The server did not answer in time; nothing final was sent to the client.
    Late,
    /// The client has gone, or has part of a response.
    Broken,
}

/// One response, interim ones in front of it included.
pub(super) struct Response<'a> {
    pub core: &'a Core,
    pub conn: &'a Conn,
    pub asked: Asked,
    /// Where the status is noted.
    pub told: Option<&'a Ongoing<'a>>,
    /// The request as the server gets it.
    pub request: &'a [u8],
    pub progress: &'a Progress,
    pub input: &'a mut BytesMut,
    pub output: &'a mut Vec<u8>,
}

impl Response<'_> {
    /// Passes the response on, from its first byte to its last.
    pub async fn relay(mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<Answered, Unanswered> {
        let (answered, mut body) = self.head(from, to).await?;
        self.progress.answered.set(true);
        if body::take(&mut body, self.input, self.output).is_err() {
            // The head has not left yet, so the client can still be told.
            self.progress.answered.set(false);
            return Err(Unanswered::Bad("the response's body is malformed"));
        }
        let Response { core, conn, .. } = self;
        body::send(core, conn, to, self.output)
            .await
            .map_err(|_| Unanswered::Broken)?;
        let from = (from, Meter::from_server(core, conn));
        body::relay(core, conn, &mut body, self.input, from, to)
            .await
            .map_err(|_| Unanswered::Broken)?;
        Ok(answered)
    }

    /// Reads heads up to the final one, which is left in the output.
    async fn head(&mut self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>) -> Result<(Answered, Body), Unanswered> {
        let limits = &self.core.config().limits.http;
        let sent = self
            .asked
            .upgrades
            .then(|| again::reread(self.request, self.asked))
            .flatten();
        let upgrade = sent.as_ref().and_then(|head| head.upgrade.as_ref());
        let mut interim = 0usize;
        loop {
            let head = http1::parse_response_to(self.input, self.asked.head, upgrade, limits);
            let Some(head) = head.map_err(|error| Unanswered::Bad(error.reason))? else {
                self.read(from, interim).await?;
                continue;
            };
            let downstream = Downstream {
                version: self.asked.version,
                keep_alive: self.may_keep(),
            };
            self.output.clear();
            let sent = http1::write_response(&head, downstream, self.output);
            self.count(head.status);
            let head_len = head.head_len;
            if head.upgrade.is_some() && !self.progress.uploaded.get() {
                return Err(Unanswered::Bad("101 before the request was sent"));
            }
            if !head.is_interim() {
                if let Some(told) = self.told {
                    told.answered(head.status);
                }
                let answered = Answered {
                    keep_client: sent.keep_alive,
                    keep_server: head.keep_alive && head.upgrade.is_none(),
                    switched: head.upgrade.is_some(),
                };
                let body = Body::new(head.framing, sent.body, limits);
                self.input.advance(head_len);
                return Ok((answered, body));
            }
            self.progress
                .continued
                .set(self.progress.continued.get() || head.status == 100);
            self.input.advance(head_len);
            interim += 1;
            if interim > http1::MAX_INTERIM {
                return Err(Unanswered::Bad("too many interim responses"));
            }
            if self.asked.version == http1::Version::Http11 {
                let sent = body::send(self.core, self.conn, to, self.output).await;
                sent.map_err(|_| Unanswered::Broken)?;
            }
        }
    }

    async fn read(&mut self, from: &mut ReadHalf<'_>, interim: usize) -> Result<(), Unanswered> {
        self.input.reserve(HEAD);
        let before = self.input.len() + interim;
        match self.conn.in_time(from.read_buf(self.input)).await {
            Ok(Ok(read)) if read > 0 => {
                Meter::from_server(self.core, self.conn).add(read);
                Ok(())
            }
            Ok(_) if before == 0 => Err(Unanswered::Silence),
            Ok(_) => Err(Unanswered::Bad(
                "the server closed in the middle of its response's head",
            )),
            Err(Late) => Err(Unanswered::Late),
        }
    }

    /// Whether the client's connection can stay: not if its body may or may not follow (RFC 9110 section 10.1.1).
    fn may_keep(&self) -> bool {
        let waiting = self.asked.expects && !self.progress.continued.get() && !self.progress.body_begun.get();
        self.asked.keep_alive && !waiting && !self.core.is_stopping()
    }

    fn count(&self, status: u16) {
        let counters = &self.core.counters;
        match status {
            100..200 => counters.responses_1xx.one(),
            200..300 => counters.responses_2xx.one(),
            300..400 => counters.responses_3xx.one(),
            400..500 => counters.responses_4xx.one(),
            _ => counters.responses_5xx.one(),
        }
    }
}

/// What a body that did not arrive means for the response that carried it.
impl From<Cut> for Unanswered {
    fn from(_: Cut) -> Unanswered {
        Unanswered::Broken
    }
}
