//! What a group holds in memory: `owned` entries and `mirrors` of other owners' hot ones, in one engine.
//!
//! The only file that has a cache. Mirrors weigh at most an eighth of the capacity, as the seed's hot cache did;
//! what they do not use, owned entries do. Times to live become the engine's expiry here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use carrot_engine::{Cache, Cause, Hit, Present, Refused, Time, Weight};

use crate::clock::Clock;
use crate::memory::Memory;
use crate::message::Holding;
use crate::policy::Policy;
use crate::stats::{EvictionCause, GroupStats, Refusal, Region};
use crate::units::{ByteSize, Key};
use crate::value::{Meta, Value};

/// Mirrors get at most 1/8 of a group's capacity.
const MIRROR_SHARE: u64 = 8;

/// No mirror outlives this, whatever its ttl: until removes reach mirrors, it bounds how long one can be wrong.
pub(crate) const MIRROR_TTL_MAX: Duration = Duration::from_secs(60);

/// An entry found in memory. Ages are reckoned when asked for: a plain get wants no clock.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) region: Region,
    loaded_ms: i64,
    expires: Option<Time>,
}

impl Entry {
    /// Since the value was read at the origin.
    pub(crate) fn age(&self, now: Time) -> Duration {
        // Saturating: an age comes from a peer, who may say anything.
        Duration::from_millis(millis(now).saturating_sub(self.loaded_ms).max(0).unsigned_abs())
    }

    /// How much longer the value may be served; `None`: without end.
    pub(crate) fn ttl(&self, now: Time) -> Option<Duration> {
        self.expires.map(|end| end.since(now))
    }
}

/// A value on its way into memory.
pub(crate) struct Arrival {
    pub(crate) value: Bytes,
    /// Since the value was read at the origin.
    pub(crate) age: Duration,
    /// How long it may be served from now on; `None`: without end.
    pub(crate) ttl: Option<Duration>,
    pub(crate) region: Region,
}

/// An entry that was looked at, to be changed if it is still the key's then.
pub(crate) struct Seen(Hit<Meta>);

/// How a change of what was seen ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Swap {
    Done,
    /// Somebody else was quicker, or it is not true any more: nothing was changed.
    Undone,
    /// There is no room for it: nothing was changed.
    NoRoom,
}

/// The memory of one group.
pub(crate) struct Store {
    cache: Cache<Meta>,
    clock: Clock,
    stats: Arc<GroupStats>,
    /// How often a mirror was kept.
    mirrored: AtomicU64,
}

impl Store {
    /// A store of its own capacity, within the node's memory if that has a size.
    pub(crate) fn new(
        capacity: ByteSize,
        policy: Policy,
        memory: &Memory,
        clock: Clock,
        stats: Arc<GroupStats>,
    ) -> Self {
        let capacity = capacity.as_u64();
        let told = stats.clone();
        let builder = Cache::builder().capacity(capacity);
        let builder = match memory.budget() {
            Some(budget) => builder.budget(budget),
            None => builder,
        };
        let cache = builder
            .policy(match policy {
                Policy::Default => carrot_engine::Policy::Default,
                Policy::Lru => carrot_engine::Policy::Lru,
            })
            .region(capacity / MIRROR_SHARE, |meta: &Meta| meta.mirror)
            .clock(clock.engine().clone())
            .listener(Arc::new(move |_, cause| {
                told.evictions.add(eviction(cause));
            }))
            .build();
        Self { cache, clock, stats, mirrored: AtomicU64::new(0) }
    }

    /// The entry of `key`, if this node may serve it: what is its own only where the key is `local`, mirrors
    /// anywhere. An entry left from a time when this node owned the key may have been removed at the new owner.
    pub(crate) fn lookup(&self, local: bool, key: &[u8]) -> Option<Entry> {
        entry(local, self.cache.get(key)?)
    }

    /// A number that is another once a mirror was kept. Who read it before he looked for keys of others and found none
    /// has no need to look again while it is the same.
    pub(crate) fn mirrored(&self) -> u64 {
        // Acquire, with Release where it changes: who sees the number sees the mirror.
        self.mirrored.load(Ordering::Acquire)
    }

