//! A connection of frames to a peer, on the side that asks.
//!
//! Callers put what they ask into one outbox, under a short lock, and wait for their ids to be answered, in any order.
//! A caller who is alone writes for himself. Else the connection's task does: it yields once, so that whoever is about
//! to ask can, and writes all of it with one call. There is no timer in that.
//! Whoever stops waiting abandons his id, and the peer is told; the id stays taken until it is answered, so that a late
//! answer is not mistaken for one that nobody asked for. When the connection ends, all who wait are told why.
//! Shared by all groups of a node. Never dials, and never asks twice.

mod driver;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::{Reply, Request};
use crate::net::frame::Kind;
use crate::net::inbox::Inbox;
use crate::net::outbox::Outbox;
use crate::net::wire::many::PER_ANSWER;
use crate::net::words;
use crate::peers::{Line, Sent, Then};
use crate::stats::{Cut, NodeStats};

/// What an answer may hold beside its value, in bytes.
const SLACK: u64 = 64 << 10;

/// A connection that stands, or has stood.
pub(super) struct Link {
    /// The peer's name, as it said it.
    peer: Arc<str>,
    limits: Arc<Limits>,
    stats: Arc<NodeStats>,
    // std Mutex: held to put a request in or take an answer's caller out; by a caller who is alone, for one write that
    // does not wait.
    state: Mutex<State>,
    /// There is something to write, or the connection is to end.
    wake: Notify,
    /// Times that bytes have come in.
    heard: AtomicU64,
}

struct State {
    outbox: Outbox,
    /// What is not answered yet.
    calls: HashMap<u64, Call>,
    next_id: u64,
    /// The task writes, or has been told to. If not, there is nothing to write.
    is_writing: bool,
    /// Shared with the task; gone once it is closed, so that the system closes it too.
    writer: Option<Arc<OwnedWriteHalf>>,
    /// When a caller who does not wait is next due, as far as is known: it may have been answered by now.
    due: Option<Instant>,
    phase: Phase,
}

enum Phase {
    Open,
    /// Nothing more is asked; it ends with the last answer.
    Draining,
    /// All who waited have been told why.
    Closed(PeerError),
}

/// A request that is not answered yet.
struct Call {
    kind: Kind,
    /// What its answer may hold beside a value, in bytes.
    slack: u64,
    /// `None`: abandoned.
    caller: Option<Caller>,
}

/// Who is told of an answer.
enum Caller {
    /// Somebody who waits, and sees to his deadline himself.
    Waits(oneshot::Sender<Result<Reply, PeerError>>),
    /// Somebody who does not; the connection's task sees to his deadline.
    Then(Timed),
}

/// A request that ends by its deadline.
struct Timed {
    then: Then,
    deadline: Instant,
    /// How long it had.
    allowed: Duration,
    /// What had been heard when it was sent.
    heard: u64,
}

