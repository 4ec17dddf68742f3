//! Bytes in both directions, as they come.
//!
//! Bias: nothing is kept that the kernel can keep. A read goes into the core's one scratch buffer and is written on at
//! once; only what the receiver did not take stays (on the client's account), and nothing more is read until it has. So an idle relay holds no
//! buffer, and a slow receiver holds back its sender. A half-close is passed on by itself; any error ends the relay,
//! and dropping the two sockets resets them (`linger`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::account::Held;
use super::conn::Conn;
use super::core::Core;
use super::linger;
use super::outcome::{Meter, Ongoing};
use super::sni::Sni;
use super::turns;

/// Least that is read at once, however little room is left.
const LEAST: usize = 4 * 1024;

/// What was read from each side before the relay began, and is passed on first.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// From the client.
    pub client: BytesMut,
    /// From the server.
    pub server: BytesMut,
}

/// Relays until both sides have closed. `stays` is asked whether the bytes may go on, whenever the connection is
/// [doubted](Conn::doubt). Where the client may speak TLS, `tls` is told the name that it asks for.
///
/// # Errors
/// A side was reset or failed, or the bytes may not go on. The streams are left as they are.
pub(super) async fn run(
    core: &Core,
    conn: &Conn,
    client: &mut TcpStream,
    server: &mut TcpStream,
    ahead: Ahead,
    tls: Option<&Ongoing<'_>>,
    stays: impl Fn() -> bool,
) -> io::Result<()> {
    let mut sni = Sni::new(core, conn, tls);
    sni.see(&ahead.client);
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut up = Way {
            kept: ahead.client,
            state: State::Open,
            bytes: Meter::from_client(core, conn),
            held: Held::new(conn.account.clone()),
            sni,
        };
        let mut down = Way {
            kept: ahead.server,
            state: State::Open,
            bytes: Meter::from_server(core, conn),
            held: Held::new(conn.account.clone()),
            sni: Sni::new(core, conn, None),
        };
        let most = core.config().limits.buffered_bytes_per_connection / 2;
        poll_fn(|cx| {
            if conn.take_doubt() && !stays() {
                return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
            }
            // Smaller reads where many bytes wait already: the senders are held back.
            let once = most.min(conn.account.room()).max(LEAST);
            let up = up.poll(cx, (core, once), &mut from_client, &mut to_server)?;
            let down = down.poll(cx, (core, once), &mut from_server, &mut to_client)?;
            if up.is_ready() && down.is_ready() {
                Poll::Ready(io::Result::Ok(()))
            } else {
                Poll::Pending
            }
        })
        .await?;
    }
    linger::orderly(client);
    linger::orderly(server);
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More may come.
    Open,
    /// The sender has closed; what is kept still has to go.
    Ended,
    /// The receiver knows.
    Closed,
}

/// One direction.
struct Way<'a> {
    kept: BytesMut,
    state: State,
    bytes: Meter<'a>,
    held: Held,
    sni: Sni<'a>,
}

impl Way<'_> {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (core, once): (&Core, usize),
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut left = turns::BYTES;
        loop {
            while !self.kept.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.kept))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.kept.advance(written);
                if self.kept.is_empty() {
                    self.kept = BytesMut::new();
                    self.held.set(0);
                }
            }
            match self.state {
                State::Open => {}
                State::Ended => {
                    ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
            if self.state == State::Open {
                if left == 0 {
                    // Enough for one turn.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                left = left.saturating_sub(ready!(self.pass(cx, (core, once), from, to))?);
            }
        }
    }

    /// Reads up to `once` bytes and writes on what the receiver takes at once. How many bytes it was.
    fn pass(
        &mut self,
        cx: &mut Context<'_>,
        (core, once): (&Core, usize),
        from: &mut ReadHalf<'_>,
        to: &mut WriteHalf<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut scratch = core.scratch.borrow_mut();
        let once = once.min(scratch.len());
        let mut read = ReadBuf::new(scratch.get_mut(..once).unwrap_or_default());
        ready!(Pin::new(from).poll_read(cx, &mut read))?;
        let mut data = read.filled();
        if data.is_empty() {
            self.state = State::Ended;
            return Poll::Ready(Ok(0));
        }
        let len = data.len();
        self.bytes.add(len);
        self.sni.see(data);
        // Pending here has set the waker; the caller's next write sets it again.
        if let Poll::Ready(written) = Pin::new(to).poll_write(cx, data)? {
            data.advance(written);
        }
        if !data.is_empty() {
            self.kept.extend_from_slice(data);
            self.held.set(self.kept.capacity());
        }
        Poll::Ready(Ok(len))
    }
}
