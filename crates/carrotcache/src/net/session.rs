//! A peer's connection of frames, on the side that answers.
//!
//! One task reads all there is, answers at once what memory can, and writes that with one call; only what has to wait,
//! for a load as a rule, takes a task of its own, and is answered when it lands. So a ping is answered however many
//! loads hang. Each request is answered once, also one that is cancelled.
//! Nothing here is unbounded: what may be under way for one peer and for all, what bodies may hold, what may wait to be
//! written. A peer that takes nothing is read no further, and cut in time, as is one that lets a deadline pass.
//! Runs in the connection's task of a `listen::Serving`; never asks the peer anything.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::{DecodeError, Message};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinError, JoinSet};

use crate::clock;
use crate::limits::Limits;
use crate::message::{Change, Reply, Request};
use crate::net::frame::{BODY_MAX, Class, Frame, Kind, Malformed};
use crate::net::http1::Taken;
use crate::net::inbox::Inbox;
use crate::net::intake::{Intake, NoRoom, Share};
use crate::net::outbox::{Batch, KEYS, Outbox};
use crate::net::reached::Answer;
use crate::net::upgrade::Hello;
use crate::net::wire::framed::GetKeys;
use crate::net::wire::in_place::KeysAsked;
use crate::net::wire::many::{self, PER_OWN};
use crate::net::words::{self, Asked};
use crate::stats::{Cut, NodeStats, Refusal};
use crate::units::{GroupName, Key};

/// What a message may hold beside its value, in bytes.
pub(super) const SLACK: u64 = 64 << 10;

/// For a peer that has every answer to close, when this node leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// What all connections of a port go by, and share.
pub(super) struct Desk {
    pub(super) answer: Answer,
    /// One for each request that waits, on any wire.
    pub(super) in_flight: Arc<Semaphore>,
    /// Of sets, until they are done.
    pub(super) bodies: Intake,
    pub(super) limits: Limits,
    pub(super) stats: Arc<NodeStats>,
    pub(super) hello: Hello,
}

impl Desk {
    /// Why there can be no such key; groups of the family may have an empty one, ours have none in any row.
    pub(super) fn refuse_key(&self, key: &[u8]) -> Option<Reply> {
        let limit = self.limits.key.as_u64();
        if key.is_empty() {
            self.stats.refusals.add(Refusal::Key);
            Some(Reply::BadRequest(Arc::from("key is required")))
        } else if key.len() as u64 > limit {
            self.stats.refusals.add(Refusal::Key);
            let why = format!("key of {} bytes is over the limit of {limit}", key.len());
            Some(Reply::TooLarge(Arc::from(why)))
        } else {
            None
        }
    }

    pub(super) fn busy(&self, limit: usize) -> Reply {
        self.stats.refusals.add(Refusal::InFlight);
        Reply::Busy(format!("{limit} requests from peers in flight").into())
    }

    pub(super) fn busy_with(&self, full: NoRoom) -> Reply {
        self.stats.refusals.add(full.cause());
        Reply::Busy(full.to_string().into())
    }

    pub(super) fn malformed(&self, why: &str) -> Reply {
        self.stats.refusals.add(Refusal::Malformed);
        Reply::BadRequest(Arc::from(why))
    }

    pub(super) fn too_many_keys(&self, why: &str) -> Reply {
        self.stats.refusals.add(Refusal::Malformed);
        Reply::TooLarge(Arc::from(why))
    }

    pub(super) fn value_too_large(&self, length: u64) -> Reply {
        self.stats.refusals.add(Refusal::Value);
        let limit = self.limits.value.as_u64();
        Reply::TooLarge(Arc::from(format!("value of {length} bytes is over the limit of {limit}")))
    }
}

/// Answers a peer on its connection until either side ends it.
pub(super) async fn attend(desk: Arc<Desk>, taken: Taken) {
    let Taken { mut stream, read, mut stop } = taken;
    let (reader, writer) = stream.split();
    let session = Session::new(&desk);
    if let End::Cut(cut) = session.run(Inbox::new(&read), reader, writer, stop.told()).await {
        desk.stats.cuts.add(cut);
        tracing::debug!(cause = cut.as_str(), "a peer's connection is cut");
    }
}

