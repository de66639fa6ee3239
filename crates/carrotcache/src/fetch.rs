//! A fetch: asking the owner of a key, or its stand-in, on behalf of a flight.
//!
//! Runs on a line to the owner where there is one, and else inside a flight's own task; `group.rs` begins it and shares
//! what it lands with. May wait for a load on this node, and is never waited for by one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::answer::{Answer, Source};
use crate::clock::{self, Elapsed, Moment};
use crate::error::{GetError, PeerError};
use crate::flight::{Keep, Takeoff};
use crate::group::{Group, HOP, Landed, Purpose};
use crate::message::{Found, Reply, Request};
use crate::peers::{Sent, Trial};
use crate::stats::{FetchOutcome, Region};
use crate::store::Arrival;
use crate::units::{ByteSize, Key};
use crate::view::{Member, Owner, Place};

/// As whom a peer is asked, and until when.
#[derive(Clone, Copy)]
struct Asked {
    stand_in: bool,
    deadline: Instant,
}

/// How asking a peer for a key ended.
enum Fetched {
    /// With its answer, good or bad.
    Landed(Landed),
    /// Nobody can say whether there is a value: ask somebody else.
    Unreachable,
}

/// A flight whose owner is being asked on a line, without a task.
struct OnLine {
    group: Group,
    owner: Member,
    takeoff: Takeoff<Landed>,
    trial: Trial,
    began: Moment,
    deadline: Instant,
}

impl OnLine {
    /// Runs in the line's task: what takes longer than a value takes to be kept gets a task of its own.
    fn ends(self, sent: Sent, at: Instant) {
        let Self { group, owner, takeoff, trial, began, deadline } = self;
        let mut answer = match sent {
            Sent::Answered(answer) => answer,
            Sent::Unseen => {
                trial.unseen();
                let fetch =
                    |key: Key, keep| group.in_time(began, key.clone(), group.clone().fetch(key, keep));
                return group.spawn()(takeoff.errand(fetch));
            }
        };
        let now = group.moment_at(at);
        group.shared.around.peers.ended(&owner, trial, &answer, now);
        group.note(&mut answer, began, now);
        match group.fetched(&owner, takeoff.key(), || takeoff.may_keep(), answer, now) {
            Fetched::Landed(landed) => takeoff.land(landed),
            Fetched::Unreachable => {
                let group = &group;
                let replaced = |key: Key, keep| {
                    group.in_time(began, key.clone(), group.clone().replaced(key, keep, deadline))
                };
                group.spawn()(takeoff.errand(replaced));
            }
        }
    }
}

impl Group {
    /// Sends the flight off at this moment without an errand, where its owner can be asked on a line; gives it back otherwise.
    pub(crate) fn fetch_at_once(
        &self,
        takeoff: Takeoff<Landed>,
        began: Moment,
        told_here: impl Fn(bool),
    ) -> Option<Takeoff<Landed>> {
        let shared = &*self.shared;
        let key = takeoff.key();
        let view = shared.around.views.load();
        let Owner::Remote(owner) = view.owner(shared.seed, key.as_bytes()) else {
            return Some(takeoff);
        };
        if shared.around.leaving.load(Ordering::Relaxed) {
            return Some(takeoff);
        }
        if let Some(entry) = self.look_again(false, key) {
            takeoff.land(Ok(self.remembered(entry)));
            return None;
        }
        let what = self.get_of(key, false);
        let Some((line, trial)) = shared.around.peers.line(owner, &what, began) else { return Some(takeoff) };
        let deadline = clock::after(began.instant, shared.settings.fetch_deadline());
        let group = self.clone();
        let on_line = OnLine { group, owner: owner.clone(), takeoff, trial, began, deadline };
        let then = Box::new(|sent, at| on_line.ends(sent, at));
        told_here(line.send(&what, began.instant, deadline, then));
        None
    }

