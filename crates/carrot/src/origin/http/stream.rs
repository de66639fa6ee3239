//! The bytes to and from an origin, with or without TLS, and whether any have come.
//!
//! hyper does not tell what it has read, and a request may be sent a second time only if not a byte of an answer came.
//! Counted above TLS, since a handshake and its tickets are no answer. Adds a virtual call to each read, no copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A TCP connection, or TLS over one.
pub trait Bytestream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytestream for S {}

/// Whether bytes have come since somebody last forgot it.
#[derive(Clone, Debug, Default)]
pub struct Heard(Arc<AtomicBool>);

impl Heard {
    /// From now on nothing has come.
    pub fn forget(&self) {
        self.0.store(false, Relaxed);
    }

    /// Whether anything has.
    pub fn anything(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A stream that remembers whether it was heard.
pub struct Stream {
    inner: Box<dyn Bytestream>,
    heard: Heard,
}

impl Stream {
    /// Wraps a stream.
    pub fn new(inner: impl Bytestream + 'static) -> Self {
        Self { inner: Box::new(inner), heard: Heard::default() }
    }

    /// What it remembers, to be asked by others.
    pub fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.0.store(true, Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
