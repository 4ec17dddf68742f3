//! What a connection's task looks at behind each turn of the library: accounts, deadlines, doubt, the end.
//!
//! Bias: one deadline for all. The connection's is the earliest of its own and its streams', never later; the streams are
//! looked through only when that has passed.

use std::rc::Rc;
use std::time::Duration;

use h2::Reason as Code;

use super::gauge::{Excess, Gauge};
use super::stream::Stream;
use super::{Ended, Session};

/// What to do about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// GOAWAY: no more streams are taken, those that are under way may end.
    Goodbye,
    /// GOAWAY with this code, and close.
    Enough(Code),
    /// Close: it was told, and does not.
    End,
}

/// What one connection was told, and when.
pub(super) struct Watch {
    begun: u64,
    /// When GOAWAY was sent, in milliseconds of the core's clock.
    goodbye: Option<u64>,
    enough: Option<u64>,
}

impl Watch {
    /// Of a connection that begins at `now`, in milliseconds of the core's clock.
    pub fn new(now: u64) -> Watch {
        Watch {
            begun: now,
            goodbye: None,
            enough: None,
        }
    }

    /// How it ends, if it ends without an error.
    pub fn ended(&self) -> Ended {
        match self.goodbye.or(self.enough) {
            Some(_) => Ended::Told,
            None => Ended::Closed,
        }
    }

    /// Looks at everything that may have changed; to be asked again until it says nothing.
    pub fn look(&mut self, session: &Rc<Session>, gauge: &Gauge) -> Option<Word> {
        let Session { core, conn, .. } = &**session;
        let now = core.now();
        if conn.take_doubt() && self.enough.is_none() {
            session
                .streams
                .borrow()
                .values()
                .for_each(|stream| stream.judge(core, conn));
            if !core.openings.of(&core.snapshot(), conn).reachable && self.goodbye.is_none() {
                return self.goodbye(session, now);
            }
        }
        if let Some(excess) = gauge.excess().filter(|_| self.enough.is_none()) {
            return self.enough(session, now, excess.code());
        }
        if core.is_stopping() && self.goodbye.is_none() {
            return self.goodbye(session, now);
        }
        if let Some(since) = gauge.block_since() {
            conn.allow_at_most_until(after(since, core.config().times.head));
        }
        if !conn.is_late() {
            return None;
        }
        self.late(session, gauge, now)
    }

    /// Something's time is over, or it only looks so.
    fn late(&mut self, session: &Rc<Session>, gauge: &Gauge, now: u64) -> Option<Word> {
        let times = &session.core.config().times;
        if let Some(told) = self.enough {
            let end = after(told, times.drain);
            session.conn.allow_until(end);
            return (end <= now).then_some(Word::End);
        }
        let idle = session.underway.get() == 0;
        let settings = (!gauge.is_settled()).then(|| after(self.begun, times.head));
        let block = gauge.block_since().map(|since| after(since, times.head));
        let owed = settings.into_iter().chain(block).min().unwrap_or(u64::MAX);
        if owed <= now {
            return self.enough(session, now, Code::ENHANCE_YOUR_CALM);
        }
        let idle_since = session.idle_since.get();
        let leave = match self.goodbye {
            _ if !idle => u64::MAX,
            Some(told) => after(told.max(idle_since), times.drain),
            None => after(idle_since, times.idle),
        };
        match self.goodbye {
            Some(_) if leave <= now => return Some(Word::End),
            None if leave <= now => return self.goodbye(session, now),
            _ => {}
        }
        let streams = session.streams.borrow();
        let due = streams
            .values()
            .map(|stream| Stream::due(stream))
            .min()
            .unwrap_or(u64::MAX);
        // A stream that is late was woken; it sets its own next deadline, or ends.
        let due = due.max(now.saturating_add(1));
        session.conn.allow_until(due.min(leave).min(owed));
        None
    }

    fn goodbye(&mut self, session: &Session, now: u64) -> Option<Word> {
        self.goodbye = Some(now);
        session.conn.allow_until(now);
        Some(Word::Goodbye)
    }

    fn enough(&mut self, session: &Session, now: u64, code: Code) -> Option<Word> {
        self.enough = Some(now);
        // Who does not read that is not waited for any longer than for anything else.
        session.conn.allow_until(now);
        Some(Word::Enough(code))
    }
}

/// `time` after a moment, in milliseconds.
fn after(since: u64, time: Duration) -> u64 {
    since.saturating_add(time.as_millis() as u64)
}

impl Excess {
    fn code(self) -> Code {
        match self {
            Excess::NotHttp2 => Code::PROTOCOL_ERROR,
            Excess::Control | Excess::Resets => Code::ENHANCE_YOUR_CALM,
        }
    }
}
