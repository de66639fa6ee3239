//! One connection, as its commands see it: who it is, which protocol it speaks, what it has queued since MULTI.
//!
//! Lives in the connection's task alone.

use crate::auth::Tries;
use std::sync::Arc;

use crate::resp::clients::{Client, Seat};
use crate::resp::reply::Version;
use crate::resp::request::Request;

/// The most commands between MULTI and EXEC, and what they may hold together, in bytes.
pub const QUEUED_MAX: usize = 16_384;
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// The state of a connection.
#[derive(Debug)]
pub struct Session {
    /// Which protocol it speaks.
    pub version: Version,
    /// It has said the password, or there is none.
    pub is_known: bool,
    /// Wrong passwords so far.
    pub tries: Tries,
    /// Since MULTI.
    pub queue: Option<Queue>,
    /// It is closed once all is answered.
    pub is_ending: bool,
    seat: Seat,
}

/// What came since MULTI.
#[derive(Debug, Default)]
pub struct Queue {
    /// In their order.
    pub requests: Vec<Request>,
    /// One was refused, so that EXEC will be.
    pub is_spoilt: bool,
    bytes: usize,
}

impl Session {
    /// Of a client that has just come.
    pub fn new(seat: Seat, is_known: bool) -> Self {
        Self {
            version: Version::Resp2,
            is_known,
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

    /// Has a queued request refused, and EXEC with it.
    pub fn spoil(&mut self) {
        if let Some(queue) = &mut self.queue {
            queue.is_spoilt = true;
        }
    }
}

impl Queue {
    /// Puts a request behind the others; false if there is no room for it.
    pub fn push(&mut self, request: Request) -> bool {
        let bytes = self.bytes.saturating_add(request.weight());
        let fits = self.requests.len() < QUEUED_MAX && bytes <= QUEUED_BYTES_MAX;
        if fits {
            self.bytes = bytes;
            self.requests.push(request);
        }
        fits
    }
}
