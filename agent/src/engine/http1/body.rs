//! Bodies on their way from one connection to another.

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use weir_core::http1::{Body, BodyError};

use super::super::account::Held;
use super::super::conn::{Conn, Late};
use super::super::core::Core;
use super::super::outcome::Meter;
use super::super::turns;

/// As much of a body as is copied to go out with its head in one write.
const WITH_HEAD: usize = 16 * 1024;

/// Most that is read of a body at once.
const BULK: usize = 64 * 1024;

/// Least room for a read.
const LEAST: usize = 4 * 1024;

/// Why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Its sender broke the framing, or closed before the end.
    Framing(BodyError),
    /// Its sender's connection failed.
    Sender,
    /// Its receiver's connection failed, or was closed.
    Receiver,
    /// Neither side moved for too long.
    Late,
    /// The request that it belongs to is not allowed any more.
    Revoked,
}

impl From<BodyError> for Cut {
    fn from(error: BodyError) -> Cut {
        Cut::Framing(error)
    }
}

/// Moves what is at hand of a body to the end of `out`, up to [`WITH_HEAD`] bytes.
pub(super) fn take(body: &mut Body, input: &mut BytesMut, out: &mut Vec<u8>) -> Result<(), BodyError> {
    let most = out.len() + WITH_HEAD;
    while out.len() < most {
        let at_hand = input.get(..input.len().min(most - out.len())).unwrap_or_default();
        let step = body.advance(at_hand)?;
        if step.consumed() == 0 {
            break;
        }
        input.advance(step.skip);
        out.extend_from_slice(input.get(..step.forward).unwrap_or_default());
        input.advance(step.forward);
    }
    Ok(())
}

/// Relays the rest of a body. Every bit of progress renews the deadline.
pub(super) async fn relay(
    core: &Core,
    conn: &Conn,
    body: &mut Body,
    input: &mut BytesMut,
    (from, received): (&mut ReadHalf<'_>, Meter<'_>),
    to: &mut WriteHalf<'_>,
) -> Result<(), Cut> {
    let held = Held::new(conn.account.clone());
    let most = BULK.min(core.config().limits.buffered_bytes_per_connection / 2);
    let mut moved = 0;
    loop {
        loop {
            let step = body.advance(input)?;
            if step.consumed() == 0 {
                break;
            }
            input.advance(step.skip);
            send(core, conn, to, input.get(..step.forward).unwrap_or_default()).await?;
            input.advance(step.forward);
        }
        if body.is_done() {
            return Ok(());
        }
        let left = body
            .remaining()
            .and_then(|left| usize::try_from(left).ok())
            .unwrap_or(BULK);
        // Smaller reads where many bytes wait already: the sender is held back.
        input.reserve(left.min(most).min(conn.account.room()).max(LEAST));
        held.set(input.capacity());
        match conn.in_time(from.read_buf(input)).await {
            Ok(Ok(0)) => body.close()?,
            Ok(Ok(read)) => {
                received.add(read);
                moved += read;
            }
            Ok(Err(_)) => return Err(Cut::Sender),
            Err(Late) => return Err(Cut::Late),
        }
        if moved >= turns::BYTES {
            moved = 0;
            turns::give_way().await;
        }
        conn.allow(core.config().times.response);
    }
}

/// Writes all of `data`.
pub(super) async fn send(core: &Core, conn: &Conn, to: &mut WriteHalf<'_>, mut data: &[u8]) -> Result<(), Cut> {
    while !data.is_empty() {
        match conn.in_time(to.write(data)).await {
            Ok(Ok(0)) | Ok(Err(_)) => return Err(Cut::Receiver),
            Ok(Ok(written)) => data.advance(written),
            Err(Late) => return Err(Cut::Late),
        }
        conn.allow(core.config().times.response);
    }
    Ok(())
}

/// Reads and drops the rest of a body, as long as it is not more than `most` bytes. True if it has ended.
pub(super) async fn drop_rest(
    core: &Core,
    conn: &Conn,
    body: &mut Body,
    input: &mut BytesMut,
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    mut most: usize,
) -> bool {
    conn.allow(core.config().times.drain);
    loop {
        match body.advance(input) {
            Ok(step) if step.consumed() > 0 => {
                input.advance(step.consumed());
                match most.checked_sub(step.consumed()) {
                    Some(left) => most = left,
                    None => return body.is_done(),
                }
                continue;
            }
            Ok(_) if body.is_done() => return true,
            Ok(_) => {}
            Err(_) => return false,
        }
        input.reserve(LEAST);
        match conn.in_time(from.read_buf(input)).await {
            Ok(Ok(read)) if read > 0 => Meter::from_client(core, conn).add(read),
            _ => return false,
        }
    }
}
