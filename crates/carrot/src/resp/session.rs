//! One connection, as its commands see it: who it is, which protocol it speaks, what it has queued since MULTI.
//!
//! Lives in the connection's task alone.

use std::sync::Arc;
use std::time::Instant;

use carrotcache::net::intake::{NoRoom, Share};

use crate::auth::Tries;
use crate::resp::clients::{Client, Seat};
use crate::resp::reply::Version;
use crate::resp::request::Request;

/// The most commands between MULTI and EXEC, and what they may hold together, in bytes.
const QUEUED_MAX: usize = 16_384;
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// What every connection may queue, in bytes: as much as it reads into anyway. More takes a share of what all may.
const FREE: usize = 16 << 10;

/// The state of a connection.
#[derive(Debug)]
pub struct Session {
    /// Which protocol it speaks.
    pub version: Version,
    /// It has said the password, or there is none.
    pub is_known: bool,
    /// Since when it has had to greet: since it came, or since a RESET.
    pub greets_since: Instant,
    /// Wrong passwords so far.
    pub tries: Tries,
    /// Since MULTI.
    pub queue: Option<Queue>,
    /// It is closed once all is answered.
    pub is_ending: bool,
    seat: Seat,
}

/// What came since MULTI.
#[derive(Debug)]
pub struct Queue {
    /// In their order.
    pub requests: Vec<Request>,
    /// One was refused, so that EXEC will be.
    pub is_spoilt: bool,
    bytes: usize,
    /// Of what all connections may queue, past the bytes that are free.
    held: Share,
}

/// Why a request is not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unqueued {
    /// The connection has as much in its queue as it may.
    #[error("ERR more is queued than {QUEUED_MAX} commands or {} MiB", QUEUED_BYTES_MAX >> 20)]
    Full,
    /// All connections together have.
    #[error("BUSY all that clients have queued leaves no room for this")]
    NoRoom(NoRoom),
}

impl Session {
    /// Of a client that has just come.
    pub fn new(seat: Seat, is_known: bool) -> Self {
        Self {
            version: Version::Resp2,
            is_known,
            greets_since: Instant::now(),
            tries: Tries::default(),
            queue: None,
            is_ending: false,
            seat,
        }
    }

    /// The client.
    pub fn client(&self) -> &Arc<Client> {
        self.seat.client()
    }

    /// Speaks this protocol from now on.
    pub fn speak(&mut self, version: Version) {
        self.version = version;
        self.client().say(|said| said.version = version);
    }

    /// Begins to queue, or gives up what is queued.
    pub fn set_queue(&mut self, queue: Option<Queue>) -> Option<Queue> {
        let queued = queue.as_ref().map(|queue| queue.requests.len());
        self.client().say(|said| said.queued = queued);
        std::mem::replace(&mut self.queue, queue)
    }

    /// Has a queued request refused, and EXEC with it: nothing is kept of the queue then, as in Redis.
    pub fn spoil(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.is_spoilt = true;
            queue.requests = Vec::new();
            queue.bytes = 0;
            queue.held.release();
        }
    }
}

impl Queue {
    /// With nothing in it. `held` holds nothing yet.
    pub fn new(held: Share) -> Self {
        Self { requests: Vec::new(), is_spoilt: false, bytes: 0, held }
    }

    /// Puts a request behind the others, if they can still be run.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn push(&mut self, request: Request) -> Result<(), Unqueued> {
        if self.is_spoilt {
            return Ok(());
        }
        let bytes = self.bytes.saturating_add(request.weight());
        if self.requests.len() == QUEUED_MAX || bytes > QUEUED_BYTES_MAX {
            return Err(Unqueued::Full);
        }
        let charge = bytes.saturating_sub(self.bytes.max(FREE));
        if charge > 0 {
            self.held.grow(charge as u64).map_err(Unqueued::NoRoom)?;
        }
        self.bytes = bytes;
        self.requests.push(request);
        Ok(())
    }
}
