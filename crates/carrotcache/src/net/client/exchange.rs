//! One connection to a peer, and one request and its reply on it.
//!
//! Whoever asks writes and reads the socket himself: no task stands behind a connection, so a request costs one write,
//! one read and one waking. The request is still being sent while its reply is read, since a peer may refuse an upload
//! before it is over. Buffers stay with the connection; those that one long message has made large do not.
//! Owned by whoever asks for as long as he does: to drop it, or the future that uses it, closes it.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::{BufMut, Bytes};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Id};

use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::Reply;
use crate::net::client::call::Call;
use crate::net::client::response::{HEAD_MAX, Head, Malformed, Search};
use crate::net::reply::TEXT_LIMIT;

/// What is read at once, in bytes; a head and a small value fit.
const READ: usize = 16 << 10;

/// How much of a value there is room made for before it has come. Beyond, as much again as has come.
const AHEAD: usize = 128 << 10;

/// The largest buffer that a connection keeps between two requests.
const KEPT: usize = 128 << 10;

/// A connection, lent to one request or kept for the next.
pub(super) struct Connection {
    line: Line,
    /// What came of the reply, and is no part of a large value.
    read: Vec<u8>,
    /// It has answered a request before.
    is_used: bool,
    /// The runtime that wakes whoever waits for it.
    home: Id,
}

/// The socket, and what is to be sent on it.
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    /// How much of `out` is sent.
    sent: usize,
    /// It takes nothing any more.
    is_deaf: bool,
}

/// Why an exchange failed.
pub(super) enum Failure {
    /// A connection used before broke, and not a byte of a reply had come.
    Unanswered,
    Final(PeerError),
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        Self::Final(error)
    }
}

impl From<Malformed> for PeerError {
    fn from(why: Malformed) -> Self {
        broken(&why.to_string())
    }
}

impl Connection {
    /// A new one, made on this runtime.
    pub(super) fn new(stream: TcpStream) -> Box<Self> {
        let line = Line { stream, out: Vec::new(), sent: 0, is_deaf: false };
        Box::new(Self { line, read: Vec::with_capacity(READ), is_used: false, home: Handle::current().id() })
    }

    /// Whether it lives on this runtime.
    pub(super) fn is_at(&self, runtime: Id) -> bool {
        self.home == runtime
    }

