//! A TCP stream that says when bytes have come in.
//!
//! hyper does not tell what it has read: the client must know whether a reply began, to know whether the request may be
//! sent again. Adds a call to each read, no copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Whoever wants to know.
pub(super) trait Hear: Send + Sync + 'static {
    /// Bytes have come in; never called for the end of the stream.
    fn heard(&self);
}

/// The stream, and who is told.
pub(super) struct Tap<H> {
    stream: TcpStream,
    hear: Arc<H>,
}

impl<H: Hear> Tap<H> {
    pub(super) fn new(stream: TcpStream, hear: Arc<H>) -> Self {
        Self { stream, hear }
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
        Pin::new(&mut self.stream).poll_shutdown(cx)
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