    /// As `lookup`, for a flight before it goes on: a set that is being stored at this moment is waited for. A lookup
    /// takes no lock, so it may come after that set has detached the flights, and find nothing yet.
    pub(crate) fn look_again(&self, local: bool, key: &[u8]) -> Option<Entry> {
        entry(local, self.cache.get_in_order(key)?)
    }

    /// As `lookup` for each key, beside which stands whether it is local; in one pass, whose memory accesses overlap.
    pub(crate) fn lookup_many<K: AsRef<[u8]>>(
        &self,
        local: Vec<bool>,
        keys: &[K],
    ) -> impl Iterator<Item = (bool, Option<Entry>)> + use<K> {
        let found = self.cache.get_many(keys).into_iter();
        local.into_iter().zip(found).map(|(local, hit)| (local, hit.and_then(|hit| entry(local, hit))))
    }

    /// What `lookup` would find, for somebody who only wants to know: nothing is counted, moved or dropped.
    pub(crate) fn held(&self, local: bool, key: &[u8]) -> Option<Holding> {
        let hit = self.cache.peek(key)?;
        let (weight_bytes, uses) = (hit.weight(), hit.hits());
        let (entry, now) = (entry(local, hit)?, self.clock.now());
        Some(Holding {
            region: entry.region,
            value_bytes: entry.value.len() as u64,
            weight_bytes,
            age: entry.age(now),
            ttl: entry.ttl(now),
            uses,
        })
    }

    /// How many entries there are, those expired and not yet noticed included.
    pub(crate) fn len(&self) -> u64 {
        self.cache.len() as u64
    }

