//! What is under way for one peer that asks in frames, and how it is answered.
//!
//! The node is asked, and what it says at once goes out at once; what it has to wait for takes a task. Each id is answered
//! once, also one that is cancelled; what a peer may have under way is bounded, and so is what waits for it to read.
//! Never reads or writes a socket: `session.rs` does.

use std::collections::HashMap;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use prost::DecodeError;
use tokio::task::{self, AbortHandle, JoinError, JoinSet};

use crate::clock;
use crate::limits::Limits;
use crate::message::{Change, Reply, Request};
use crate::net::desk::Desk;
use crate::net::frame::Kind;
use crate::net::intake::{NoRoom, Share};
use crate::net::outbox::Outbox;
use crate::net::words;
use crate::stats::Refusal;

/// Of what long values that wait may hold, one connection has no more than this part, or one of them.
const SHARE: u64 = 2;

/// A value that is shorter needs no room while its answer waits to be put in: as many as may be under way for one peer are
/// then 20 MiB.
const SHORT: usize = 4 << 10;

/// What one peer has asked.
pub(super) struct Service<'a> {
    pub(super) desk: &'a Desk,
    pub(super) outbox: Outbox,
    /// What waits for its answer.
    under_way: JoinSet<Landed>,
    /// The same by id; whoever takes an id out of here answers it.
    unanswered: HashMap<u64, AbortHandle>,
}

/// What waited has its answer.
pub(super) struct Landed {
    id: u64,
    reply: Result<Reply, NoRoom>,
    /// Until the outbox has it: a peer that reads nothing has that wait as well.
    held: Share,
}

impl<'a> Service<'a> {
    pub(super) fn new(desk: &'a Desk) -> Self {
        // Of long ones no peer leaves the others without room.
        let outbox = Outbox::new(&desk.answers, desk.answers.most() / SHARE);
        Self { desk, outbox, under_way: JoinSet::new(), unanswered: HashMap::new() }
    }

    /// Whether nothing waits for its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Whether one of so many ids from this one on has no answer yet, or not the last of it.
    pub(super) fn is_any_unanswered(&self, first: u64, count: u64) -> bool {
        let waits = |id| self.unanswered.contains_key(&id);
        self.outbox.is_sending(first, count)
            || !self.unanswered.is_empty() && (0..count).any(|nth| waits(first.wrapping_add(nth)))
    }

    /// The next that has its answer; `None` when nothing waits. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Result<(task::Id, Landed), JoinError>> {
        self.under_way.join_next_with_id().await
    }

    pub(super) fn no_message(&mut self, id: u64, kind: Kind, error: &DecodeError) {
        let refused = self.desk.malformed(&format!("the body is no message of {kind:?}: {error}"));
        self.reply(id, refused);
    }

    pub(super) fn no_group(&mut self, id: u64) {
        self.desk.stats.refusals.add(Refusal::NoGroup);
        self.reply(id, Reply::NoGroup);
    }

    /// Asks the node. What it answers at once goes out at once; for what it has to wait for there is a task.
    pub(super) fn ask(&mut self, id: u64, what: Request, within: Option<Duration>) {
        if let Some(refused) = self.refuse(&what) {
            return self.reply(id, refused);
        }
        let limits = &self.desk.limits;
        if self.under_way.len() >= limits.in_flight_per_connection {
            return self.reply(id, self.desk.busy(limits.in_flight_per_connection));
        }
        let Ok(place) = self.desk.in_flight.clone().try_acquire_owned() else {
            return self.reply(id, self.desk.busy(limits.in_flight));
        };
        let mut answer = self.desk.answer.answer(what);
        // Whoever is polled in vain is polled again by the task, and learns there whom to wake.
        if let Poll::Ready(reply) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            drop(place);
            return self.reply(id, reply);
        }
        let deadline = within.map(|within| clock::after(clock::now(), within));
        let mut held = self.desk.answers.share();
        let task = self.under_way.spawn(async move {
            let _place = place;
            let reply = match deadline {
                Some(deadline) => clock::timeout_at(deadline, answer).await.unwrap_or(Reply::Deadline),
                None => answer.await,
            };
            let length = reply.value_bytes();
            let room = if length < SHORT { Ok(()) } else { held.grow(length as u64) };
            Landed { id, reply: room.map(|()| reply), held }
        });
        self.unanswered.insert(id, task);
    }

    /// Why the node is not asked this.
    fn refuse(&self, what: &Request) -> Option<Reply> {
        match what {
            Request::Get { key, .. } | Request::Remove { key, .. } | Request::Held { key, .. } => {
                self.desk.refuse_key(key.as_bytes())
            }
            Request::Change { key, change: Change::Expire { .. } | Change::Remove, .. } => {
                self.desk.refuse_key(key.as_bytes())
            }
            Request::Set { key, value, .. }
            | Request::Change { key, change: Change::Set { value, .. }, .. } => {
                self.desk.refuse_key(key.as_bytes()).or_else(|| {
                    let length = value.len() as u64;
                    (length > self.desk.limits.value.as_u64()).then(|| self.desk.value_too_large(length))
                })
            }
            Request::GetMany { keys, .. } => (keys.len() > Limits::KEYS_MAX).then(|| {
                self.desk.too_many_keys(&format!("more than {} keys in one request", Limits::KEYS_MAX))
            }),
            Request::Clear { .. } | Request::Id | Request::Members => None,
        }
    }

    pub(super) fn reply(&mut self, id: u64, reply: Reply) {
        let own = &self.desk.hello.node;
        if let Err(full) = words::reply(&mut self.outbox, id, reply, own) {
            // For that there is room.
            let _ = words::reply(&mut self.outbox, id, self.desk.busy_with(full), own);
        }
    }

    /// What waited has its answer, and so perhaps has more.
    pub(super) fn land(&mut self, landed: Result<(task::Id, Landed), JoinError>) {
        let mut next = Some(landed);
        while let Some(landed) = next {
            match landed {
                Ok((task, Landed { id, reply, held })) => {
                    // Its id may be free and taken again, where it was cancelled when it had just ended.
                    if self.unanswered.get(&id).is_some_and(|waits| waits.id() == task) {
                        self.unanswered.remove(&id);
                        drop(held);
                        self.reply(id, reply.unwrap_or_else(|full| self.desk.busy_with(full)));
                    }
                }
                // One that panicked breaks the connection it happened on, as it does over HTTP.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
            next = if self.outbox.has_room() { self.under_way.try_join_next_with_id() } else { None };
        }
    }

    /// Not wanted any more, whether or not its request had come to its end. What is answered already is not answered
    /// again.
    pub(super) fn cancel(&mut self, id: u64, was_coming: bool) {
        let was_waiting = self.unanswered.remove(&id).map(|task| task.abort()).is_some();
        // Of a long answer this is the last frame then.
        if was_coming || was_waiting || self.outbox.forget(id).is_some() {
            self.outbox.bare(id, Kind::CANCELLED);
        }
    }
}
