//! A connection of frames to a peer, on the side that asks.
//!
//! Callers put what they ask into one outbox, under a short lock, and wait for their ids to be answered, in any order.
//! A caller who is alone writes for himself. Else the connection's task does: it yields once, so that whoever is about
//! to ask can, and writes all of it with one call. There is no timer in that.
//! Whoever stops waiting abandons his id, and the peer is told; the id stays taken until it is answered, so that a late
//! answer is not mistaken for one that nobody asked for. When the connection ends, all who wait are told why.
//! Shared by all groups of a node. Never dials, and never asks twice.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use crate::clock;
use crate::error::PeerError;
use crate::limits::Limits;
use crate::memory::Charge;
use crate::message::{Reply, Request};
use crate::net::frame::{Class, Frame, Kind, Malformed};
use crate::net::inbox::Inbox;
use crate::net::outbox::{Batch, Outbox};
use crate::net::wire::many::PER_ANSWER;
use crate::net::words;
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
    caller: Option<oneshot::Sender<Result<Reply, PeerError>>>,
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
            phase: Phase::Open,
        };
        let (state, wake, heard) = (Mutex::new(state), Notify::new(), AtomicU64::new(0));
        let link = Arc::new(Self { peer, limits, stats, state, wake, heard });
        tokio::spawn(drive(link.clone(), reader, writer, Inbox::new(read)));
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
        let now = clock::now();
        let mut guard = self.lock();
        let state = &mut *guard;
        if !matches!(state.phase, Phase::Open) {
            return Err(Failure::Gone);
        }
        let value = if let Request::Set { value, .. } = what { value.len() } else { 0 };
        let has_room = state.outbox.has_room() && state.outbox.has_room_for(value);
        if !has_room || state.calls.len() >= self.limits.waiting_per_peer {
            return Err(PeerError::Busy(state.calls.len()).into());
        }
        let id = state.next_id;
        words::ask(&mut state.outbox, id, what, (now, deadline)).map_err(PeerError::Memory)?;
        state.next_id = id.wrapping_add(1);
        let (caller, reply) = oneshot::channel();
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
        Ok((id, reply))
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
        let Some(call) = state.calls.get_mut(&id) else { return };
        call.caller = None;
        if state.outbox.forget(id) == Some(0) {
            // The peer has not heard of it.
            state.calls.remove(&id);
        } else {
            state.outbox.bare(id, Kind::CANCEL);
        }
        self.see_it_written(state);
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
        if self.close(broken(&format!("the connection was cut: {}", cut.as_str()))) {
            self.stats.cuts.add(cut);
        }
        self.wake.notify_one();
    }

    /// Lets everybody go. Whether it was not closed already.
    fn close(&self, why: PeerError) -> bool {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed(_)) {
            return false;
        }
        state.phase = Phase::Closed(why);
        state.writer = None;
        let calls = std::mem::take(&mut state.calls);
        state.outbox = Outbox::new(&self.limits.memory, 0);
        drop(state);
        // Their callers are woken by this.
        drop(calls);
        true
    }

    // Every critical section leaves the state whole wherever it can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ended(&self) -> PeerError {
        match &self.phase {
            Phase::Closed(why) => why.clone(),
            Phase::Open | Phase::Draining => broken("the answer was dropped"),
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

/// How a connection ended.
enum End {
    /// By the peer, or of itself.
    Closed(PeerError),
    /// By us, and why.
    Cut(Cut),
}

impl From<Malformed> for End {
    fn from(_: Malformed) -> Self {
        Self::Cut(Cut::Malformed)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Closed(broken(&error.to_string()))
    }
}

/// The connection's task.
async fn drive(link: Arc<Link>, reader: OwnedReadHalf, writer: Arc<OwnedWriteHalf>, inbox: Inbox) {
    // Also when its runtime stops.
    let closing = Closing(&link);
    match Driver::new(&link, writer, inbox).run(reader).await {
        End::Closed(why) => drop(link.close(why)),
        End::Cut(cut) => {
            tracing::debug!(peer = &*link.peer, cause = cut.as_str(), "the connection to a peer is cut");
            link.cut(cut);
        }
    }
    drop(closing);
}

struct Closing<'a>(&'a Link);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close(broken("the connection's task ended"));
    }
}

/// What the connection's task alone knows.
struct Driver<'a> {
    link: &'a Link,
    writer: Arc<OwnedWriteHalf>,
    inbox: Inbox,
    batch: Batch,
    /// Answers of which more is to come.
    parts: HashMap<u64, Part>,
    /// Answers that came with one read.
    whole: Vec<Whole>,
    /// Since when nothing has come.
    quiet: Instant,
    /// Since when the peer has taken nothing of what there is for it.
    stalled: Option<Instant>,
}