/// How a connection ended.
enum End {
    /// By the peer, or in good order.
    Closed,
    /// By us, and why.
    Cut(Cut),
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> Self {
        Self::Cut(Cut::Malformed)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

struct Session<'a> {
    desk: &'a Desk,
    outbox: Outbox,
    /// What waits for its answer.
    under_way: JoinSet<(u64, Reply)>,
    /// The same by id; whoever takes an id out of here answers it.
    unanswered: HashMap<u64, AbortHandle>,
    /// Messages of which more is to come.
    parts: HashMap<u64, Part<'a>>,
    /// A whole frame has come.
    is_heard: bool,
    /// Since when nothing was asked and nothing answered.
    quiet: Instant,
    /// Since when the peer has taken nothing of what there is for it.
    stalled: Option<Instant>,
    /// It is told to go elsewhere; until when it is waited for, once everything is answered.
    leaving: Option<Instant>,
}

/// A message of which more is to come.
struct Part<'a> {
    kind: Kind,
    body: Vec<u8>,
    share: Share<'a>,
    /// It is read to its end and dropped.
    refused: Option<Reply>,
    since: Instant,
}

impl<'a> Session<'a> {
    fn new(desk: &'a Desk) -> Self {
        Self {
            desk,
            outbox: Outbox::new(&desk.limits.memory, desk.limits.bodies.as_u64()),
            under_way: JoinSet::new(),
            unanswered: HashMap::new(),
            parts: HashMap::new(),
            is_heard: false,
            quiet: clock::now(),
            stalled: None,
            leaving: None,
        }
    }

    async fn run(
        mut self,
        mut inbox: Inbox,
        mut reader: ReadHalf<'_>,
        writer: WriteHalf<'_>,
        stopped: impl Future<Output = ()>,
    ) -> End {
        let mut batch = Batch::new(&self.desk.limits.memory);
        let mut stopped = pin!(stopped);
        let mut look = pin!(clock::sleep(self.patience()));
        loop {
            let step = async {
                let is_hungry = self.take_in(&mut inbox)?;
                self.write(&mut batch, &writer)?;
                if !is_hungry && self.outbox.has_room() {
                    return Ok(());
                }
                let unwritten = !batch.is_empty() || !self.outbox.is_empty();
                let is_leaving = self.leaving.is_some();
                tokio::select! {
                    read = inbox.read(&mut reader), if is_hungry => {
                        if read? == 0 {
                            return Err(End::Closed);
                        }
                        self.quiet = clock::now();
                        if inbox.is_filled() {
                            tokio::task::yield_now().await;
                        }
                    }
                    ready = writer.writable(), if unwritten => ready?,
                    Some(landed) = self.under_way.join_next(), if self.outbox.has_room() => self.land(landed),
                    () = stopped.as_mut(), if !is_leaving => {
                        self.leave(FAREWELL);
                        look.set(clock::sleep(FAREWELL));
                    }
                    () = look.as_mut() => {
                        self.look(&inbox, unwritten)?;
                        look.set(clock::sleep(self.patience()));
                    }
                }
                Ok::<_, End>(())
            };
            if let Err(end) = step.await {
                return end;
            }
        }
    }

    /// Takes every whole frame for which there is room to answer; whether there is none left.
    fn take_in(&mut self, inbox: &mut Inbox) -> Result<bool, End> {
        while self.outbox.has_room() {
            let Some(frame) = inbox.next()? else { return Ok(true) };
            self.is_heard = true;
            match frame.kind.class() {
                Class::Request => self.request(frame)?,
                Class::Notice if frame.kind == Kind::CANCEL => self.cancel(frame.id),
                Class::Notice => {}
                // We ask nothing.
                Class::Answer => return Err(End::Cut(Cut::Unasked)),
            }
        }
        Ok(false)
    }

