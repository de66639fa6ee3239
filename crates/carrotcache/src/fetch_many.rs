//! A fetch of many keys: asking an owner for all that flights want of it, in one request.
//!
//! Runs in tasks of its own, one for each owner; `many.rs` begins them. An owner that cannot be reached is replaced as
//! for one key, by the stand-ins of its keys, which may be several nodes. A peer without the question is asked for one
//! key after the other, by the errands of plain gets. May wait for loads on this node, never for a fetch.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::clock::{self, Moment};
use crate::error::{GetError, PeerError};
use crate::fetch::outcome_of;
use crate::flight::Errand;
use crate::group::{Group, HOP, Landed, Purpose};
use crate::limits::Limits;
use crate::many::{Flight, land_all};
use crate::message::{Reply, Request};
use crate::peers::{Sent, Trial};
use crate::placement::GroupHash;
use crate::stats::FetchOutcome;
use crate::sync::{Mutex, lock};
use crate::units::Key;
use crate::view::{Member, Owner, View};

/// What a key takes of a request beside its own bytes, at most.
const PER_KEY: usize = 4;

/// Keys that are asked for at once of a peer that takes one at a time: a quarter of the connections to it, as `Limits`
/// has them by default, so that plain gets find one.
const LANES: usize = 16;

/// As many flights as this land in the task of a line, some tens of microseconds.
const ON_LINE: usize = 256;

/// Who is asked for a key, of one view.
#[derive(Clone, Copy)]
enum Whom<'a> {
    /// Nobody: it is loaded here.
    Here(Purpose),
    There(&'a Member),
}

impl<'a> Whom<'a> {
    fn owner(view: &'a View, group: GroupHash, key: &Key) -> Self {
        match view.owner(group, key.as_bytes()) {
            Owner::Local => Self::Here(Purpose::Answer),
            Owner::Remote(member) => Self::There(member),
        }
    }

    fn is_here(self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// Whether both are the same: in a view a member is in one place alone.
    fn is(self, other: Self) -> bool {
        match (self, other) {
            (Self::Here(purpose), Self::Here(other)) => purpose == other,
            (Self::There(member), Self::There(other)) => std::ptr::eq(member, other),
            _ => false,
        }
    }
}

/// Flights whose owner is being asked on a line, without a task.
struct ManyOnLine {
    group: Group,
    owner: Member,
    flights: Vec<Flight>,
    trial: Trial,
    began: Moment,
}

impl ManyOnLine {
    /// Runs in the line's task: what has to be asked again gets a task of its own.
    fn ends(self, sent: Sent, at: Instant) {
        let Self { group, owner, flights, trial, began } = self;
        let Sent::Answered(answer) = sent else {
            trial.unseen();
            return group.spawn()(Box::pin(group.clone().fetch_together(owner, flights)));
        };
        let now = group.moment_at(at);
        group.shared.around.peers.ended(&owner, trial, &answer, now);
        let answer = group.noted_many(answer, flights.len(), began, now);
        let Rest { left, lost } = group.settle(&owner, flights, answer, now);
        if !left.is_empty() {
            group.spawn()(Box::pin(group.clone().fetch_together(owner, left)));
        }
        if !lost.is_empty() {
            group.replace_many(lost);
        }
    }
}

/// What an answer to many flights has not landed.
#[derive(Default)]
struct Rest {
    /// There was no room for them: to be asked for again.
    left: Vec<Flight>,
    /// Nobody can say whether there is a value: somebody else is to be asked.
    lost: Vec<Flight>,
}

impl Group {
    /// The errands of these flights, one for each owner that has to be asked by one.
    ///
    /// `mirrored` is `Store::mirrored` before their keys were looked for.
    pub(crate) fn fetch_errands(&self, flights: Vec<Flight>, mirrored: u64) -> Vec<Errand> {
        let shared = &*self.shared;
        let view = shared.around.views.current();
        let owner = |flight: Flight| {
            let whom = Whom::owner(&view, shared.seed, flight.key());
            // One may have landed between our look and our take-off. Of another's key that leaves a mirror, or nothing.
            let may_be_here = whom.is_here() || shared.store.mirrored() != mirrored;
            let flight = if may_be_here { self.look_again_for(flight, whom.is_here())? } else { flight };
            Some((whom, flight))
        };
        let mut errands: Vec<Errand> = Vec::new();
        for (whom, flights) in by(owner, flights) {
            let Whom::There(member) = whom else {
                let group = self.clone();
                errands.push(Box::pin(async move { group.load_for(flights, Purpose::Answer).await }));
                continue;
            };
            for mut flights in batches(flights, |flight| flight.key().as_bytes().len()) {
                let (group, member) = (self.clone(), member.clone());
                errands.extend(match flights.pop() {
                    // Alone it is a plain fetch.
                    Some(flight) if flights.is_empty() => {
                        Some(flight.errand(|key, keep| self.clone().fetch(key, keep)))
                    }
                    last => {
                        flights.extend(last);
                        let left = self.fetch_together_at_once(&member, flights);
                        left.map(|flights| -> Errand { Box::pin(group.fetch_together(member, flights)) })
                    }
                });
            }
        }
        errands
    }

