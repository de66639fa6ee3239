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
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::clock;
use crate::limits::Limits;
use crate::message::Reply;
use crate::net::desk::{Desk, SLACK};
use crate::net::frame::{BODY_MAX, Class, Frame, Kind, Malformed};
use crate::net::gets::Rest;
use crate::net::http1::Taken;
use crate::net::inbox::Inbox;
use crate::net::intake::Share;
use crate::net::outbox::Batch;
use crate::net::service::Service;
use crate::net::unsent;
use crate::net::words::{self, Asked};
use crate::stats::Cut;

/// For a peer that has every answer to close, when this node leaves.
const FAREWELL: Duration = Duration::from_secs(1);

/// Answers a peer on its connection until either side ends it.
pub(super) async fn attend(desk: Arc<Desk>, taken: Taken) {
    let Taken { mut stream, read, mut stop } = taken;
    unsent::bound(&stream);
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
    /// What it has asked.
    asked: Service<'a>,
    /// Messages of which more is to come.
    parts: HashMap<u64, Part>,
    /// Of gets that came together, those that have to wait until there is room for what they are answered.
    rest: Option<Rest>,
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
struct Part {
    kind: Kind,
    body: Vec<u8>,
    share: Share,
    /// It is read to its end and dropped.
    refused: Option<Reply>,
    since: Instant,
}

impl<'a> Session<'a> {
    fn new(desk: &'a Desk) -> Self {
        Self {
            asked: Service::new(desk),
            parts: HashMap::new(),
            rest: None,
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
        let mut batch = self.asked.outbox.spare();
        let mut stopped = pin!(stopped);
        let mut look = pin!(clock::sleep(self.patience()));
        loop {
            let step = async {
                let is_hungry = self.take_in(&mut inbox)?;
                self.write(&mut batch, &writer)?;
                if !is_hungry && self.asked.outbox.has_room() {
                    if self.rest.is_some() {
                        // A peer that takes all at once would have the thread to itself.
                        tokio::task::yield_now().await;
                    }
                    return Ok(());
                }
                let unwritten = !batch.is_empty() || !self.asked.outbox.is_empty();
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
                    Some(landed) = self.asked.next(), if self.asked.outbox.has_room() => {
                        self.asked.land(landed);
                        self.quiet = clock::now();
                    }
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
        while self.asked.outbox.has_room() {
            if let Some(rest) = self.rest.take() {
                self.rest = rest.go_on(&mut self.asked);
                continue;
            }
            let Some(frame) = inbox.next()? else { return Ok(true) };
            self.is_heard = true;
            match frame.kind.class() {
                Class::Request => self.request(frame)?,
                Class::Notice if frame.kind == Kind::CANCEL => {
                    let was_coming = self.parts.remove(&frame.id).is_some();
                    self.asked.cancel(frame.id, was_coming);
                }
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
            if self.asked.outbox.is_empty() {
                return Ok(());
            }
            self.asked.outbox.fill(batch);
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
        if self.asked.is_any_unanswered(frame.id, 1) {
            return Err(End::Cut(Cut::Unasked));
        }
        if frame.more || self.parts.contains_key(&frame.id) {
            return self.part(frame);
        }
        if matches!(frame.kind, Kind::GET | Kind::GET_MANY) {
            return self.gets(frame.id, frame.kind, frame.body);
        }
        let mut share = self.asked.desk.bodies.share();
        let brings_value = matches!(frame.kind, Kind::SET | Kind::CHANGE);
        match share.grow(if brings_value { frame.body.len() as u64 } else { 0 }) {
            Ok(()) => self.whole(frame.id, frame.kind, Bytes::copy_from_slice(frame.body)),
            Err(full) => {
                self.asked.reply(frame.id, self.asked.desk.busy_with(full));
                Ok(())
            }
        }
    }

    fn gets(&mut self, id: u64, kind: Kind, body: &[u8]) -> Result<(), End> {
        self.rest = self.asked.gets(id, kind, body, &self.parts).map_err(End::Cut)?;
        Ok(())
    }

    /// A part of a message, or its end. Only what brings a value, or many keys, has cause to be longer than a frame.
    fn part(&mut self, frame: Frame<'_>) -> Result<(), End> {
        let desk = self.asked.desk;
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
                Some(refused) => self.asked.reply(frame.id, refused),
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
            Ok(Asked::One(what)) => self.asked.ask(id, what, None),
            Ok(Asked::Ping) => self.asked.outbox.bare(id, Kind::PONG),
            Ok(Asked::NoGroup) => self.asked.no_group(id),
            Ok(Asked::NoSense(why)) => self.asked.reply(id, self.asked.desk.malformed(why)),
            Ok(Asked::Unsupported) => self.asked.reply(id, Reply::Unsupported),
            Err(error) => self.asked.no_message(id, kind, &error),
        }
        Ok(())
    }

    /// Tells the peer to go elsewhere. It closes when it has all its answers.
    fn leave(&mut self, patience: Duration) {
        self.leaving = Some(clock::after(clock::now(), patience));
        self.asked.outbox.bare(0, Kind::DRAIN);
    }

    /// How long until the next look at the clock: as often as the shortest deadline is enough to be on time.
    fn patience(&self) -> Duration {
        let patience = self.asked.desk.limits.header_timeout.min(self.asked.desk.limits.idle_timeout);
        if self.leaving.is_some() { patience.min(FAREWELL) } else { patience }
    }

    /// Whether a deadline has passed.
    fn look(&mut self, inbox: &Inbox, unwritten: bool) -> Result<(), End> {
        let (now, limits) = (clock::now(), &self.asked.desk.limits);
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
        let is_idle = self.asked.is_idle() && self.parts.is_empty() && !unwritten;
        match self.leaving {
            Some(until) if is_idle && until <= now => return Err(End::Closed),
            None if is_idle && is_past(self.quiet, limits.idle_timeout) => self.leave(limits.header_timeout),
            _ => {}
        }
        Ok(())
    }
}

impl Part {
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