    /// Writes once.
    fn write(&mut self, batch: &mut Batch, writer: &WriteHalf<'_>) -> Result<(), End> {
        if batch.is_empty() {
            if self.outbox.is_empty() {
                return Ok(());
            }
            self.outbox.fill(batch);
        }
        match writer.try_write(batch.rest()) {
            Ok(written) => {
                batch.advance(written);
                self.stalled = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stalled.get_or_insert_with(clock::now);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn request(&mut self, frame: Frame<'_>) -> Result<(), End> {
        if self.unanswered.contains_key(&frame.id) || self.outbox.is_sending(frame.id, 1) {
            return Err(End::Cut(Cut::Unasked));
        }
        if frame.more || self.parts.contains_key(&frame.id) {
            return self.part(frame);
        }
        if matches!(frame.kind, Kind::GET | Kind::GET_MANY) {
            return self.gets(frame.id, frame.kind, frame.body);
        }
        let mut share = self.desk.bodies.share();
        let brings_value = matches!(frame.kind, Kind::SET | Kind::CHANGE);
        match share.grow(if brings_value { frame.body.len() as u64 } else { 0 }) {
            Ok(()) => self.whole(frame.id, frame.kind, Bytes::copy_from_slice(frame.body)),
            Err(full) => {
                self.reply(frame.id, self.desk.busy_with(full));
                Ok(())
            }
        }
    }

    /// A part of a message, or its end. Only what brings a value, or many keys, has cause to be longer than a frame.
    fn part(&mut self, frame: Frame<'_>) -> Result<(), End> {
        let desk = self.desk;
        if self.parts.len() >= desk.limits.in_flight_per_connection && !self.parts.contains_key(&frame.id) {
            return Err(End::Cut(Cut::Malformed));
        }
        let part = self.parts.entry(frame.id).or_insert_with(|| Part {
            kind: frame.kind,
            body: Vec::new(),
            share: desk.bodies.share(),
            refused: None,
            since: clock::now(),
        });
        if part.kind != frame.kind {
            return Err(End::Cut(Cut::Malformed));
        }
        part.take(desk, frame.body);
        if !frame.more
            && let Some(Part { body, refused, share, .. }) = self.parts.remove(&frame.id)
        {
            match refused {
                Some(refused) => self.reply(frame.id, refused),
                None => self.whole(frame.id, frame.kind, body.into())?,
            }
            drop(share);
        }
        Ok(())
    }

    /// A request that is there to its last byte. What its body is charged is given back when this returns: a node does
    /// at once what it is told, and only gets wait.
    fn whole(&mut self, id: u64, kind: Kind, body: Bytes) -> Result<(), End> {
        if kind == Kind::GET_MANY {
            return self.gets(id, kind, &body);
        }
        match words::asked(kind, body) {
            Ok(Asked::One(what)) => self.ask(id, what, None),
            Ok(Asked::Ping) => self.outbox.bare(id, Kind::PONG),
            Ok(Asked::NoGroup) => self.no_group(id),
            Ok(Asked::NoSense(why)) => self.reply(id, self.desk.malformed(why)),
            Ok(Asked::Unsupported) => self.reply(id, Reply::Unsupported),
            Err(error) => self.no_message(id, kind, &error),
        }
        Ok(())
    }

    fn no_message(&mut self, id: u64, kind: Kind, error: &DecodeError) {
        let refused = self.desk.malformed(&format!("the body is no message of {kind:?}: {error}"));
        self.reply(id, refused);
    }

    /// What is asked most: read where it lies, and answered without more ado as far as memory can.
    fn gets(&mut self, id: u64, kind: Kind, body: &[u8]) -> Result<(), End> {
        let by_prost;
        let asked = match KeysAsked::read(body) {
            Some(asked) => asked,
            None => match GetKeys::decode(body) {
                Ok(asked) => {
                    by_prost = asked;
                    KeysAsked::from(&by_prost)
                }
                Err(error) => {
                    self.no_message(id, kind, &error);
                    return Ok(());
                }
            },
        };
        if kind == Kind::GET {
            return self.each_of(id, &asked);
        }
        self.all_of(id, &asked);
        Ok(())
    }

    /// The keys of a `GET`, each under its own id.
    fn each_of(&mut self, id: u64, asked: &KeysAsked<'_>) -> Result<(), End> {
        let KeysAsked { group, stand_in, cached_only, ref keys, .. } = *asked;
        let id_of = |at: usize| id.wrapping_add(at as u64);
        let is_taken = |id: &u64| self.unanswered.contains_key(id) || self.parts.contains_key(id);
        let are_some_taken = !self.unanswered.is_empty() || !self.parts.is_empty();
        if self.outbox.is_sending(id, keys.len() as u64)
            || are_some_taken && (0..keys.len()).any(|at| is_taken(&id_of(at)))
        {
            return Err(End::Cut(Cut::Unasked));
        }
        let desk = self.desk;
        if keys.is_empty() {
            self.reply(id, desk.malformed("a GET without a key"));
            return Ok(());
        }
        if keys.len() as u64 > KEYS {
            // What one frame has to wait for it could not be told of otherwise.
            self.reply(id, desk.too_many_keys(&format!("more than {KEYS} keys in one GET")));
            return Ok(());
        }
        let (mut missing, mut next) = (Vec::new(), 0);
        desk.answer.look(group, keys, &mut |at, found| {
            missing.extend(next..at);
            next = at + 1;
            self.reply(id_of(at), Reply::Found(found));
        });
        missing.extend(next..keys.len());
        if missing.is_empty() {
            return Ok(());
        }
        let group = GroupName::new(group).ok();
        for at in missing {
            match &group {
                Some(group) => {
                    let (group, key) = (group.clone(), Key::new(keys[at]));
                    self.ask(id_of(at), Request::Get { group, key, stand_in, cached_only }, asked.within());
                }
                None => self.no_group(id_of(at)),
            }
        }
        Ok(())
    }

    /// The keys of a `GET_MANY`, in one answer.
    fn all_of(&mut self, id: u64, asked: &KeysAsked<'_>) {
        let KeysAsked { group, stand_in, cached_only, ref keys, .. } = *asked;
        // As many as go in one frame are written where they are found.
        let desk = self.desk;
        let room = keys.len().checked_mul(PER_OWN).and_then(|beside| BODY_MAX.checked_sub(beside));
        if let Some(room) = room.filter(|_| self.outbox.has_room()) {
            let written = self.outbox.written(id, Kind::MANY, |out| {
                let mut values = 0;
                let is_all = desk.answer.look_for_all(group, keys, room, &mut |found| {
                    values += found.value.len();
                    many::put_found(&found, &desk.hello.node, out);
                });
                is_all.then_some(values)
            });
            match written {
                Ok(true) => return,
                Ok(false) => {}
                Err(full) => return self.reply(id, desk.busy_with(full.into())),
            }
        }
        let Ok(group) = GroupName::new(group) else { return self.no_group(id) };
        let keys = keys.iter().map(|key| Key::new(key)).collect();
        self.ask(id, Request::GetMany { group, keys, stand_in, cached_only }, asked.within());
    }

    fn no_group(&mut self, id: u64) {
        self.desk.stats.refusals.add(Refusal::NoGroup);
        self.reply(id, Reply::NoGroup);
    }

    /// Asks the node. What it answers at once goes out at once; for what it has to wait for there is a task.
    fn ask(&mut self, id: u64, what: Request, within: Option<Duration>) {
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
        let task = self.under_way.spawn(async move {
            let _place = place;
            let reply = match deadline {
                Some(deadline) => clock::timeout_at(deadline, answer).await.unwrap_or(Reply::Deadline),
                None => answer.await,
            };
            (id, reply)
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

    fn reply(&mut self, id: u64, reply: Reply) {
        let own = &self.desk.hello.node;
        let refused = match &reply {
            reply if !self.outbox.has_room_for(reply.value_bytes()) => self.full(),
            _ => match words::reply(&mut self.outbox, id, reply, own) {
                Ok(()) => return,
                Err(full) => self.desk.busy_with(full.into()),
            },
        };
        // Without a value there is room.
        let _ = words::reply(&mut self.outbox, id, refused, own);
    }

    fn full(&self) -> Reply {
        self.desk.stats.refusals.add(Refusal::InFlight);
        Reply::Busy(Arc::from("values that wait to be sent"))
    }

    /// What waited has its answer, and so perhaps has more.
    fn land(&mut self, landed: Result<(u64, Reply), JoinError>) {
        let mut next = Some(landed);
        while let Some(landed) = next {
            match landed {
                Ok((id, reply)) if self.unanswered.remove(&id).is_some() => self.reply(id, reply),
                Ok(_) => {}
                // One that panicked breaks the connection it happened on, as it does over HTTP.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_) => {}
            }
            next = if self.outbox.has_room() { self.under_way.try_join_next() } else { None };
        }
        self.quiet = clock::now();
    }

    /// Not wanted any more. What is answered already is not answered again.
    fn cancel(&mut self, id: u64) {
        let was_coming = self.parts.remove(&id).is_some();
        let was_waiting = self.unanswered.remove(&id).map(|task| task.abort()).is_some();
        // Of a long answer this is the last frame then.
        if was_coming || was_waiting || self.outbox.forget(id).is_some() {
            self.outbox.bare(id, Kind::CANCELLED);
        }
    }

    /// Tells the peer to go elsewhere. It closes when it has all its answers.
    fn leave(&mut self, patience: Duration) {
        self.leaving = Some(clock::after(clock::now(), patience));
        self.outbox.bare(0, Kind::DRAIN);
    }

    /// How long until the next look at the clock: as often as the shortest deadline is enough to be on time.
    fn patience(&self) -> Duration {
        let patience = self.desk.limits.header_timeout.min(self.desk.limits.idle_timeout);
        if self.leaving.is_some() { patience.min(FAREWELL) } else { patience }
    }

    /// Whether a deadline has passed.
    fn look(&mut self, inbox: &Inbox, unwritten: bool) -> Result<(), End> {
        let (now, limits) = (clock::now(), &self.desk.limits);
        let is_past = |since, span| clock::after(since, span) <= now;
        let is_late =
            |since: Option<Instant>| since.is_some_and(|since| is_past(since, limits.header_timeout));
        if self.stalled.is_some_and(|_| unwritten) && is_late(self.stalled) {
            return Err(End::Cut(Cut::Stalled));
        }
        let parts = self.parts.values().map(|part| part.since).min();
        let never = (!self.is_heard).then_some(self.quiet);
        if is_late(inbox.begun())
            || is_late(never)
            || parts.is_some_and(|since| is_past(since, limits.idle_timeout))
        {
            return Err(End::Cut(Cut::Overdue));
        }
        let is_idle = self.under_way.is_empty() && self.parts.is_empty() && !unwritten;
        match self.leaving {
            Some(until) if is_idle && until <= now => return Err(End::Closed),
            None if is_idle && is_past(self.quiet, limits.idle_timeout) => self.leave(limits.header_timeout),
            _ => {}
        }
        Ok(())
    }
}

impl Part<'_> {
    fn take(&mut self, desk: &Desk, more: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        let length = (self.body.len() + more.len()) as u64;
        let limit = match self.kind {
            Kind::SET | Kind::CHANGE => desk.limits.value.as_u64().saturating_add(SLACK),
            Kind::GET_MANY => Limits::KEYS_BODY.as_u64() + SLACK,
            _ => BODY_MAX as u64,
        };
        if length > limit {
            self.refuse(desk.value_too_large(length));
        } else if let Err(full) = self.share.grow(more.len() as u64) {
            self.refuse(desk.busy_with(full));
        } else {
            self.body.extend_from_slice(more);
        }
    }

    fn refuse(&mut self, refused: Reply) {
        self.body = Vec::new();
        self.share.release();
        self.refused = Some(refused);
    }
}