    /// The same where the caller is, unless the peer has closed it, or said something unasked. What has not been noticed
    /// yet comes out when it is used; a look costs no call of the system in most cases.
    pub(super) fn ready_here(mut self: Box<Self>, here: Id) -> Option<Box<Self>> {
        if self.home != here {
            // Else each reply would wake a thread that has to wake another.
            let Line { stream, out, .. } = self.line;
            let stream = TcpStream::from_std(stream.into_std().ok()?).ok()?;
            self.line = Line { stream, out, sent: 0, is_deaf: false };
            self.home = here;
        }
        let silence = self.line.stream.try_read(&mut [0]);
        silence.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock).then_some(self)
    }

    /// Asks, and gives what the peer replied, and whether the connection may be used again: the reply was read to its end,
    /// of a refusal the beginning is enough. A value is charged to the node's memory as it comes in, for as long as it is
    /// held.
    pub(super) async fn exchange(
        &mut self,
        call: &Call<'_>,
        said: &[u8],
        limits: &Limits,
    ) -> Result<(Result<Reply, PeerError>, bool), Failure> {
        self.begin(call, said);
        let head = self.head().await?;
        let (body, end) = self.body(&head, call, limits).await?;
        let is_free = end == Some(self.read.len()) && !head.is_last && self.line.is_done();
        let reply = call.read(head.fields(&self.read), body, limits);
        if is_free {
            self.is_used = true;
            forget_if_large(&mut self.line.out);
            forget_if_large(&mut self.read);
        }
        Ok((reply, is_free))
    }

    fn begin(&mut self, call: &Call<'_>, said: &[u8]) {
        self.read.clear();
        self.read.reserve(READ);
        self.line.sent = 0;
        self.line.out.clear();
        call.write(said, &mut self.line.out);
    }

    async fn head(&mut self) -> Result<Head, Failure> {
        let mut search = Search::default();
        loop {
            let room = HEAD_MAX.saturating_sub(self.read.len()).min(READ);
            match self.line.more(&mut self.read, room).await {
                Ok(1..) => {}
                Ok(0) | Err(_) if self.is_used && self.read.is_empty() => return Err(Failure::Unanswered),
                Ok(0) if self.read.is_empty() => return Err(broken("closed without a reply").into()),
                Ok(0) => return Err(broken("closed within a reply").into()),
                Err(error) => return Err(broken(&error.to_string()).into()),
            }
            if let Some(head) = search.look(&self.read).map_err(PeerError::from)? {
                return Ok(head);
            }
        }
    }

    /// The body as far as it is wanted, and where in what was read the reply ends; `None`: it was not read to its end.
    async fn body(
        &mut self,
        head: &Head,
        call: &Call<'_>,
        limits: &Limits,
    ) -> Result<(Bytes, Option<usize>), PeerError> {
        let carries_value = head.status == StatusCode::OK;
        if carries_value && head.body.has_no_end() {
            return Err(broken("a reply that ends when the connection does, and may have been cut"));
        }
        let limit = if carries_value { call.value_limit(limits) } else { TEXT_LIMIT };
        let over = || broken("a reply over the limit");
        let charge = if carries_value { limits.memory.charge() } else { Charge::default() };
        let charged = |bytes: usize| charge.grow(bytes as u64).map_err(|full| call.full(full));
        let (mut body, mut at, mut taken) = (head.body, head.end, Vec::new());
        loop {
            let mut bytes = &self.read[at..];
            loop {
                let room = limit - taken.len();
                if carries_value && body.run().is_some_and(|run| run > room as u64) {
                    return Err(over());
                }
                let piece = body.take(&mut bytes)?;
                if piece.is_empty() {
                    break;
                }
                if piece.len() > room {
                    taken.extend_from_slice(&piece[..room]);
                    return if carries_value { Err(over()) } else { Ok((taken.into(), None)) };
                }
                charged(piece.len())?;
                if taken.is_empty() {
                    taken.reserve_exact(piece.len() + ahead(body.run().unwrap_or(0), 0));
                }
                taken.extend_from_slice(piece);
            }
            at = self.read.len() - bytes.len();
            if body.is_over() {
                return Ok((charge.around(taken.into()), Some(at)));
            }
            let came = match body.run() {
                // Much of it in one run: straight to where it stays.
                Some(run) if carries_value && run >= READ as u64 => {
                    if taken.capacity() == taken.len() {
                        taken.reserve_exact(ahead(run, taken.len()));
                    }
                    let room = taken.capacity() - taken.len();
                    let came = self
                        .line
                        .more(&mut taken, usize::try_from(run).map_or(room, |run| run.min(room)))
                        .await;
                    if let Ok(came) = came {
                        charged(came)?;
                        body.came(came);
                    }
                    came
                }
                _ => {
                    self.read.drain(head.end..at);
                    at = head.end;
                    self.line.more(&mut self.read, READ).await
                }
            };
            match came {
                Ok(1..) => {}
                Ok(0) if body.has_no_end() => return Ok((taken.into(), None)),
                Ok(0) => return Err(broken("closed within a reply")),
                Err(error) => return Err(broken(&error.to_string())),
            }
        }
    }
}

impl Line {
    /// Reads some bytes, `most` at most, and sends meanwhile what is still to be sent; none: the peer has ended.
    async fn more(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let (mut reader, mut writer) = self.stream.split();
        let mut into = into.limit(most);
        let mut read = pin!(reader.read_buf(&mut into));
        poll_fn(|cx| {
            while self.sent < self.out.len() && !self.is_deaf {
                match Pin::new(&mut writer).poll_write(cx, &self.out[self.sent..]) {
                    Poll::Ready(Ok(sent @ 1..)) => self.sent += sent,
                    // It may have replied before it hung up.
                    Poll::Ready(Ok(0) | Err(_)) => self.is_deaf = true,
                    Poll::Pending => break,
                }
            }
            read.as_mut().poll(cx)
        })
        .await
    }

    fn is_done(&self) -> bool {
        self.sent == self.out.len()
    }
}

/// How many bytes of a run of so many there is to be room for, behind what came before.
fn ahead(run: u64, came: usize) -> usize {
    usize::try_from(run).unwrap_or(usize::MAX).min(came.max(AHEAD))
}

fn forget_if_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    }
}

pub(super) fn broken(why: &str) -> PeerError {
    PeerError::Broken(Arc::from(why))
}