    /// Sends the flights off without an errand, where their owner can be asked on a line; gives them back otherwise.
    fn fetch_together_at_once(&self, owner: &Member, flights: Vec<Flight>) -> Option<Vec<Flight>> {
        let shared = &*self.shared;
        let is_leaving = shared.around.leaving.load(Ordering::Relaxed);
        // More would hold up the line when they land.
        if is_leaving || flights.len() > ON_LINE {
            return Some(flights);
        }
        let began = self.moment();
        let what = self.what(flights.iter().map(|flight| flight.key().clone()).collect(), false, false);
        let Some((line, trial)) = shared.around.peers.line(owner, &what, began) else { return Some(flights) };
        let deadline = clock::after(began.instant, shared.settings.fetch_deadline());
        let on_line = ManyOnLine { group: self.clone(), owner: owner.clone(), flights, trial, began };
        line.send(&what, began.instant, deadline, Box::new(|sent, at| on_line.ends(sent, at)));
        None
    }

    /// The errand of many flights to one owner.
    async fn fetch_together(self, owner: Member, flights: Vec<Flight>) {
        if let Err(leaving) = self.take_off() {
            return land_all(flights, &leaving);
        }
        let lost = self.ask_for_many(&owner, flights, false).await;
        if !lost.is_empty() {
            self.replace_many(lost);
        }
    }

    /// Has others asked for the keys of these flights, whose owner cannot be reached.
    fn replace_many(&self, lost: Vec<Flight>) {
        // Availability over balance: a dead owner costs extra loads, not an outage.
        let shared = &*self.shared;
        shared.stats.stand_ins.add(lost.len() as u64);
        let view = shared.around.views.current();
        let stand_in = |flight: Flight| {
            let whom = match view.place(shared.seed, flight.key().as_bytes()).stand_in() {
                Some(Owner::Local) => Whom::Here(Purpose::StandIn),
                Some(Owner::Remote(member)) => Whom::There(member),
                None => Whom::Here(Purpose::Answer),
            };
            Some((whom, flight))
        };
        for (whom, flights) in by(stand_in, lost) {
            let group = self.clone();
            self.spawn()(match whom {
                Whom::Here(purpose) => Box::pin(async move { group.load_for(flights, purpose).await }),
                Whom::There(member) => Box::pin(group.ask_stand_in(member.clone(), flights)),
            });
        }
    }

    /// The errand when the owner cannot be reached: the stand-in, then loads here that are not kept.
    async fn ask_stand_in(self, member: Member, flights: Vec<Flight>) {
        let lost = self.ask_for_many(&member, flights, true).await;
        self.load_for(lost, Purpose::Answer).await;
    }