/// An answer of which more is to come.
struct Part {
    kind: Kind,
    body: BytesMut,
    /// What it may hold beside a value, in bytes.
    slack: u64,
    charge: Charge,
    /// It is read to its end and dropped.
    refused: Option<PeerError>,
}

/// An answer that is there to its last byte.
struct Whole {
    id: u64,
    kind: Kind,
    said: Result<Said, PeerError>,
}

/// What an answer says.
enum Said {
    /// It was read where it lay.
    Reply(Reply),
    Body(Bytes),
}

impl<'a> Driver<'a> {
    fn new(link: &'a Link, writer: Arc<OwnedWriteHalf>, inbox: Inbox) -> Self {
        let batch = Batch::new(&link.limits.memory);
        let (parts, whole) = (HashMap::new(), Vec::new());
        Self { link, writer, inbox, batch, parts, whole, quiet: clock::now(), stalled: None }
    }

    async fn run(mut self, mut reader: OwnedReadHalf) -> End {
        let link = self.link;
        let patience = link.limits.header_timeout.min(link.limits.idle_timeout);
        let mut look = pin!(clock::sleep(patience));
        loop {
            let step = async {
                self.take_in()?;
                let unwritten = self.write()?;
                self.go_on(unwritten)?;
                tokio::select! {
                    read = self.inbox.read(&mut reader) => {
                        if read? == 0 {
                            return Err(End::Closed(broken("closed by the peer")));
                        }
                        link.heard.fetch_add(1, Relaxed);
                        self.quiet = clock::now();
                    }
                    ready = self.writer.writable(), if unwritten => ready?,
                    // Whoever is about to ask puts his request beside the one that woke us.
                    () = link.wake.notified(), if !unwritten => tokio::task::yield_now().await,
                    () = look.as_mut() => {
                        self.look(unwritten)?;
                        look.set(clock::sleep(patience));
                    }
                }
                Ok::<_, End>(())
            };
            if let Err(end) = step.await {
                return end;
            }
        }
    }

    /// Takes every whole frame, and hands the answers to those who wait for them.
    fn take_in(&mut self) -> Result<(), End> {
        let link = self.link;
        while let Some(frame) = self.inbox.next()? {
            match frame.kind.class() {
                Class::Answer if frame.more || self.parts.contains_key(&frame.id) => {
                    self.whole.extend(part(link, &mut self.parts, frame)?);
                }
                Class::Answer => {
                    let said = said(link, frame);
                    self.whole.push(Whole { id: frame.id, kind: frame.kind, said });
                }
                Class::Notice if frame.kind == Kind::DRAIN => link.drain(),
                Class::Notice => {}
                Class::Request => refuse(link, frame)?,
            }
        }
        self.hand_out()
    }

    fn hand_out(&mut self) -> Result<(), End> {
        if self.whole.is_empty() {
            return Ok(());
        }
        let mut calls = Vec::with_capacity(self.whole.len());
        let mut state = self.link.lock();
        for whole in self.whole.drain(..) {
            let call = state.calls.remove(&whole.id).ok_or(End::Cut(Cut::Unasked))?;
            calls.push((call, whole));
        }
        drop(state);
        for (Call { kind, caller, .. }, whole) in calls {
            let Some(caller) = caller else { continue };
            let reply = whole.said.and_then(|said| {
                match said {
                    Said::Reply(reply) => words::fitting(kind, whole.kind, reply),
                    Said::Body(body) => words::answer(kind, whole.kind, body, &self.link.peer),
                }
                .map_err(PeerError::Broken)
            });
            // He may have gone meanwhile.
            let _ = caller.send(reply);
        }
        Ok(())
    }

