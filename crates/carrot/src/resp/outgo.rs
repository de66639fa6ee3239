//! What a connection has yet to send: replies in the order of their requests, those that wait for a value among them.
//!
//! One buffer, written with one call once all that was read is answered, or when it is long. Before anything is waited
//! for, what is there is sent. Lives in the connection's task.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use carrotcache::net::intake::Share;
use tokio::net::TcpStream;

use crate::resp::end::End;
use crate::resp::front::Front;
use crate::resp::reply::{Reply, Version, list};
use crate::resp::request::Request;
use crate::resp::session::Session;
use crate::resp::window::{AT_ONCE, Errand};

/// From this length on the buffer is sent though more is to come, in bytes.
const LONG: usize = 64 << 10;

/// A buffer that was longer is not kept, in bytes.
const KEPT: usize = 128 << 10;

/// Replies on their way to one client.
pub struct Outgo<'c> {
    stream: &'c TcpStream,
    front: &'c Front,
    /// What is written and not sent.
    buffer: Vec<u8>,
    /// What comes behind it.
    line: VecDeque<Due>,
    /// Of long replies in the buffer.
    held: Share,
    /// For the client to take a part of it.
    part_timeout: Duration,
    errors: u64,
}

/// A reply that stands in line.
enum Due {
    Reply(Reply),
    Errand { errand: Errand<Reply>, began: Instant, request: Request },
}

impl<'c> Outgo<'c> {
    /// With nothing to send.
    pub fn new(stream: &'c TcpStream, front: &'c Front) -> Self {
        Self {
            stream,
            front,
            buffer: Vec::new(),
            line: VecDeque::new(),
            held: front.outgo.share(),
            part_timeout: front.allowed.part_timeout,
            errors: 0,
        }
    }

    /// Whether a reply is waited for.
    pub fn waits(&self) -> bool {
        !self.line.is_empty()
    }

    /// The next reply.
    pub async fn put(&mut self, reply: Reply, session: &Session) -> Result<(), End> {
        if self.waits() {
            self.line.push_back(Due::Reply(reply));
            self.shorten(session).await
        } else {
            self.write(&reply, session.version);
            self.flush_if_long().await
        }
    }

    /// The next reply is this errand's.
    pub async fn put_errand(
        &mut self,
        errand: Errand<Reply>,
        request: Request,
        session: &Session,
    ) -> Result<(), End> {
        self.line.push_back(Due::Errand { errand, began: Instant::now(), request });
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
        let reply = match self.line.pop_front() {
            None => return Ok(()),
            Some(Due::Reply(reply)) => reply,
            Some(Due::Errand { errand, began, request }) => {
                if !errand.is_ready() {
                    self.flush().await?;
                }
                let reply = errand.await.unwrap_or_else(|lost| lost);
                self.front.slowlog.note(request.words(), began.elapsed(), session.client());
                reply
            }
        };
        self.write(&reply, session.version);
        self.flush_if_long().await
    }

    fn write(&mut self, reply: &Reply, version: Version) {
        let length = reply.values_len();
        // What is short is bounded by the connections there may be.
        if length >= LONG
            && let Err(full) = self.held.grow(length as u64)
        {
            self.front.cluster.count_refusal(full.cause());
            self.errors += 1;
            return Reply::error(format!("BUSY {full}")).write(version, &mut self.buffer);
        }
        self.errors += u64::from(reply.is_error());
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
                Ok(written) => sent += written,
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

    /// Replies that were errors, since this was last asked.
    pub fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }
}