    /// The errand to the owner.
    pub(crate) async fn fetch(self, key: Key, keep: Keep<Landed>) -> Landed {
        self.take_off()?;
        // A flight may have landed, or the view changed, between our lookup and our take-off.
        let view = self.shared.around.views.current();
        let place = view.place(self.shared.seed, key.as_bytes());
        if let Some(entry) = self.look_again(place.is_local(), &key) {
            return Ok(self.remembered(entry));
        }
        let owner = match place.owner() {
            Owner::Local => return self.loading(key.as_bytes(), Purpose::Answer).await,
            Owner::Remote(member) => member,
        };
        let deadline = clock::after(clock::now(), self.shared.settings.fetch_deadline());
        match self.ask_for(owner, &key, &keep, Asked { stand_in: false, deadline }).await {
            Fetched::Landed(landed) => landed,
            // Availability over balance: a dead owner costs extra loads, not an outage.
            Fetched::Unreachable => self.stand_in(place, &key, &keep, deadline).await,
        }
    }

    /// The errand of a flight that has left its line. Whoever began it may have no timer of his own, since the line had
    /// one; so it ends when he would have given up, whatever load on another thread it has come to wait for.
    pub(crate) fn in_time(
        &self,
        began: Moment,
        key: Key,
        errand: impl Future<Output = Landed> + Send + 'static,
    ) -> impl Future<Output = Landed> + Send + 'static {
        let (group, limit) = (self.clone(), self.patience(None));
        async move {
            let landed = clock::timeout_at(clock::after(began.instant, limit), errand).await;
            landed.unwrap_or_else(|Elapsed| Err(group.gave_up(key.as_bytes(), limit)))
        }
    }

    /// The errand when the owner could not be reached.
    async fn replaced(self, key: Key, keep: Keep<Landed>, deadline: Instant) -> Landed {
        let view = self.shared.around.views.current();
        self.stand_in(view.place(self.shared.seed, key.as_bytes()), &key, &keep, deadline).await
    }

    /// The owner cannot be reached: its stand-in, then a load here that is not kept.
    async fn stand_in(&self, place: Place<'_>, key: &Key, keep: &Keep<Landed>, deadline: Instant) -> Landed {
        self.shared.stats.stand_ins.add(1);
        // However late the owner was lost: time to go there and back.
        let deadline = deadline.max(clock::after(clock::now(), HOP));
        match place.stand_in() {
            Some(Owner::Local) => self.loading(key.as_bytes(), Purpose::StandIn).await,
            Some(Owner::Remote(member)) => {
                match self.ask_for(member, key, keep, Asked { stand_in: true, deadline }).await {
                    Fetched::Landed(landed) => landed,
                    Fetched::Unreachable => self.loading(key.as_bytes(), Purpose::Answer).await,
                }
            }
            None => self.loading(key.as_bytes(), Purpose::Answer).await,
        }
    }

    /// Asks `member` for the key of this flight.
    async fn ask_for(&self, member: &Member, key: &Key, keep: &Keep<Landed>, asked: Asked) -> Fetched {
        let Asked { stand_in, deadline } = asked;
        let answer = self.ask(member, self.get_of(key, stand_in), deadline).await;
        self.fetched(member, key, || keep.holds(), answer, self.moment())
    }

    fn get_of(&self, key: &Key, stand_in: bool) -> Request {
        Request::Get { group: self.shared.name.clone(), key: key.clone(), stand_in, cached_only: false }
    }

    /// What the answer to a flight's request means.
    fn fetched(
        &self,
        member: &Member,
        key: &Key,
        may_keep: impl FnOnce() -> bool,
        answer: Result<Reply, PeerError>,
        now: Moment,
    ) -> Fetched {
        match answer {
            Ok(Reply::Found(found)) => Fetched::Landed(self.arrived(member, key, may_keep, found, now)),
            // It is starting, or older than this group.
            Ok(Reply::NoGroup) => Fetched::Unreachable,
            // The owner tried; a second load by every asking node would be the herd we exist to stop.
            Ok(refusal) => Fetched::Landed(Err(self.refused(member, key, refusal))),
            Err(lost) if lost.is_unreachable() => {
                tracing::debug!(group = %self.shared.name, peer = %member.name, error = %lost, "peer is unreachable");
                Fetched::Unreachable
            }
            Err(error) => Fetched::Landed(Err(self.unasked(member, key, &error))),
        }
    }

    /// A peer that can be reached gave no answer.
    pub(crate) fn unasked(&self, member: &Member, key: &Key, error: &PeerError) -> GetError {
        match error {
            PeerError::Busy(_) => busy_with(member, error),
            PeerError::Memory(full) => self.shared.origin.busy(*full),
            _ => self.late(member, key, self.shared.settings.fetch_deadline()),
        }
    }

    /// One request to a peer for a value, counted.
    async fn ask(&self, member: &Member, what: Request, deadline: Instant) -> Result<Reply, PeerError> {
        let began = self.moment();
        let mut answer = self.shared.around.peers.ask(member, what, deadline).await;
        self.note(&mut answer, began, self.moment());
        answer
    }

    /// Counts an answer, and what it took.
    fn note(&self, answer: &mut Result<Reply, PeerError>, began: Moment, now: Moment) {
        let shared = &*self.shared;
        shared.stats.fetch_seconds.observe(now.instant - began.instant);
        shared.stats.fetches.add(outcome_of(answer.as_ref(), shared.around.limits.value));
        if let Ok(Reply::Found(found)) = answer {
            found.travelled(now.elapsed.saturating_sub(began.elapsed));
        }
    }

    /// A value from a peer, for a flight: mirrored where it is hot, handed on in any case.
    pub(crate) fn arrived(
        &self,
        from: &Member,
        key: &Key,
        may_keep: impl FnOnce() -> bool,
        found: Found,
        now: Moment,
    ) -> Landed {
        let shared = &*self.shared;
        let answer = self.received(from, key, found)?;
        if !self.is_hot(key, now.elapsed) {
            return Ok(answer);
        }
        let Answer { value, age, ttl, .. } = answer;
        let arrival = Arrival { value: value.into(), age, ttl, region: Region::Mirrors };
        let (value, kept) = shared.store.keep(key.as_bytes(), arrival, may_keep);
        shared.stats.mirrors.add(u64::from(kept));
        Ok(Answer { value, ..answer })
    }

    /// A value from a peer, if it is of a size that is taken. Takes note of the giver's view.
    pub(crate) fn received(&self, from: &Member, key: &Key, found: Found) -> Landed {
        let shared = &*self.shared;
        shared.origin.check_size(key, found.value.len())?;
        if shared.around.views.note(from, found.view) {
            self.explain(from);
        }
        let Found { value, ttl, age, loaded, node, .. } = found;
        let source = if loaded { Source::Origin } else { Source::Owner };
        let node = if node.is_empty() { from.name.clone() } else { node };
        Ok(Answer { value, source, age, ttl, stale: false, node })
    }

    /// Has the log told, in its own time, how `peer`'s list differs from ours.
    pub(crate) fn explain(&self, peer: &Member) {
        let (around, peer) = (self.shared.around.clone(), peer.clone());
        self.shared.around.runtimes.spawn(async move { around.views.explain(&around.peers, &peer).await });
    }

    /// Memory only: here there was nothing, so the owner's.
    pub(crate) async fn ask_memory(&self, key: &[u8], within: Option<Duration>) -> Landed {
        let shared = &*self.shared;
        let key = Key::new(key);
        let view = shared.around.views.current();
        let Owner::Remote(owner) = view.owner(shared.seed, key.as_bytes()) else {
            return Err(GetError::NotCached { key });
        };
        let what =
            Request::Get { group: shared.name.clone(), key: key.clone(), stand_in: false, cached_only: true };
        // No fetch, and not counted as one.
        if !shared.around.peers.can_say(&what) {
            return Err(GetError::NotCached { key });
        }
        let limit = within.unwrap_or(HOP);
        let deadline = clock::after(clock::now(), limit.max(HOP));
        // A caller who waits for less than a hop drops the request: his haste says nothing of the peer.
        let Ok(answer) = clock::timeout(limit, self.ask(owner, what, deadline)).await else {
            shared.stats.fetches.add(FetchOutcome::Deadline);
            return Err(self.late(owner, &key, limit));
        };
        match answer {
            Ok(Reply::Found(found)) => self.received(owner, &key, found),
            other => self.not_remembered(owner, &key, &other),
        }
    }

    /// What there is to say of a key that a peer was asked to look for in its memory, and gave no value of.
    pub(crate) fn not_remembered(
        &self,
        member: &Member,
        key: &Key,
        answer: &Result<Reply, PeerError>,
    ) -> Landed {
        Err(match answer {
            Ok(Reply::NotCached | Reply::NoGroup | Reply::Unsupported) => {
                GetError::NotCached { key: key.clone() }
            }
            Ok(refusal) => self.refused(member, key, refusal.clone()),
            Err(PeerError::Timeout(waited)) => self.late(member, key, *waited),
            Err(busy @ PeerError::Busy(_)) => busy_with(member, busy),
            Err(PeerError::Memory(full)) => self.shared.origin.busy(*full),
            // Nobody who can be reached holds it.
            Err(_) => GetError::NotCached { key: key.clone() },
        })
    }

    /// A peer gave no value in the time that it was allowed.
    pub(crate) fn late(&self, peer: &Member, key: &Key, waited: Duration) -> GetError {
        GetError::late(&self.shared.name, key, Some(&peer.name), waited)
    }

    /// A peer's refusal, in the words of a get.
    pub(crate) fn refused(&self, owner: &Member, key: &Key, refusal: Reply) -> GetError {
        match refusal {
            Reply::NotFound => GetError::NotFound { group: self.shared.name.clone(), key: key.clone() },
            Reply::LoadFailed(cause) => {
                GetError::load(&self.shared.name, key, Box::new(AtOwner { owner: owner.name.clone(), cause }))
            }
            Reply::Busy(limit) => GetError::Busy { limit: format!("{limit} (at {})", owner.name).into() },
            Reply::Deadline => self.late(owner, key, self.shared.settings.load_deadline),
            Reply::NotCached => GetError::NotCached { key: key.clone() },
            other => GetError::Refused {
                owner: owner.name.clone(),
                key: key.clone(),
                answer: other.to_string().into(),
            },
        }
    }
}

