//! The task of a connection: writes what waits, reads what comes, and hands out answers.
//!
//! Ends the requests of callers who do not wait when they are due, and the connection when the peer keeps no time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::clock;
use crate::error::PeerError;
use crate::memory::Charge;
use crate::message::Reply;
use crate::net::calls::{Asked, Call, Caller, Link, Phase, Timed};
use crate::net::frame::{Class, Frame, HEAD, Kind, Malformed};
use crate::net::inbox::Inbox;
use crate::net::outbox::{Batch, ROOM};
use crate::net::words;
use crate::peers::Sent;
use crate::stats::Cut;

/// Answers that may wait for a peer that asks where only we do: those of 256 KiB, as at the other side.
const REFUSALS_MAX: usize = ROOM / HEAD;

/// Answers for which there is room between two reads.
const WHOLE_KEPT: usize = 512;

/// How much later than its deadline a request may be ended, for the sake of others.
const TOGETHER: Duration = Duration::from_millis(1);

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
        Self::Closed(PeerError::broken(&error.to_string()))
    }
}

/// The connection's task. The link is closed with it, also when its runtime stops, and before it has begun.
pub(super) fn drive(
    link: Arc<Link>,
    reader: OwnedReadHalf,
    writer: Arc<OwnedWriteHalf>,
    inbox: Inbox,
) -> impl Future<Output = ()> + Send {
    let closing = Closing(link);
    async move {
        let closing = closing;
        let link = &*closing.0;
        match Driver::new(link, writer, inbox).run(reader).await {
            End::Closed(why) => drop(link.close(&why)),
            End::Cut(cut) => {
                tracing::debug!(peer = &*link.peer, cause = cut.as_str(), "the connection to a peer is cut");
                link.cut(cut);
            }
        }
    }
}

struct Closing(Arc<Link>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close(&PeerError::broken("the connection's task ended"));
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
    /// When something came last.
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
    since: Instant,
}

/// An answer that is there to its last byte.
struct Whole {
    id: u64,
    kind: Kind,
    said: Result<Said, PeerError>,
    /// What it answers, once that is known.
    asked: Option<Asked>,
}

impl Whole {
    fn new(id: u64, kind: Kind, said: Result<Said, PeerError>) -> Self {
        Self { id, kind, said, asked: None }
    }
}

/// What an answer says.
enum Said {
    /// It was read where it lay.
    Reply(Reply),
    Body(Bytes),
}

impl<'a> Driver<'a> {
    fn new(link: &'a Link, writer: Arc<OwnedWriteHalf>, inbox: Inbox) -> Self {
        let batch = link.lock().outbox.spare();
        let (parts, whole) = (HashMap::new(), Vec::new());
        Self { link, writer, inbox, batch, parts, whole, quiet: clock::now(), stalled: None }
    }