    /// Lands fetches with what loads on this node land with.
    async fn load_for(&self, flights: Vec<Flight>, purpose: Purpose) {
        let keys: Vec<Key> = flights.iter().map(|flight| flight.key().clone()).collect();
        let waits = self.loading_many(&keys, purpose).await;
        for (flight, mut wait) in flights.into_iter().zip(waits) {
            // Each waits by itself: whoever joined one of these fetches wants that key, and not the slowest of them.
            let group = self.clone();
            self.spawn()(Box::pin(async move {
                let landed = group.landing(wait.flown().await);
                flight.land(landed);
            }));
        }
    }

    /// Asks `member` for the keys of these flights, and lands them. Gives those of which nobody can say whether there
    /// is a value.
    async fn ask_for_many(&self, member: &Member, flights: Vec<Flight>, stand_in: bool) -> Vec<Flight> {
        let (mut left, mut lost) = (flights, Vec::new());
        // A round more for what an answer had no room for. Each lands one flight at least.
        while !left.is_empty() {
            let what = self.what(left.iter().map(|flight| flight.key().clone()).collect(), stand_in, false);
            let deadline = clock::after(clock::now(), self.shared.settings.fetch_deadline());
            let answer = self.ask_many(member, what, left.len(), deadline).await;
            let rest = self.settle(member, left, answer, self.moment());
            left = rest.left;
            lost.extend(rest.lost);
            // To land thousands takes its time, and others share this thread.
            tokio::task::yield_now().await;
        }
        lost
    }

    /// Lands flights with what a member answered for them.
    fn settle(
        &self,
        member: &Member,
        flights: Vec<Flight>,
        answer: Result<Reply, PeerError>,
        now: Moment,
    ) -> Rest {
        let mut rest = Rest::default();
        match answer {
            Ok(Reply::Many(replies)) => {
                for (flight, reply) in flights.into_iter().zip(replies) {
                    match reply {
                        Reply::LeftOut => rest.left.extend(flight.if_wanted()),
                        // It is starting, or older than this group.
                        Reply::NoGroup => rest.lost.push(flight),
                        Reply::Found(found) => {
                            let landed = self.arrived(member, flight.key(), || flight.may_keep(), found, now);
                            flight.land(landed);
                        }
                        refusal => {
                            let error = self.refused(member, flight.key(), refusal);
                            flight.land(Err(error));
                        }
                    }
                }
            }
            Ok(Reply::NoGroup) => rest.lost = flights,
            // It has no such question, or is too old to know of it.
            Ok(Reply::Unsupported | Reply::BadRequest(_)) => self.one_by_one(flights),
            Ok(refusal) => {
                for flight in flights {
                    let error = self.refused(member, flight.key(), refusal.clone());
                    flight.land(Err(error));
                }
            }
            Err(error) if error.is_unreachable() => {
                tracing::debug!(group = %self.shared.name, peer = %member.name, %error, "peer is unreachable");
                rest.lost = flights;
            }
            Err(error) => {
                for flight in flights {
                    let error = self.unasked(member, flight.key(), &error);
                    flight.land(Err(error));
                }
            }
        }
        rest
    }

    /// Flies each by the errand of a plain get, some of them at a time.
    fn one_by_one(&self, flights: Vec<Flight>) {
        let lanes = flights.len().min(LANES);
        let queue = Arc::new(Mutex::new(flights));
        for _ in 0..lanes {
            let (group, queue) = (self.clone(), queue.clone());
            self.spawn()(Box::pin(async move {
                loop {
                    // In a statement of its own: the lock is free again before the errand begins.
                    let next = lock(&queue).pop();
                    let Some(flight) = next else { return };
                    flight.errand(|key, keep| group.clone().fetch(key, keep)).await;
                }
            }));
        }
    }

