//! A client's connection and what has come on it, as we read it and as hyper does.
//!
//! What is read ahead of a request stays with the connection, so that hyper can be lent it for just one request and give it
//! back. Reads a piece at a time into one buffer, which does not grow.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::net::turn::Turn;

/// The longest head that is looked at before hyper is, in bytes.
const ROOM: usize = 8 << 10;

/// The connection, and what was read of it and not used.
pub(super) struct ReadAhead {
    stream: TcpStream,
    room: Box<[u8]>,
    start: usize,
    end: usize,
}

impl ReadAhead {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, room: vec![0; ROOM].into(), start: 0, end: 0 }
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// What was read and not used.
    pub(super) fn unread(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// So much of it is used.
    pub(super) fn skip(&mut self, length: usize) {
        self.start += length;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether there is no room to read into.
    pub(super) fn is_full(&self) -> bool {
        self.end - self.start == self.room.len()
    }

    /// Reads once; how much was read, which is nothing at the end of the stream alone. There has to be room.
    pub(super) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        debug_assert!(!self.is_full(), "nothing read would be taken for the end");
        if self.start > 0 {
            self.room.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let mut free = ReadBuf::new(&mut self.room[self.end..]);
        // By the stream itself, which knows by a read that left room that there is no more for now.
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut free))?;
        let read = free.filled().len();
        self.end += read;
        Poll::Ready(Ok(read))
    }

    /// Reads and drops until the other side ends, in whatever way.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            (self.start, self.end) = (0, 0);
            if !matches!(ready!(self.poll_more(cx)), Ok(1..)) {
                return Poll::Ready(());
            }
        }
    }

    /// The stream alone, and what follows `read` on it.
    pub(super) fn into_parts(self, read: Bytes) -> (TcpStream, Bytes) {
        let rest = self.unread();
        let read = if rest.is_empty() { read } else { [&read[..], rest].concat().into() };
        (self.stream, read)
    }
}

/// How far hyper is with one request.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// It has been given all of it.
    is_read: AtomicBool,
    /// It has all of the response.
    is_told: AtomicBool,
    /// And all of that is written.
    is_sent: AtomicBool,
    /// It ends the connection with it.
    is_last: AtomicBool,
}

impl Round {
    /// It has all of the response.
    pub(super) fn told(&self) {
        self.is_told.store(true, Relaxed);
    }

    /// Nothing of the request is left to be done, and another may follow.
    pub(super) fn is_over(&self) -> bool {
        self.is_read.load(Relaxed) && self.is_sent.load(Relaxed) && !self.is_last.load(Relaxed)
    }
}

/// The connection, lent to hyper: for one request, or for good.
pub(super) struct Lent {
    client: ReadAhead,
    /// What hyper is to read of the request; `None`: all that comes.
    left: Option<u64>,
    round: Arc<Round>,
    turn: Arc<Turn>,
    /// Our side is closed.
    is_shut: bool,
}

impl Lent {
    pub(super) fn new(client: ReadAhead, left: Option<u64>, round: Arc<Round>, turn: Arc<Turn>) -> Self {
        Self { client, left, round, turn, is_shut: false }
    }

    pub(super) fn into_client(self) -> ReadAhead {
        self.client
    }

    /// Whether the client has gone, which drops what it has asked for. One that sends on is there.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.client.unread().is_empty() {
            if ready!(self.client.poll_more(cx))? == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        Poll::Pending
    }

    fn used(&mut self, length: usize) {
        self.turn.heard();
        if let Some(left) = &mut self.left {
            *left -= length as u64;
            self.round.is_read.store(*left == 0, Relaxed);
        }
    }
}

impl AsyncRead for Lent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let wanted = match this.left {
            Some(0) => return this.poll_gone(cx),
            left => left.map_or(usize::MAX, |left| left.try_into().unwrap_or(usize::MAX)),
        };
        let wanted = wanted.min(buf.remaining());
        let unread = this.client.unread();
        let length = if unread.is_empty() {
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(wanted));
            ready!(Pin::new(&mut this.client.stream).poll_read(cx, &mut part))?;
            let length = part.filled().len();
            buf.advance(length);
            length
        } else {
            let length = wanted.min(unread.len());
            buf.put_slice(&unread[..length]);
            this.client.skip(length);
            length
        };
        if length > 0 {
            this.used(length);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Lent {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client.stream).poll_write(cx, bytes)
    }

    /// hyper comes here when it has written all it has.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.round.is_told.load(Relaxed) {
            self.round.is_sent.store(true, Relaxed);
        }
        Pin::new(&mut self.client.stream).poll_flush(cx)
    }

    /// Hears the other side out before it closes: to close on bytes that nobody has read is a reset, and takes our last
    /// word away from a client that is still sending.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.round.is_last.store(true, Relaxed);
        if !self.is_shut {
            ready!(Pin::new(&mut self.client.stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        if self.turn.hears_out() { self.client.poll_rest(cx).map(Ok) } else { Poll::Ready(Ok(())) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.client.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.client.stream.is_write_vectored()
    }
}
