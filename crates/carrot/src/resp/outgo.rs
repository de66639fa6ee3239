//! What a connection has yet to send: replies in the order of their requests, those that wait for a value among them.
//!
//! One buffer, written with one call once all that was read is answered, or when it is long. Before anything is waited
//! for, what is there is sent. Lives in the connection's task; what stands in line has its room, see `kept`.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use carrotcache::net::intake::Share;
use tokio::net::TcpStream;

use crate::resp::command::Told;
use crate::resp::end::End;
use crate::resp::front::Front;
use crate::resp::kept::{Kept, LONG};
use crate::resp::reads::waited;
use crate::resp::reply::{Reply, Version, list};
use crate::resp::request::Request;
use crate::resp::session::Session;
use crate::resp::window::{AT_ONCE, Errand};

/// A buffer that was longer is not kept, in bytes.
const KEPT: usize = 128 << 10;

/// Replies on their way to one client.
pub struct Outgo<'c> {
    stream: &'c TcpStream,
    front: &'c Arc<Front>,
    /// What is written and not sent.
    buffer: Vec<u8>,
    /// What comes behind it.
    line: VecDeque<Due>,
    /// Of long replies in the buffer.
    held: Share,
    /// For the client to take a part of it.
    part_timeout: Duration,
    sent: Sent,
}

/// What was sent since somebody last asked.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    writes: u64,
    errors: u64,
}

/// A reply that stands in line.
enum Due {
    Reply(Kept),
    Read(Read),
}

/// A read that is under way. It gives nothing where there was no room for what it got.
struct Read {
    errand: Errand<Option<Kept>>,
    began: Instant,
    request: Request,
    told: Told,
}

impl<'c> Outgo<'c> {
    /// With nothing to send.
    pub fn new(stream: &'c TcpStream, front: &'c Arc<Front>) -> Self {
        Self {
            stream,
            front,
            buffer: Vec::new(),
            line: VecDeque::new(),
            held: front.outgo.share(),
            part_timeout: front.allowed.part_timeout,
            sent: Sent::default(),
        }
    }

    /// Whether a reply is waited for.
    pub fn waits(&self) -> bool {
        !self.line.is_empty()
    }

    /// The next reply.
    pub async fn put(&mut self, reply: Reply, session: &Session) -> Result<(), End> {
        let mut reply = reply;
        if self.waits() {
            match Kept::of(reply, self.front) {
                Ok(kept) => {
                    self.line.push_back(Due::Reply(kept));
                    return self.shorten(session).await;
                }
                Err(too_long) => reply = too_long,
            }
            self.settle(session).await?;
        }
        self.write(&reply, session.version);
        self.flush_if_long().await
    }

    /// The next reply is what this read gives, which begins now, beside those before it.
    pub async fn put_read(&mut self, request: Request, told: Told, session: &Session) -> Result<(), End> {
        let (front, key) = (self.front.clone(), request.bytes(1));
        let errand = Errand::begin(async move {
            let reply = waited(front.clone(), key, told).await;
            Kept::of(reply, &front).ok()
        });
        self.line.push_back(Due::Read(Read { errand, began: Instant::now(), request, told }));
        self.shorten(session).await
    }

    /// So many replies follow, which are one.
    pub fn put_list(&mut self, length: usize) {
        list(length, &mut self.buffer);
    }

    async fn shorten(&mut self, session: &Session) -> Result<(), End> {
        while self.line.len() > AT_ONCE {
            self.first(session).await?;
        }
        Ok(())
    }

    /// Waits until nothing stands in line.
    pub async fn settle(&mut self, session: &Session) -> Result<(), End> {
        while self.waits() {
            self.first(session).await?;
        }
        Ok(())
    }

    async fn first(&mut self, session: &Session) -> Result<(), End> {
        let kept = match self.line.pop_front() {
            None => return Ok(()),
            Some(Due::Reply(kept)) => kept,
            Some(Due::Read(read)) => self.read(read, session).await?,
        };
        self.write(kept.reply(), session.version);
        drop(kept);
        self.flush_if_long().await
    }

    /// What a read gives whose turn it is.
    async fn read(&mut self, read: Read, session: &Session) -> Result<Kept, End> {
        let Read { errand, began, request, told } = read;
        if !errand.is_ready() {
            self.flush().await?;
        }
        let kept = match errand.await {
            Ok(Some(kept)) => kept,
            Ok(None) => {
                self.front.counts.repeats.fetch_add(1, Relaxed);
                self.flush().await?;
                Kept::in_turn(waited(self.front.clone(), request.bytes(1), told).await)
            }
            Err(lost) => Kept::in_turn(lost),
        };
        self.front.slowlog.note(request.words(), began.elapsed(), session.client());
        Ok(kept)
    }

    fn write(&mut self, reply: &Reply, version: Version) {
        let length = reply.values_len();
        // What is short is bounded by the connections there may be.
        if length >= LONG
            && let Err(full) = self.held.grow(length as u64)
        {
            self.front.cluster.count_refusal(full.cause());
            self.sent.errors += 1;
            return Reply::error(format!("BUSY {full}")).write(version, &mut self.buffer);
        }
        self.sent.errors += u64::from(reply.is_error());
        reply.write(version, &mut self.buffer);
    }

    async fn flush_if_long(&mut self) -> Result<(), End> {
        if self.buffer.len() >= LONG { self.flush().await } else { Ok(()) }
    }

    /// Sends what is written.
    ///
    /// # Errors
    /// When the client is gone, or takes nothing for too long.
    pub async fn flush(&mut self) -> Result<(), End> {
        let mut sent = 0;
        while sent < self.buffer.len() {
            match self.stream.try_write(&self.buffer[sent..]) {
                Ok(0) => return Err(End::Gone),
                Ok(written) => {
                    sent += written;
                    self.sent.writes += 1;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let takes = tokio::time::timeout(self.part_timeout, self.stream.writable());
                    takes.await.map_err(|_| End::Overdue)?.map_err(|_| End::Gone)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Gone),
            }
        }
        if self.buffer.capacity() > KEPT {
            self.buffer = Vec::new();
        } else {
            self.buffer.clear();
        }
        self.held.release();
        Ok(())
    }

    /// Adds what was sent since the last time to what is counted of all.
    pub fn count(&mut self) {
        let Sent { writes, errors } = std::mem::take(&mut self.sent);
        let counts = &self.front.counts;
        counts.writes.fetch_add(writes, Relaxed);
        // Most often none, and others count on the same cores.
        if errors > 0 {
            counts.errors.fetch_add(errors, Relaxed);
        }
    }
}