impl Caller {
    fn told(self, reply: Result<Reply, PeerError>) {
        match self {
            // He may have gone meanwhile.
            Self::Waits(caller) => drop(caller.send(reply)),
            Self::Then(timed) => (timed.then)(Sent::Answered(reply)),
        }
    }
}

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
    ) -> Arc<Self> {
        let (reader, writer) = stream.into_split();
        let outbox = Outbox::new(&limits.memory, limits.bodies.as_u64());
        let writer = Arc::new(writer);
        let state = State {
            outbox,
            calls: HashMap::new(),
            next_id: 1,
            is_writing: false,
            writer: Some(writer.clone()),
            due: None,
            phase: Phase::Open,
        };
        let (state, wake, heard) = (Mutex::new(state), Notify::new(), AtomicU64::new(0));
        let link = Arc::new(Self { peer, limits, stats, state, wake, heard });
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
        let value = if let Request::Set { value, .. } = what { value.len() } else { 0 };
        let has_room = state.outbox.has_room() && state.outbox.has_room_for(value);
        if !has_room || state.calls.len() >= self.limits.waiting_per_peer {
            return Err((PeerError::Busy(state.calls.len()).into(), caller));
        }
        let id = state.next_id;
        if let Err(full) = words::ask(&mut state.outbox, id, what, (now, deadline)) {
            return Err((PeerError::Memory(full).into(), caller));
        }
        state.next_id = id.wrapping_add(1);
        let is_sooner = matches!(caller, Caller::Then(_)) && state.due.is_none_or(|due| deadline < due);
        if is_sooner {
            state.due = Some(deadline);
        }
        state
            .calls
            .insert(id, Call { kind: words::kind_of(what), slack: slack_of(what), caller: Some(caller) });
        if state.calls.len() == 1
            && !state.is_writing
            && let Some(writer) = &state.writer
        {
            let waiting = state.outbox.waiting();
            // What goes wrong here will for the task too.
            if let Ok(written) = writer.try_write(waiting.rest()) {
                waiting.advance(written);
            }
        }
        self.see_it_written(guard);
        if is_sooner {
            // It has to set its alarm.
            self.wake.notify_one();
        }
        Ok(id)
    }

    /// Wakes the task if there is something to write and it does not know.
    fn see_it_written(&self, mut state: MutexGuard<'_, State>) {
        if !state.is_writing && !state.outbox.is_empty() {
            state.is_writing = true;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// The caller has gone.
    fn abandon(&self, id: u64) {
        let mut state = self.lock();
        let caller = state.abandon(id);
        self.see_it_written(state);
        drop(caller);
    }

    /// Asks nothing more, and ends with the last answer.
    pub(super) fn drain(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends it, for a reason that counts.
    fn cut(&self, cut: Cut) {
        if self.close(&broken(&format!("the connection was cut: {}", cut.as_str()))) {
            self.stats.cuts.add(cut);
        }
        self.wake.notify_one();
    }

    /// Lets everybody go. Whether it was not closed already.
    fn close(&self, why: &PeerError) -> bool {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed(_)) {
            return false;
        }
        state.phase = Phase::Closed(why.clone());
        state.writer = None;
        let calls = std::mem::take(&mut state.calls);
        state.outbox = Outbox::new(&self.limits.memory, 0);
        drop(state);
        let heard = self.heard.load(Relaxed);
        for caller in calls.into_values().filter_map(|call| call.caller) {
            match caller {
                // He is woken by this, and asks what happened.
                Caller::Waits(caller) => drop(caller),
                Caller::Then(timed) if timed.heard == heard => (timed.then)(Sent::Unseen),
                Caller::Then(timed) => (timed.then)(Sent::Answered(Err(why.clone()))),
            }
        }
        true
    }

    // Every critical section leaves the state whole wherever it can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The caller of this request wants it no more, and is given back. The id stays taken until the peer has answered.
    fn abandon(&mut self, id: u64) -> Option<Caller> {
        let caller = self.calls.get_mut(&id)?.caller.take();
        if self.outbox.forget(id) == Some(0) {
            // The peer has not heard of it.
            self.calls.remove(&id);
        } else {
            self.outbox.bare(id, Kind::CANCEL);
        }
        caller
    }

    fn ended(&self) -> PeerError {
        match &self.phase {
            Phase::Closed(why) => why.clone(),
            Phase::Open | Phase::Draining => broken("the answer was dropped"),
        }
    }
}

impl Line for Link {
    fn send(&self, what: &Request, now: Instant, deadline: Instant, then: Then) {
        let allowed = deadline.saturating_duration_since(now);
        let timed = Timed { then, deadline, allowed, heard: self.heard.load(Relaxed) };
        match self.put(what, (now, deadline), Caller::Then(timed)) {
            Ok(_) => {}
            Err((Failure::Other(error), caller)) => caller.told(Err(error)),
            Err((_, Caller::Then(timed))) => (timed.then)(Sent::Unseen),
            Err((_, Caller::Waits(_))) => {}
        }
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

fn broken(why: &str) -> PeerError {
    PeerError::Broken(Arc::from(why))
}
