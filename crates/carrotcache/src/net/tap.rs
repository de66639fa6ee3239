//! A TCP stream that says when bytes have come in, and hears the other side out before it closes.
//!
//! hyper tells neither side what it has read: the listener must know when a request began, to give it a deadline, and
//! the client whether a reply began, to know whether the request may be sent again. Adds a call to each read, no copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whoever wants to know.
pub(super) trait Hear: Send + Sync + 'static {
    /// Bytes have come in; never called for the end of the stream.
    fn heard(&self);

    /// We have said our last word. Whether what still comes is read and dropped, until the other side ends: to close
    /// on bytes that nobody has read is a reset, and takes our last word away from a side that is still sending.
    /// Asked anew each time there is something to read.
    fn hears_out(&self) -> bool {
        false
    }
}

/// The stream, and who is told.
pub(super) struct Tap<H> {
    stream: TcpStream,
    hear: Arc<H>,
    /// Our side is closed.
    is_shut: bool,
}

impl<H: Hear> Tap<H> {
    pub(super) fn new(stream: TcpStream, hear: Arc<H>) -> Self {
        Self { stream, hear, is_shut: false }
    }

    /// The stream alone.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Reads and drops until the other side ends, in whatever way.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut room = [0; 4096];
        loop {
            let mut rest = ReadBuf::new(&mut room);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut rest));
            if read.is_err() || rest.filled().is_empty() {
                return Poll::Ready(());
            }
        }
    }
}

impl<H: Hear> AsyncRead for Tap<H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.hear.heard();
        }
        polled
    }
}

impl<H: Hear> AsyncWrite for Tap<H> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.is_shut = true;
        }
        if self.hear.hears_out() { self.poll_rest(cx).map(Ok) } else { Poll::Ready(Ok(())) }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