    /// One request to a peer for so many values, each counted. As many are answered where it answers each.
    async fn ask_many(
        &self,
        member: &Member,
        what: Request,
        asked: usize,
        deadline: Instant,
    ) -> Result<Reply, PeerError> {
        let shared = &*self.shared;
        if !shared.around.peers.can_say(&what) {
            return Ok(Reply::Unsupported);
        }
        let began = self.moment();
        let answer = shared.around.peers.ask(member, what, deadline).await;
        self.noted_many(answer, asked, began, self.moment())
    }

    /// Counts an answer to so many keys, and what it took. One that does not answer each is none.
    fn noted_many(
        &self,
        mut answer: Result<Reply, PeerError>,
        asked: usize,
        began: Moment,
        now: Moment,
    ) -> Result<Reply, PeerError> {
        let shared = &*self.shared;
        let limit = shared.around.limits.value;
        shared.stats.fetch_seconds.observe(now.instant - began.instant);
        let took = now.elapsed.saturating_sub(began.elapsed);
        if let Ok(Reply::Many(replies)) = &answer {
            let told = replies.iter().filter(|reply| !matches!(reply, Reply::LeftOut)).count();
            if replies.len() != asked || told == 0 {
                let why = format!("{} answers, {told} of them told, to {asked} keys", replies.len());
                answer = Err(PeerError::broken(&why));
            }
        }
        match &mut answer {
            Ok(Reply::Many(replies)) => {
                let mut found_fit = 0;
                for reply in replies.iter_mut().filter(|reply| !matches!(reply, Reply::LeftOut)) {
                    match outcome_of(Ok(reply), limit) {
                        FetchOutcome::Found => found_fit += 1,
                        other => shared.stats.fetches.add(other),
                    }
                    if let Reply::Found(found) = reply {
                        found.travelled(took);
                    }
                }
                shared.stats.fetches.add_some(FetchOutcome::Found, found_fit);
            }
            // They are asked for again one by one, and counted then.
            Ok(Reply::Unsupported | Reply::BadRequest(_)) => {}
            other => {
                let outcome = outcome_of(other.as_ref(), limit);
                (0..asked).for_each(|_| shared.stats.fetches.add(outcome));
            }
        }
        answer
    }

    fn what(&self, keys: Vec<Key>, stand_in: bool, cached_only: bool) -> Request {
        Request::GetMany { group: self.shared.name.clone(), keys, stand_in, cached_only }
    }

    /// Memory only: here there was nothing, so the owners'. One answer for each key, in the order asked.
    pub(crate) async fn ask_memory_many(&self, keys: &[&[u8]], within: Option<Duration>) -> Vec<Landed> {
        let shared = &*self.shared;
        let view = shared.around.views.current();
        let owner = |(at, key): (usize, Key)| Some((Whom::owner(&view, shared.seed, &key), (at, key)));
        let mut answers: Vec<Landed> =
            keys.iter().map(|key| Err(GetError::NotCached { key: Key::new(key) })).collect();
        let keys: Vec<_> = keys.iter().map(|key| Key::new(key)).enumerate().collect();
        // A caller who goes away drops the requests with the set.
        let mut asking = JoinSet::new();
        for (whom, keys) in by(owner, keys) {
            let Whom::There(member) = whom else { continue };
            for keys in batches(keys, |(_, key)| key.as_bytes().len()) {
                let (group, member) = (self.clone(), member.clone());
                let ask = async move { group.ask_memory_of(&member, keys, within).await };
                asking.spawn_on(ask, shared.around.runtimes.nearest());
            }
        }
        while let Some(asked) = asking.join_next().await {
            for (at, answer) in asked.unwrap_or_default() {
                answers[at] = answer;
            }
        }
        answers
    }