    /// Writes once. Whether there is more to write.
    fn write(&mut self) -> Result<bool, End> {
        if self.batch.is_empty() && !self.fill() {
            return Ok(false);
        }
        match self.writer.try_write(self.batch.rest()) {
            Ok(written) => {
                self.batch.advance(written);
                self.stalled = None;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.stalled.get_or_insert_with(clock::now);
                return Ok(true);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(!self.batch.is_empty() || self.fill())
    }

    /// Whether there is something to write now.
    fn fill(&mut self) -> bool {
        let mut state = self.link.lock();
        state.is_writing = !state.outbox.is_empty();
        if state.is_writing {
            state.outbox.fill(&mut self.batch);
        }
        state.is_writing
    }

    /// Whether there is cause to.
    fn go_on(&self, unwritten: bool) -> Result<(), End> {
        let state = self.link.lock();
        match &state.phase {
            Phase::Closed(why) => Err(End::Closed(why.clone())),
            Phase::Draining if state.calls.is_empty() && !unwritten => {
                Err(End::Closed(broken("it was drained")))
            }
            Phase::Open | Phase::Draining => Ok(()),
        }
    }

    /// Whether a deadline has passed.
    fn look(&self, unwritten: bool) -> Result<(), End> {
        let (now, limits) = (clock::now(), &self.link.limits);
        let is_past = |since: Instant, span: Duration| clock::after(since, span) <= now;
        if unwritten && self.stalled.is_some_and(|since| is_past(since, limits.header_timeout)) {
            return Err(End::Cut(Cut::Stalled));
        }
        if self.inbox.begun().is_some_and(|since| is_past(since, limits.header_timeout)) {
            return Err(End::Cut(Cut::Overdue));
        }
        if is_past(self.quiet, limits.idle_timeout) {
            let mut state = self.link.lock();
            if state.calls.is_empty() {
                state.phase = Phase::Draining;
            }
        }
        Ok(())
    }
}

/// A part of an answer, or its end, with which it is whole.
fn part(link: &Link, parts: &mut HashMap<u64, Part>, frame: Frame<'_>) -> Result<Option<Whole>, End> {
    let Frame { id, kind, more, body } = frame;
    if kind == Kind::CANCELLED && !more {
        parts.remove(&id);
        return Ok(Some(Whole { id, kind, said: Ok(Said::Body(Bytes::new())) }));
    }
    let part = match parts.entry(id) {
        Entry::Occupied(part) if part.get().kind == kind => part.into_mut(),
        Entry::Occupied(_) => return Err(End::Cut(Cut::Malformed)),
        Entry::Vacant(place) => {
            let Some(slack) = link.lock().calls.get(&id).map(|call| call.slack) else {
                return Err(End::Cut(Cut::Unasked));
            };
            let (charge, body) = (link.limits.memory.charge(), BytesMut::new());
            place.insert(Part { kind, body, slack, charge, refused: None })
        }
    };
    part.take(link, body);
    let whole = (!more).then(|| parts.remove(&id)).flatten();
    Ok(whole.map(|Part { body, charge, refused, .. }| {
        let said = refused.map_or_else(|| Ok(Said::Body(charge.around(body.freeze()))), Err);
        Whole { id, kind, said }
    }))
}

impl Part {
    fn take(&mut self, link: &Link, more: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        let limit = link.limits.value.as_u64().saturating_add(self.slack);
        if (self.body.len() + more.len()) as u64 > limit {
            self.refused = Some(broken("a reply over the limit"));
        } else if let Err(full) = self.charge.grow(more.len() as u64) {
            self.refused = Some(PeerError::Memory(full));
        } else {
            return self.body.extend_from_slice(more);
        }
        self.body = BytesMut::new();
        self.charge.release();
    }
}

/// What the answer to this may hold beside a value, in bytes.
fn slack_of(what: &Request) -> u64 {
    let keys = if let Request::GetMany { keys, .. } = what { keys.len() } else { 0 };
    SLACK + (keys * PER_ANSWER) as u64
}

/// What a frame says, in memory of its own, which is charged to the node for as long as it is held.
fn said(link: &Link, frame: Frame<'_>) -> Result<Said, PeerError> {
    let body = frame.body;
    if body.is_empty() {
        return Ok(Said::Body(Bytes::new()));
    }
    let mut full = None;
    let mut copied = |bytes: &[u8]| match link.limits.memory.charge_of(bytes.len() as u64) {
        Ok(charge) => charge.around(Bytes::copy_from_slice(bytes)),
        Err(error) => {
            full = Some(error);
            Bytes::new()
        }
    };
    let said = match words::answer_in_place(frame.kind, body, &link.peer, &mut copied) {
        Some(reply) => Said::Reply(reply),
        None => Said::Body(copied(body)),
    };
    full.map_or(Ok(said), |full| Err(PeerError::Memory(full)))
}

/// A peer that is asked may ask for a sign of life, and for nothing else.
fn refuse(link: &Link, frame: Frame<'_>) -> Result<(), End> {
    let mut state = link.lock();
    if !state.outbox.has_room() {
        // It asks and asks, and takes no answer.
        return Err(End::Cut(Cut::Stalled));
    }
    let kind = if frame.kind == Kind::PING { Kind::PONG } else { Kind::UNSUPPORTED };
    state.outbox.bare(frame.id, kind);
    link.see_it_written(state);
    Ok(())
}

fn broken(why: &str) -> PeerError {
    PeerError::Broken(Arc::from(why))
}
