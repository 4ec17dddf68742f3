//! The bytes of an HTTP/2 connection on their way to and from the library, gauged.
//!
//! Bias: the library does the reading and writing; this stands between it and the socket and only looks. Once the
//! account is overdrawn nothing more is read, and whoever drives the connection finds that out after its poll.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::gauge::{Gauge, Scanner};

/// A gauged connection. `F` is told of the bytes that are received.
pub(super) struct Wire<'a, F> {
    stream: &'a mut TcpStream,
    /// What was read before the library came.
    first: BytesMut,
    gauge: Rc<Gauge>,
    incoming: Scanner,
    outgoing: Scanner,
    received: F,
}

impl<'a, F: Fn(usize)> Wire<'a, F> {
    /// A client's connection, of which `first` was read (and counted) already.
    pub fn of_client(stream: &'a mut TcpStream, first: BytesMut, gauge: Rc<Gauge>, received: F) -> Wire<'a, F> {
        Wire {
            stream,
            first,
            gauge,
            incoming: Scanner::new(super::gauge::PREFACE),
            outgoing: Scanner::new(0),
            received,
        }
    }

    /// A connection to a server.
    pub fn of_server(stream: &'a mut TcpStream, gauge: Rc<Gauge>, received: F) -> Wire<'a, F> {
        Wire {
            stream,
            first: BytesMut::new(),
            gauge,
            incoming: Scanner::new(0),
            outgoing: Scanner::new(super::gauge::PREFACE),
            received,
        }
    }
}

impl<F: Fn(usize) + Unpin> AsyncRead for Wire<'_, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.gauge.excess().is_some() {
            // Whoever polls us looks at the gauge next; there is nothing to be woken for.
            return Poll::Pending;
        }
        if this.gauge.is_turn_over() {
            // Others are to go on first.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !this.first.is_empty() {
            let some = this.first.len().min(into.remaining());
            let part = this.first.get(..some).unwrap_or_default();
            this.incoming.came(part, &this.gauge);
            into.put_slice(part);
            this.first.advance(some);
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut *this.stream).poll_read(cx, into);
        if let Poll::Ready(Ok(())) = polled {
            let read = into.filled().get(before..).unwrap_or_default();
            (this.received)(read.len());
            this.incoming.came(read, &this.gauge);
        }
        polled
    }
}

impl<F: Fn(usize) + Unpin> AsyncWrite for Wire<'_, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut *this.stream).poll_write(cx, bytes);
        this.gauge.block(polled.is_pending());
        if let Poll::Ready(Ok(written)) = polled {
            this.outgoing
                .went(bytes.get(..written).unwrap_or_default(), &this.gauge);
        }
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let polled = Pin::new(&mut *this.stream).poll_write_vectored(cx, bytes);
        this.gauge.block(polled.is_pending());
        if let Poll::Ready(Ok(mut written)) = polled {
            for slice in bytes {
                let part = slice.get(..written.min(slice.len())).unwrap_or_default();
                this.outgoing.went(part, &this.gauge);
                written -= part.len();
            }
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }
}