/// This node has as much on its way to a peer as it allows itself.
fn busy_with(peer: &Member, busy: &PeerError) -> GetError {
    GetError::Busy { limit: format!("{busy} ({})", peer.name).into() }
}

/// A load that failed on another node.
#[derive(Debug, thiserror::Error)]
#[error("at {owner}: {cause}")]
struct AtOwner {
    owner: Arc<str>,
    cause: Arc<str>,
}

/// How a fetch of one key counts. `limit` is that of a value.
pub(crate) fn outcome_of(answer: Result<&Reply, &PeerError>, limit: ByteSize) -> FetchOutcome {
    match answer {
        Ok(Reply::Found(found)) if found.value.len() as u64 > limit.as_u64() => FetchOutcome::TooLarge,
        Ok(Reply::Found(_)) => FetchOutcome::Found,
        Ok(Reply::NotFound) => FetchOutcome::NotFound,
        Ok(Reply::NotCached) => FetchOutcome::NotCached,
        Ok(Reply::NoGroup) => FetchOutcome::NoGroup,
        Ok(Reply::LoadFailed(_)) => FetchOutcome::LoadFailed,
        Ok(Reply::TooLarge(_)) => FetchOutcome::TooLarge,
        Ok(Reply::Busy(_)) | Err(PeerError::Busy(_) | PeerError::Memory(_)) => FetchOutcome::Busy,
        Ok(Reply::Deadline) | Err(PeerError::Timeout(_)) => FetchOutcome::Deadline,
        Err(
            PeerError::Connect(_)
            | PeerError::Broken(_)
            | PeerError::OtherCluster(_)
            | PeerError::Resting { .. },
        ) => FetchOutcome::Unreachable,
        Ok(_) => FetchOutcome::Refused,
    }
}