    /// Keys that `lookup` would find, from a cursor on: see `Group::scan`.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        count: usize,
        local: impl Fn(&[u8]) -> bool,
    ) -> (Vec<Key>, Option<u64>) {
        let (hits, next) = self.cache.scan(cursor, count);
        let served = hits.iter().filter(|hit| hit.meta().mirror || local(hit.key()));
        (served.map(|hit| Key::new(hit.key())).collect(), next)
    }

    /// Keeps the value, unless `still_true` says no: it is asked under the lock that a remove of the key takes.
    ///
    /// Gives the value to hand out, which is the entry itself where it was kept, and whether it was.
    pub(crate) fn keep(
        &self,
        key: &[u8],
        arrival: Arrival,
        still_true: impl FnOnce() -> bool,
    ) -> (Value, bool) {
        match self.put(key, &arrival, |_| still_true()) {
            Some(Ok(hit)) => (Value::from(hit), true),
            Some(Err(_)) | None => (Value::from(arrival.value), false),
        }
    }

    /// `None`: its time is over.
    fn put(
        &self,
        key: &[u8],
        arrival: &Arrival,
        keep: impl FnOnce(Option<Present>) -> bool,
    ) -> Option<Result<Hit<Meta>, Refused>> {
        let &Arrival { ref value, age, ttl, region } = arrival;
        let mirror = region == Region::Mirrors;
        let ttl = if mirror { Some(ttl.map_or(MIRROR_TTL_MAX, |ttl| ttl.min(MIRROR_TTL_MAX))) } else { ttl };
        if ttl == Some(Duration::ZERO) {
            return None;
        }
        let now = self.clock.now();
        let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        let meta = Meta { loaded_ms: millis(now).saturating_sub(age_ms), mirror };
        let expires: Option<Time> = ttl.map(|ttl| now + ttl);
        let stored = self.cache.insert_over(key, value, meta, Weight::Real, expires, keep);
        self.count(&stored);
        if mirror && stored.is_ok() {
            self.mirrored.fetch_add(1, Ordering::Release);
        }
        Some(stored)
    }

    /// What is held of a key that this node owns, to be changed.
    pub(crate) fn seen(&self, key: &[u8]) -> Option<Seen> {
        self.cache.peek(key).map(Seen)
    }

    /// How much longer it may be served; `None`: without end.
    pub(crate) fn left(&self, seen: &Seen) -> Option<Duration> {
        seen.0.expires().map(|end| end.since(self.clock.now()))
    }

    /// Keeps a value in the place of what was seen, or of nothing, unless `still_true` says no: it is asked under the
    /// entry's lock, if nobody was quicker. One whose time is over takes out what was seen.
    pub(crate) fn swap(
        &self,
        key: &[u8],
        seen: Option<&Seen>,
        arrival: &Arrival,
        still_true: impl FnOnce() -> bool,
    ) -> Swap {
        let is_seen = |present: Option<Present>| match (present, seen) {
            (None, None) => true,
            (Some(present), Some(seen)) => present.is(&seen.0),
            _ => false,
        };
        match self.put(key, arrival, |present| is_seen(present) && still_true()) {
            Some(stored) => stored.into(),
            None if seen.is_none_or(|seen| self.cache.remove_this(&seen.0)) => Swap::Done,
            None => Swap::Undone,
        }
    }

    /// Has what was seen be served for so long from now on; zero: no more. A mirror is never served for longer than
    /// before. `still_true` as of `swap`. Costs a copy of the value.
    pub(crate) fn expire(
        &self,
        seen: &Seen,
        ttl: Option<Duration>,
        still_true: impl FnOnce() -> bool,
    ) -> Swap {
        let Seen(hit) = seen;
        let ttl = if hit.meta().mirror { ttl.into_iter().chain(self.left(seen)).min() } else { ttl };
        if ttl == Some(Duration::ZERO) {
            return if self.cache.remove_this(hit) { Swap::Done } else { Swap::Undone };
        }
        let expires = ttl.map(|ttl| self.clock.now() + ttl);
        let is_seen = |present: Option<Present>| present.is_some_and(|present| present.is(hit));
        let keep = |present| is_seen(present) && still_true();
        let stored = self.cache.insert_over(hit.key(), hit, hit.meta(), Weight::Real, expires, keep);
        self.count(&stored);
        stored.into()
    }

    /// It may be too heavy, or its room cannot be made.
    fn count(&self, stored: &Result<Hit<Meta>, Refused>) {
        if matches!(stored, Err(Refused::Oversize { .. } | Refused::NoRoom)) {
            self.stats.refusals.add(Refusal::Room);
        }
    }

    /// Forgets everything. Some ten nanoseconds an entry and more for a large one: not for a thread that others wait
    /// for.
    pub(crate) fn clear(&self) {
        self.cache.clear();
    }

    /// Forgets `key`, and says whether it was held.
    pub(crate) fn remove(&self, key: &[u8]) -> bool {
        self.cache.remove(key).is_some()
    }

    /// Forgets the owned entries of keys that are not `local` any more.
    ///
    /// `lookup` would hide them only until this node owns their keys again, and by then they may have been removed at
    /// another owner. Walks all entries, some hundred nanoseconds each: not for a thread that others wait for.
    pub(crate) fn disown(&self, local: impl Fn(&[u8]) -> bool) {
        for hit in &self.cache {
            if !hit.meta().mirror && !local(hit.key()) {
                self.cache.remove(hit.key());
            }
        }
    }

    /// What is held now: the weight of the owned entries, of the mirrors, and the capacity.
    pub(crate) fn weights(&self) -> (u64, u64, u64) {
        let stats = self.cache.stats();
        (stats.weight.saturating_sub(stats.minor_weight), stats.minor_weight, stats.capacity)
    }
}

impl From<Result<Hit<Meta>, Refused>> for Swap {
    fn from(stored: Result<Hit<Meta>, Refused>) -> Self {
        match stored {
            Ok(_) => Self::Done,
            Err(Refused::Unwanted) => Self::Undone,
            Err(_) => Self::NoRoom,
        }
    }
}

/// The entry, if it may be served: see `Store::lookup`.
fn entry(local: bool, hit: Hit<Meta>) -> Option<Entry> {
    let meta = hit.meta();
    if !local && !meta.mirror {
        return None;
    }
    Some(Entry {
        region: if meta.mirror { Region::Mirrors } else { Region::Owned },
        loaded_ms: meta.loaded_ms,
        expires: hit.expires(),
        value: Value::from(hit),
    })
}

/// A moment as a signed number, so that an age can reach back before the clock began.
fn millis(time: Time) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The engine's word for why an entry went, in the words of the metrics.
fn eviction(cause: Cause) -> EvictionCause {
    match cause {
        Cause::Expired => EvictionCause::Expired,
        Cause::Replaced => EvictionCause::Replaced,
        Cause::Removed | Cause::Cleared => EvictionCause::Removed,
        // What the engine decides for itself, now or in a later version.
        _ => EvictionCause::Room,
    }
}