    async fn run(mut self, mut reader: OwnedReadHalf) -> End {
        let link = self.link;
        let patience = link.limits.header_timeout.min(link.limits.idle_timeout);
        let mut alarm = clock::after(clock::now(), patience);
        let mut look = pin!(clock::sleep_until(alarm));
        loop {
            let step = async {
                self.take_in()?;
                let unwritten = self.write()?;
                let due = self.go_on(unwritten)?;
                if due.is_some_and(|due| due < alarm) {
                    alarm = due.unwrap_or(alarm);
                    look.set(clock::sleep_until(alarm));
                }
                tokio::select! {
                    read = self.inbox.read(&mut reader) => {
                        if read? == 0 {
                            return Err(End::Closed(PeerError::broken("closed by the peer")));
                        }
                        link.heard.fetch_add(1, Relaxed);
                        self.quiet = clock::now();
                        if self.inbox.is_filled() {
                            tokio::task::yield_now().await;
                        }
                    }
                    ready = self.writer.writable(), if unwritten => ready?,
                    // Also while the peer takes nothing: a request may be due before all others, and the link may be cut.
                    () = link.wake.notified() => if !unwritten {
                        // Whoever is about to ask puts his request beside the one that woke us.
                        tokio::task::yield_now().await;
                    },
                    () = look.as_mut() => {
                        self.look(unwritten)?;
                        self.expire();
                        alarm = clock::after(clock::now(), patience);
                        look.set(clock::sleep_until(alarm));
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
                    self.whole.push(Whole::new(frame.id, frame.kind, said));
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
        let mut state = self.link.lock();
        for whole in &mut self.whole {
            whole.asked = state.answered(whole.id);
        }
        if self.whole.iter().any(|whole| whole.asked.is_none()) {
            // Nothing of it is believed: those whose answers came with it are told so with all others.
            for Whole { id, asked, .. } in self.whole.drain(..) {
                if let Some(Asked::Call(call)) = asked {
                    state.calls.insert(id, call);
                }
            }
            return Err(End::Cut(Cut::Unasked));
        }
        drop(state);
        for Whole { kind: told, said, asked, .. } in self.whole.drain(..) {
            let Some(Asked::Call(Call { kind, caller, .. })) = asked else { continue };
            let reply = said.and_then(|said| {
                match said {
                    Said::Reply(reply) => words::fitting(kind, told, reply),
                    Said::Body(body) => words::answer(kind, told, body, &self.link.peer),
                }
                .map_err(PeerError::Broken)
            });
            caller.told(reply, self.quiet);
        }
        self.whole.shrink_to(WHOLE_KEPT);
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
        let (does_wait, unanswered) = (!state.outbox.is_empty(), state.calls.len());
        state.pacing.take(does_wait, unanswered);
        if does_wait {
            state.outbox.fill(&mut self.batch);
            state.refusals = 0;
        }
        does_wait
    }

    /// Ends the requests that are due.
    fn expire(&self) {
        let now = clock::now();
        let is_due = |call: &Call| matches!(&call.caller, Caller::Then(timed) if timed.deadline <= now);
        let mut state = self.link.lock();
        let due: Vec<u64> = state.calls.iter().filter(|(_, call)| is_due(call)).map(|(id, _)| *id).collect();
        let late: Vec<Caller> = due.into_iter().filter_map(|id| state.abandon(id, now)).collect();
        let timed = state.calls.values().filter_map(|call| match &call.caller {
            Caller::Then(timed) => Some(timed.deadline),
            Caller::Waits(_) => None,
        });
        // Those that follow each other closely are ended together.
        state.due = timed.min().map(|due| due.max(clock::after(now, TOGETHER)));
        self.link.see_it_written(state);
        for caller in late {
            if let Caller::Then(Timed { then, allowed, .. }) = caller {
                then(Sent::Answered(Err(PeerError::Timeout(clock::in_whole_ms(allowed)))), now);
            }
        }
    }

    /// Whether there is cause to; and when the next request is due.
    fn go_on(&self, unwritten: bool) -> Result<Option<Instant>, End> {
        let state = self.link.lock();
        match &state.phase {
            Phase::Closed(why) => Err(End::Closed(why.clone())),
            _ if state.abandoned.len() > self.link.limits.waiting_per_peer => Err(End::Cut(Cut::Unanswered)),
            // What was abandoned holds nobody up.
            Phase::Draining if state.calls.is_empty() && !unwritten => {
                Err(End::Closed(PeerError::broken("it was drained")))
            }
            Phase::Open | Phase::Draining => Ok(state.due),
        }
    }

    /// Whether a deadline has passed.
    fn look(&self, unwritten: bool) -> Result<(), End> {
        let (now, limits) = (clock::now(), &self.link.limits);
        let is_past = |since: Instant, span: Duration| clock::after(since, span) <= now;
        if unwritten && self.stalled.is_some_and(|since| is_past(since, limits.header_timeout)) {
            return Err(End::Cut(Cut::Stalled));
        }
        let is_late = |part: &Part| is_past(part.since, limits.idle_timeout);
        if self.inbox.begun().is_some_and(|since| is_past(since, limits.header_timeout))
            || self.parts.values().any(is_late)
        {
            return Err(End::Cut(Cut::Overdue));
        }
        let is_quiet = is_past(self.quiet, limits.idle_timeout);
        let mut state = self.link.lock();
        let is_owed = state.abandoned.values().any(|since| is_past(*since, limits.idle_timeout));
        if is_owed && is_quiet {
            return Err(End::Cut(Cut::Silent));
        }
        let is_idle = is_quiet && state.calls.is_empty() && state.abandoned.is_empty();
        if matches!(state.phase, Phase::Open) && (is_owed || is_idle) {
            state.phase = Phase::Draining;
            if is_owed {
                // It lives, and has lost one. Who waits may have his answer yet; the others ask on another connection.
                self.link.stats.cuts.add(Cut::Unanswered);
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
        return Ok(Some(Whole::new(id, kind, Ok(Said::Body(Bytes::new())))));
    }
    let part = match parts.entry(id) {
        Entry::Occupied(part) if part.get().kind == kind => part.into_mut(),
        Entry::Occupied(_) => return Err(End::Cut(Cut::Malformed)),
        Entry::Vacant(place) => {
            let state = link.lock();
            let (slack, refused) = match state.calls.get(&id) {
                Some(call) => (call.slack, None),
                None if state.abandoned.contains_key(&id) => (0, Some(PeerError::broken("it came too late"))),
                None => return Err(End::Cut(Cut::Unasked)),
            };
            let (charge, body) = (link.limits.memory.charge(), BytesMut::new());
            place.insert(Part { kind, body, slack, charge, refused, since: clock::now() })
        }
    };
    part.take(link, body);
    let whole = (!more).then(|| parts.remove(&id)).flatten();
    Ok(whole.map(|Part { body, charge, refused, .. }| {
        let said = refused.map_or_else(|| Ok(Said::Body(charge.around(body.freeze()))), Err);
        Whole::new(id, kind, said)
    }))
}

impl Part {
    fn take(&mut self, link: &Link, more: &[u8]) {
        if self.refused.is_some() {
            return;
        }
        let limit = link.limits.value.as_u64().saturating_add(self.slack);
        if (self.body.len() + more.len()) as u64 > limit {
            self.refused = Some(PeerError::broken("a reply over the limit"));
        } else if let Err(full) = self.charge.grow(more.len() as u64) {
            self.refused = Some(PeerError::Memory(full));
        } else {
            return self.body.extend_from_slice(more);
        }
        self.body = BytesMut::new();
        self.charge.release();
    }
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
    if state.refusals == REFUSALS_MAX {
        // It asks and asks, and takes no answer. What we ask it says nothing of that.
        return Err(End::Cut(Cut::Stalled));
    }
    let kind = if frame.kind == Kind::PING { Kind::PONG } else { Kind::UNSUPPORTED };
    state.refusals += 1;
    state.outbox.bare(frame.id, kind);
    link.see_it_written(state);
    Ok(())
}