    /// What `member` holds in memory of these keys; each goes with its place in the answer.
    async fn ask_memory_of(
        &self,
        member: &Member,
        keys: Vec<(usize, Key)>,
        within: Option<Duration>,
    ) -> Vec<(usize, Landed)> {
        let limit = within.unwrap_or(HOP);
        let deadline = clock::after(clock::now(), limit.max(HOP));
        let what = self.what(keys.iter().map(|(_, key)| key.clone()).collect(), false, true);
        let asking = self.ask_many(member, what, keys.len(), deadline);
        // A caller who waits for less than a hop drops the request: his haste says nothing of the peer.
        let Ok(answer) = clock::timeout(limit, asking).await else {
            keys.iter().for_each(|_| self.shared.stats.fetches.add(FetchOutcome::Deadline));
            return keys.into_iter().map(|(at, key)| (at, Err(self.late(member, &key, limit)))).collect();
        };
        let mut answers = Vec::with_capacity(keys.len());
        let mut replies = match answer {
            Ok(Reply::Many(replies)) => replies.into_iter(),
            other => {
                let each = |(at, key): (usize, Key)| (at, self.not_remembered(member, &key, &other));
                return keys.into_iter().map(each).collect();
            }
        };
        for (at, key) in keys {
            let answer = match replies.next().unwrap_or(Reply::NotCached) {
                Reply::Found(found) => self.received(member, &key, found),
                Reply::LeftOut => self.ask_memory(key.as_bytes(), within).await,
                other => self.not_remembered(member, &key, &Ok(other)),
            };
            answers.push((at, answer));
        }
        answers
    }
}

/// Parts `all` by whom each asks; those that ask nobody are left out.
fn by<'a, T>(whom: impl Fn(T) -> Option<(Whom<'a>, T)>, all: Vec<T>) -> Vec<(Whom<'a>, Vec<T>)> {
    let mut parts: Vec<(Whom<'a>, Vec<T>)> = Vec::new();
    let mut left = all.len();
    for (whom, one) in all.into_iter().filter_map(whom) {
        match parts.iter_mut().find(|(other, _)| whom.is(*other)) {
            Some((_, part)) => part.push(one),
            None => {
                let mut part = Vec::with_capacity(left);
                part.push(one);
                parts.push((whom, part));
            }
        }
        left -= 1;
    }
    parts
}

/// Parts `all`, whose keys have so many bytes, into what one request carries, in their order.
fn batches<T>(all: Vec<T>, length: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    // The smallest room that a body of ours may find, whatever its reader's limit on values.
    let room = usize::try_from(Limits::KEYS_BODY.as_u64()).unwrap_or(usize::MAX) - 16;
    let (mut parts, mut taken): (Vec<Vec<T>>, usize) = (Vec::new(), 0);
    if all.iter().map(|one| length(one) + PER_KEY).sum::<usize>() <= room {
        parts.extend((!all.is_empty()).then_some(all));
        return parts;
    }
    for one in all {
        taken += length(&one) + PER_KEY;
        match parts.last_mut() {
            Some(part) if taken <= room => part.push(one),
            _ => {
                taken = length(&one) + PER_KEY;
                parts.push(vec![one]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_parted_by_what_a_request_carries_and_keep_their_order() {
        let room = 65_536 - 16;
        let lengths = |keys: &[usize]| -> Vec<Vec<usize>> { batches(keys.to_vec(), |length| *length) };
        assert_eq!(lengths(&[]), Vec::<Vec<usize>>::new());
        assert_eq!(lengths(&[1, 2, 3]), [[1, 2, 3]]);
        assert_eq!(lengths(&[room - 8 - 5, 5, 1]), [vec![room - 8 - 5, 5], vec![1]]);
        assert_eq!(lengths(&[room - 8 - 4, 5, 1]), [vec![room - 8 - 4], vec![5, 1]]);
        // A key that is over it by itself is sent all the same: its peer has the last word.
        assert_eq!(lengths(&[1, room, 1]), [[1], [room], [1]]);
        let many = lengths(&[16_384; 10]);
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3, 1]);
    }
}
