//! What is asked on a connection and not answered yet: shared by those who ask and by the connection's task.
//!
//! Whoever waits no more leaves the count of those who do at once. His id is kept apart until the peer has answered it, so
//! that a late answer is not mistaken for one that nobody asked for: as many as may wait, and each for so long, see
//! `driver.rs`. When the connection ends, all who wait are told why.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::tcp::OwnedWriteHalf;
use tokio::runtime::Id;
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::message::Reply;
use crate::net::frame::Kind;
use crate::net::outbox::Outbox;
use crate::net::pacing::Pacing;
use crate::peers::{Sent, Then};
use crate::stats::{Cut, NodeStats};

/// A connection that stands, or has stood.
pub(super) struct Link {
    /// The peer's name, as it said it.
    pub(super) peer: Arc<str>,
    pub(super) limits: Arc<Limits>,
    pub(super) stats: Arc<NodeStats>,
    // std Mutex: held to put a request in or take an answer's caller out; by a caller who is alone, for one write that
    // does not wait.
    pub(super) state: Mutex<State>,
    /// There is something to write, or the connection is to end.
    pub(super) wake: Notify,
    /// Times that bytes have come in.
    pub(super) heard: AtomicU64,
    /// The runtime of its task, where that is one of one thread.
    pub(super) home: Option<Id>,
}

pub(super) struct State {
    pub(super) outbox: Outbox,
    /// What is not answered yet, and waited for.
    pub(super) calls: Calls,
    /// What is not answered yet, and wanted no more since then. The peer has been told, and a living one answers that at once.
    pub(super) abandoned: Abandoned,
    pub(super) next_id: u64,
    /// Who writes what is in the outbox.
    pub(super) pacing: Pacing,
    /// Shared with the task; gone once it is closed, so that the system closes it too.
    pub(super) writer: Option<Arc<OwnedWriteHalf>>,
    /// When a caller who does not wait is next due, as far as is known: it may have been answered by now.
    pub(super) due: Option<Instant>,
    /// Answers to what the peer asked that were put in since the task last took what waits.
    pub(super) refusals: usize,
    pub(super) phase: Phase,
}

/// By id.
pub(super) type Calls = HashMap<u64, Call, BuildHasherDefault<OwnIds>>;

/// By id.
pub(super) type Abandoned = HashMap<u64, Instant, BuildHasherDefault<OwnIds>>;

/// Ids are given here, one after the other, so nobody can choose those that collide.
#[derive(Default)]
pub(super) struct OwnIds(u64);

impl Hasher for OwnIds {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 over the golden ratio: neighbours differ in the low bits as in the high ones.
        self.0 = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

pub(super) enum Phase {
    Open,
    /// Nothing more is asked; it ends when nobody waits any more.
    Draining,
    /// All who waited have been told why.
    Closed(PeerError),
}

/// A request that is not answered yet.
pub(super) struct Call {
    pub(super) kind: Kind,
    /// What its answer may hold beside a value, in bytes.
    pub(super) slack: u64,
    pub(super) caller: Caller,
}

/// What an answer may be to.
pub(super) enum Asked {
    Call(Call),
    /// Nobody waits for it any more.
    Abandoned,
}

/// Who is told of an answer.
pub(super) enum Caller {
    /// Somebody who waits, and sees to his deadline himself.
    Waits(oneshot::Sender<Result<Reply, PeerError>>),
    /// Somebody who does not; the connection's task sees to his deadline.
    Then(Timed),
}

/// A request that ends by its deadline.
pub(super) struct Timed {
    pub(super) then: Then,
    pub(super) deadline: Instant,
    /// How long it had.
    pub(super) allowed: Duration,
    /// What had been heard when it was sent.
    pub(super) heard: u64,
}

impl Caller {
    pub(super) fn told(self, reply: Result<Reply, PeerError>, at: Instant) {
        match self {
            // He may have gone meanwhile.
            Self::Waits(caller) => drop(caller.send(reply)),
            Self::Then(timed) => (timed.then)(Sent::Answered(reply), at),
        }
    }
}

impl Link {
    /// Wakes the task if there is something to write and it does not know.
    pub(super) fn see_it_written(&self, mut state: MutexGuard<'_, State>) {
        if !state.outbox.is_empty() && state.pacing.tell() {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Asks nothing more, and ends when nobody waits any more.
    pub(super) fn drain(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Open) {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Ends it, for a reason that counts.
    pub(super) fn cut(&self, cut: Cut) {
        if self.close(&PeerError::broken(&format!("the connection was cut: {}", cut.as_str()))) {
            self.stats.cuts.add(cut);
        }
        self.wake.notify_one();
    }

    /// Lets everybody go. Whether it was not closed already.
    pub(super) fn close(&self, why: &PeerError) -> bool {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed(_)) {
            return false;
        }
        state.phase = Phase::Closed(why.clone());
        state.writer = None;
        let calls = std::mem::take(&mut state.calls);
        state.abandoned = Abandoned::default();
        state.outbox.clear();
        drop(state);
        let (heard, now) = (self.heard.load(Relaxed), clock::now());
        for call in calls.into_values() {
            match call.caller {
                // He is woken by this, and asks what happened.
                Caller::Waits(caller) => drop(caller),
                Caller::Then(timed) if timed.heard == heard => (timed.then)(Sent::Unseen, now),
                Caller::Then(timed) => (timed.then)(Sent::Answered(Err(why.clone())), now),
            }
        }
        true
    }

    // Every critical section leaves the state whole wherever it can panic.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The caller of this request wants it no more, and is given back.
    pub(super) fn abandon(&mut self, id: u64, now: Instant) -> Option<Caller> {
        let call = self.calls.remove(&id)?;
        // Where nothing of it was sent, the peer has not heard of it.
        if self.outbox.forget(id) != Some(0) {
            self.abandoned.insert(id, now);
            self.outbox.bare(id, Kind::CANCEL);
        }
        Some(call.caller)
    }

    /// What was asked under this id, which is answered now; `None`: nothing was, or it was answered before.
    pub(super) fn answered(&mut self, id: u64) -> Option<Asked> {
        let call = self.calls.remove(&id).map(Asked::Call);
        call.or_else(|| self.abandoned.remove(&id).map(|_since| Asked::Abandoned))
    }

    pub(super) fn ended(&self) -> PeerError {
        match &self.phase {
            Phase::Closed(why) => why.clone(),
            Phase::Open | Phase::Draining => PeerError::broken("the answer was dropped"),
        }
    }
}
