//! A connection of frames to a peer, on the side that asks.
//!
//! Callers put what they ask into one outbox, under a short lock, and wait for their ids to be answered, in any order.
//! The connection's task writes it: it yields once, so that whoever is about to ask can, and writes all of it with one
//! call. There is no timer in that. When a caller writes himself is told in `pacing.rs`.
//! Whoever stops waiting abandons his id, and the peer is told. When the connection ends, all who wait are told why.
//! Shared by all groups of a node. Never dials, and never asks twice.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::{Reply, Request};
pub(super) use crate::net::calls::Link;
use crate::net::calls::{Abandoned, Call, Caller, Calls, Phase, State, Timed};
use crate::net::driver;
use crate::net::inbox::Inbox;
use crate::net::intake::{Intake, NoRoom};
use crate::net::outbox::Outbox;
use crate::net::pacing::Pacing;
use crate::net::unsent;
use crate::net::wire::many::PER_ANSWER;
use crate::net::words;
use crate::peers::{Line, Sent, Then};
use crate::runtimes::lone_here;
use crate::stats::{Cut, NodeStats};

/// What an answer may hold beside its value, in bytes.
const SLACK: u64 = 64 << 10;

/// Why there is no reply.
pub(super) enum Failure {
    /// Nothing was sent: the connection takes nothing more.
    Gone,
    /// The connection ended, and not a byte had come since the request was sent.
    Unheard(PeerError),
    /// Not by the deadline.
    Late,
    Other(PeerError),
}

impl From<PeerError> for Failure {
    fn from(error: PeerError) -> Self {
        Self::Other(error)
    }
}

impl Link {
    /// Takes over a connection on which `read` has come already. Its task runs until either side ends it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub(super) fn start(
        stream: TcpStream,
        read: &[u8],
        peer: Arc<str>,
        limits: Arc<Limits>,
        stats: Arc<NodeStats>,
        values: &Intake,
    ) -> Arc<Self> {
        unsent::bound(&stream);
        let (reader, writer) = stream.into_split();
        let outbox = Outbox::new(values, values.most());
        let writer = Arc::new(writer);
        let state = State {
            outbox,
            calls: Calls::default(),
            abandoned: Abandoned::default(),
            next_id: 1,
            writer: Some(writer.clone()),
            due: None,
            pacing: Pacing::default(),
            refusals: 0,
            phase: Phase::Open,
        };
        let (state, wake, heard) = (Mutex::new(state), Notify::new(), AtomicU64::new(0));
        let link = Arc::new(Self { peer, limits, stats, state, wake, heard, home: lone_here() });
        tokio::spawn(driver::drive(link.clone(), reader, writer, Inbox::new(read)));
        link
    }

    /// Asks the peer, and gives its reply or why there is none. Dropping the future abandons the wait, and tells the peer.
    pub(super) async fn ask(&self, what: &Request, deadline: Instant) -> Result<Reply, Failure> {
        let heard = self.heard.load(Relaxed);
        let (id, reply) = self.send(what, deadline)?;
        let wait = Wait { link: self, id };
        let replied = clock::timeout_at(deadline, reply).await;
        match replied {
            Ok(Ok(reply)) => {
                std::mem::forget(wait);
                Ok(reply?)
            }
            Ok(Err(_closed)) => {
                std::mem::forget(wait);
                let error = self.lock().ended();
                Err(if self.heard.load(Relaxed) == heard { Failure::Unheard(error) } else { error.into() })
            }
            Err(clock::Elapsed) => {
                // That is answered at once by whoever lives, so the connection does not.
                if matches!(what, Request::Id) && self.heard.load(Relaxed) == heard {
                    self.cut(Cut::Silent);
                }
                Err(Failure::Late)
            }
        }
    }

    /// Puts the request in, and sees to it that it is written.
    fn send(
        &self,
        what: &Request,
        deadline: Instant,
    ) -> Result<(u64, oneshot::Receiver<Result<Reply, PeerError>>), Failure> {
        let (caller, reply) = oneshot::channel();
        let id = self.put(what, (clock::now(), deadline), Caller::Waits(caller)).map_err(|(why, _)| why)?;
        Ok((id, reply))
    }

    /// Puts the request in for this caller, who is given back where it cannot be.
    fn put(
        &self,
        what: &Request,
        (now, deadline): (Instant, Instant),
        caller: Caller,
    ) -> Result<u64, (Failure, Caller)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if !matches!(state.phase, Phase::Open) {
            return Err((Failure::Gone, caller));
        }
        // Whether a peer lives has to be found out of one that is full as well: if it does not, nothing else makes room.
        let has_room = matches!(what, Request::Id)
            || state.outbox.has_room_for(what.value_bytes())
                && state.calls.len() < self.limits.waiting_per_peer;
        if !has_room {
            return Err((PeerError::Busy(state.calls.len()).into(), caller));
        }
        let id = state.next_id;
        if let Err(full) = words::ask(&mut state.outbox, id, what, (now, deadline)) {
            let refused = match full {
                NoRoom::Memory(full) => PeerError::Memory(full),
                NoRoom::Full { .. } => PeerError::Busy(state.calls.len()),
            };
            return Err((refused.into(), caller));
        }
        state.next_id = id.wrapping_add(1);
        let is_sooner = matches!(caller, Caller::Then(_)) && state.due.is_none_or(|due| deadline < due);
        if is_sooner {
            state.due = Some(deadline);
        }
        state.calls.insert(id, Call { kind: words::kind_of(what), slack: slack_of(what), caller });
        if state.pacing.put(state.calls.len())
            && let Some(writer) = &state.writer
        {
            let waiting = state.outbox.waiting();
            // What goes wrong here will for the task too.
            if let Ok(written) = writer.try_write(waiting.rest()) {
                waiting.advance(written);
                state.pacing.written();
            }
        }
        self.see_it_written(guard);
        if is_sooner {
            // It has to set its alarm.
            self.wake.notify_one();
        }
        Ok(id)
    }

    /// The caller has gone.
    fn abandon(&self, id: u64) {
        let mut state = self.lock();
        let caller = state.abandon(id, clock::now());
        self.see_it_written(state);
        drop(caller);
    }
}

impl Line for Link {
    fn send(&self, what: &Request, now: Instant, deadline: Instant, then: Then) -> bool {
        let allowed = deadline.saturating_duration_since(now);
        let timed = Timed { then, deadline, allowed, heard: self.heard.load(Relaxed) };
        match self.put(what, (now, deadline), Caller::Then(timed)) {
            Ok(_) => return self.home.is_some() && self.home == lone_here(),
            Err((Failure::Other(error), caller)) => caller.told(Err(error), now),
            Err((_, Caller::Then(timed))) => (timed.then)(Sent::Unseen, now),
            Err((_, Caller::Waits(_))) => {}
        }
        false
    }
}

/// One caller's wait for an answer; forgotten when that has come.
struct Wait<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.link.abandon(self.id);
    }
}

/// What the answer to this may hold beside a value, in bytes.
fn slack_of(what: &Request) -> u64 {
    let keys = if let Request::GetMany { keys, .. } = what { keys.len() } else { 0 };
    SLACK + (keys * PER_ANSWER) as u64
}
