//! The cache: its builder, its handle, and every operation but storing (`insert`), many keys at once (`many`) and
//! walking (`iter`).
//!
//! A key's hash names its shard. A hit takes no lock and writes nothing that all threads share: it counts up the
//! entry's own handles and hits, and the thread's own counter. What changes a shard takes its lock. Capacity belongs to
//! the whole cache: shards hold quotas of it, and pass them on where they are needed (`room`).
//!
//! Order of locks: a thread holds one shard's lock at a time, and under it those of the arena, the clock and the
//! flights; only who weighs the whole takes the shards' all, in their order. Entries leave through a list that is
//! settled after the lock: there the listener is told and the blocks are freed.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};

use crate::arena::{Arena, DropValue};
use crate::block::Hit;
use crate::budget::{Budget, Quota};
use crate::clock::Clock;
use crate::counters::Counters;
use crate::flight::Flights;
use crate::keys::{Keys, half};
use crate::pages::PageSize;
use crate::purse::Source;
use crate::shard::{Ground, Left, Locked, Shard, is_past};
use crate::stats::{Cause, Stats};
use crate::sync::{AtomicU64, Ordering};
use crate::table::Found;

/// The most shards by default: so many that the threads of a large machine rarely meet.
const MAX_DEFAULT_SHARDS: u64 = 64;
/// A shard holds this many entries at least, where their number is known: with fewer, chance takes from the hit ratio.
const ENTRIES_PER_SHARD: u64 = 256;
/// A shard holds this many units at least, where nothing is known: of bytes, some hundred entries.
const UNITS_PER_SHARD: u64 = 64 * 1024;
/// Who expects this many entries gets large pages: what he holds is then many times as much.
const LARGE_PAGES_FROM: u64 = 100_000;
/// The most shards that can be asked for; more would cost memory and bring nothing.
const MAX_SHARDS: usize = 1024;
/// Entries that leave by a thread's calls between two looks at how their blocks lie, and how many chunks of blocks are
/// emptied then, if they lie sparse: so many that this keeps up with values that change their sizes.
const LEFT_BETWEEN_LOOKS: u64 = 256;
const CHUNKS_AT_A_LOOK: u64 = 4;
/// So many bytes of a value count as another entry, up to so many: large blocks are few to a chunk.
const LARGE: u64 = 256;
const MOST_OF_ONE: u64 = 64;
/// The part of the capacity that one entry may weigh.
const LARGEST_PART: u64 = 8;

/// Told of every entry that leaves; see `Builder::listener`.
pub type Listener<M> = Arc<dyn Fn(&Hit<M>, Cause) + Send + Sync>;

/// Which entry leaves when room is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// What wins on recorded traces: S3-FIFO that adapts, see `s3fifo`. A hit takes no lock.
    #[default]
    Default,
    /// The one used longest ago, within its shard. A hit takes the shard's lock.
    Lru,
}

/// Settings of a cache that is to be; see `Cache::builder`.
///
/// One is needed, and with the others left alone it is a good cache:
///
/// | the bound is | say | and store with |
/// |---|---|---|
/// | memory | `capacity(bytes)` | `Weight::Real`: all that an entry takes, which the process grows by |
/// | the sum of what you keep | `capacity(bytes)` | `Weight::Payload`: keys and values alone, as others count |
/// | a number | `entries(n)` | `Weight::Entry` |
/// | of your own measure | `capacity(units)` | `Weight::Units(n)` |
/// | memory that several caches share | `budget(…)`, and `capacity(…)` for one that is to have less | all alike |
///
/// `expect` is worth it where a cache of known size fills quickly, or has few and heavy entries. `policy` is for who
/// must have LRU's order, `clock` and `seed` are for tests that repeat, `shards` for tests and benches.
pub struct Builder<M> {
    capacity: Option<u64>,
    budget: Option<Arc<Budget>>,
    policy: Policy,
    clock: Option<Clock>,
    seed: Option<u64>,
    shards: Option<usize>,
    expected: Option<u64>,
    listener: Option<Listener<M>>,
    minor_limit: u64,
    is_minor: fn(&M) -> bool,
    drop_value: Option<DropValue>,
}

impl<M: Copy + Send + Sync + 'static> Builder<M> {
    /// The most that the entries may weigh together. 0 keeps nothing, and so does neither this nor a budget.
    ///
    /// One entry may weigh an eighth of it; a heavier one is refused, which `Stats::refused` counts.
    pub fn capacity(mut self, units: u64) -> Self {
        self.capacity = Some(units);
        self
    }

    /// A capacity that is a number of entries, all to be stored with `Weight::Entry`; they are expected as well.
    pub fn entries(self, entries: u64) -> Self {
        self.capacity(entries).expect(entries)
    }

    /// About how many entries will fit, where that is known. It decides on the number of shards, and a shard's table
    /// grows to that size at once when it has begun to fill, instead of step by step. From 100,000 on, blocks and tables
    /// are in large pages, where the system has such: gets are a tenth faster, and what is given back is less finely
    /// cut. It bounds nothing.
    pub fn expect(mut self, entries: u64) -> Self {
        self.expected = Some(entries);
        self
    }

    /// A capacity that other caches use as well. Beside one of its own both hold: this cache's entries weigh at most
    /// its capacity, those of all sharers together at most the budget's.
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Which entry leaves when room is needed. The default wins on all but a few kinds of requests, and its hits take
    /// no lock; LRU is for requests that are known to suit it, and for tests that rely on its order.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The clock that expiries are measured by; the system's by default. Caches may share one.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Makes the hash, hence the choice of shards, repeatable. By default it is drawn from the system's randomness
    /// for each cache, so that nobody can choose keys that collide.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// How many shards, rounded up to a power of two and at most 1024. By default one for each 256 entries, if it is
    /// known how many there will be, else for each 65,536 units of capacity, rounded down, and at most 64.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards.clamp(1, MAX_SHARDS).next_power_of_two());
        self
    }

    /// Tells `listener` of every entry that leaves, exactly once each, with the cause.
    ///
    /// It is called after the fact, outside all locks, on the thread whose call made the entry leave (for a shared
    /// budget that may be a caller of another cache), and may call back into any cache. If it panics, the panic is that
    /// call's, what was done is done, and the others that left by the same call are told of all the same. Entries are
    /// not told of when the cache is dropped.
    pub fn listener(mut self, listener: Listener<M>) -> Self {
        self.listener = Some(listener);
        self
    }

    /// Entries whose meta `of` accepts form the minor region: together they weigh at most `limit`, inside the
    /// capacity. When the region is full, a minor entry replaces minor ones; when the whole is full, major entries
    /// leave before minor ones, within a shard. A limit of 0 keeps no minor entry. By default all are major.
    pub fn region(mut self, limit: u64, of: fn(&M) -> bool) -> Self {
        self.minor_limit = limit;
        self.is_minor = of;
        self
    }

    /// What drops the Rust values of a cache that holds such.
    pub(crate) fn drop_value(mut self, drop_value: DropValue) -> Self {
        self.drop_value = Some(drop_value);
        self
    }

    /// The cache. Starts no thread; see `Clock::system`.
    pub fn build(self) -> Cache<M> {
        let (own, budget) = match (self.capacity, self.budget) {
            (own, Some(budget)) => (own.map(Quota::new), budget),
            (capacity, None) => (None, Arc::new(Budget::new(capacity.unwrap_or(0)))),
        };
        let capacity = own.as_ref().map_or(u64::MAX, Quota::limit).min(budget.capacity());
        let shards = self.shards.unwrap_or_else(|| default_shards(capacity, self.expected));
        let is_lru = self.policy == Policy::Lru;
        // Chance gives some shards a little more than others, and the quotas even out what is more than that.
        let part = |entries: u64| {
            let fair = entries / shards as u64;
            usize::try_from(fair.saturating_add(fair / 32)).unwrap_or(usize::MAX)
        };
        let foreseen = self.expected.map(|entries| part(entries.min(capacity)));
        let has_values = self.drop_value.is_some();
        let is_large = self.expected.is_some_and(|entries| entries.min(capacity) >= LARGE_PAGES_FROM);
        let page_size = if is_large { PageSize::Large } else { PageSize::Small };
        let arena = Arena::new(page_size, self.drop_value);
        let shared = Arc::new(Shared {
            shards: (0..shards).map(|_| Shard::new(is_lru, foreseen, &arena)).collect(),
            keys: Keys::new(self.seed),
            counters: Counters::new(),
            arena,
            budget,
            own,
            capacity,
            fair: capacity / shards as u64,
            is_lru,
            minor: Quota::new(self.minor_limit),
            is_minor: self.is_minor,
            clock: self.clock.unwrap_or_else(Clock::system),
            listener: self.listener,
            has_values,
            refused: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            flights: OnceLock::new(),
        });
        shared.join();
        Cache { shared }
    }
}

fn default_shards(capacity: u64, expected: Option<u64>) -> usize {
    let shards = expected.map_or(capacity / UNITS_PER_SHARD, |entries| entries / ENTRIES_PER_SHARD);
    1 << shards.clamp(1, MAX_DEFAULT_SHARDS).ilog2()
}

/// A bounded map from bytes to bytes, each entry with a small `M` beside it. Cheap to clone; all clones are the
/// same cache. Every operation may be called from any thread; none waits for anything but a short lock.
pub struct Cache<M> {
    pub(crate) shared: Arc<Shared<M>>,
}

impl<M> Clone for Cache<M> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// What the clones of a cache share.
pub(crate) struct Shared<M> {
    /// A power of two of them.
    pub(crate) shards: Box<[Shard<M>]>,
    pub(crate) keys: Keys,
    counters: Counters,
    /// Dropped after the shards have given up their entries.
    pub(crate) arena: Arena,
    pub(crate) budget: Arc<Budget>,
    /// The cache's own capacity, if it has one inside a shared budget.
    pub(crate) own: Option<Quota>,
    /// The lesser of the two.
    pub(crate) capacity: u64,
    /// What each shard may hold if all hold the same, when the cache is full.
    pub(crate) fair: u64,
    pub(crate) is_lru: bool,
    /// The minor region's part of what is held; taken while its entries' shard is locked.
    pub(crate) minor: Quota,
    is_minor: fn(&M) -> bool,
    pub(crate) clock: Clock,
    listener: Option<Listener<M>>,
    /// Entries may hold Rust values, whose drop is foreign code.
    has_values: bool,
    pub(crate) refused: AtomicU64,
    pub(crate) unwanted: AtomicU64,
    /// Where the next eviction for another sharer begins, so that no shard bears them all.
    pub(crate) turn: AtomicU64,
    /// The loads under way; there from the first `get_with` on. The standard library's also under shuttle: making
    /// the table has nothing to interleave.
    pub(crate) flights: OnceLock<Box<Flights<Hit<M>>>>,
}

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// Settings to build a cache from; only a capacity or a budget is needed.
    pub fn builder() -> Builder<M> {
        Builder {
            capacity: None,
            budget: None,
            policy: Policy::default(),
            clock: None,
            seed: None,
            shards: None,
            expected: None,
            listener: None,
            minor_limit: 0,
            is_minor: |_| false,
            drop_value: None,
        }
    }

    /// The live entry of this key, which counts as used now. Copies nothing.
    ///
    /// Two dependent cache misses, no lock (`Policy::Lru` takes the shard's) and no look at the clock.
    pub fn get(&self, key: &[u8]) -> Option<Hit<M>> {
        self.shared.get(self.shared.keys.hash(key), key)
    }

    /// As `get`, in order with the calls that change entries: an insert that has asked its `keep`, and has not yet stored
    /// what it may, is waited for. For a second look before something is loaded. Takes the shard's lock, so `keep` may not call it; what has
    /// expired is not found, and by the default policy left where it is.
    pub fn get_in_order(&self, key: &[u8]) -> Option<Hit<M>> {
        let shared = &*self.shared;
        let hash = shared.keys.hash(key);
        let found =
            if shared.is_lru { shared.touch(hash, key) } else { shared.shard(hash).lock().find(hash, key) };
        shared.judge(hash, found)
    }

    /// The live entry of this key, without any trace: nothing is counted, moved or dropped.
    pub fn peek(&self, key: &[u8]) -> Option<Hit<M>> {
        let shared = &*self.shared;
        shared.find(shared.keys.hash(key), key).filter(|hit| !is_past(hit, &shared.clock))
    }

    /// Takes the entry of this key out, and gives it unless it had expired (that counts as an expiration).
    pub fn remove(&self, key: &[u8]) -> Option<Hit<M>> {
        let shared = &*self.shared;
        let hash = shared.keys.hash(key);
        let left = {
            let mut shard = shared.shard(hash).lock();
            shared.detach(hash, key);
            let left = shard.remove(hash, key, shared.ground())?;
            shared.release(&mut shard, &left);
            left
        };
        let removed = (left.cause == Cause::Removed).then(|| left.hit.clone());
        shared.settle([left]);
        removed
    }

    /// Takes all entries out, shard by shard; each lock is held for some nanoseconds an entry. What is inserted
    /// meanwhile, into a shard already cleared, stays: a caller for whom it must not has to refuse it by `keep`.
    pub fn clear(&self) {
        let shared = &*self.shared;
        for shard in &shared.shards {
            let left = {
                let mut shard = shard.lock();
                shared.detach_all();
                shared.empty(&mut shard)
            };
            shared.settle(left);
        }
    }

    /// How many entries there are, those expired and not yet noticed included. Takes each shard's lock in turn.
    pub fn len(&self) -> usize {
        self.shared.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.shared.shards.iter().all(|shard| shard.lock().len() == 0)
    }

    /// The sum of the entries' weights: at no instant more than the capacity. Takes all shards' locks at once, for an
    /// instant.
    pub fn weight(&self) -> u64 {
        let locked: Vec<Locked<'_, M>> = self.shared.shards.iter().map(Shard::lock).collect();
        locked.iter().map(Locked::weight).sum()
    }

    /// The most that the entries may weigh; of a shared budget, those of all sharers together.
    pub fn capacity(&self) -> u64 {
        self.shared.capacity
    }

    /// The clock that expiries are measured by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// A snapshot of the counters. Takes each shard's lock in turn, and all for the weight.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let (hits, misses) = shared.counters.sums();
        let mut stats = Stats {
            hits,
            misses,
            refused: shared.refused.load(Ordering::Relaxed),
            unwanted: shared.unwanted.load(Ordering::Relaxed),
            weight: self.weight(),
            minor_weight: shared.minor.used(),
            resident_bytes: shared.arena.resident().0,
            capacity: self.capacity(),
            ..Stats::default()
        };
        for shard in &shared.shards {
            let shard = shard.lock();
            stats.add_shard(shard.stats(), shard.len() as u64);
        }
        stats
    }
}

impl<M> Shared<M> {
    /// The number of the shard for this hash, from its upper half; the lower one is the shard's own.
    pub(crate) fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    pub(crate) fn shard(&self, hash: u64) -> &Shard<M> {
        &self.shards[self.home(hash)]
    }

    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground { keys: &self.keys, arena: &self.arena, clock: &self.clock }
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { own: self.own.as_ref(), budget: self.budget.quota() }
    }

    /// The most that one entry may weigh.
    pub(crate) fn largest(&self) -> u64 {
        (self.capacity / LARGEST_PART).max(self.capacity.min(1))
    }

    pub(crate) fn is_minor(&self, meta: &M) -> bool {
        (self.is_minor)(meta)
    }

    #[inline]
    pub(crate) fn get(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        let found = if self.is_lru { self.touch(hash, key) } else { self.find(hash, key) };
        self.judge(hash, found)
    }

    /// What is found is a hit if it has not expired.
    #[inline]
    fn judge(&self, hash: u64, found: Option<Hit<M>>) -> Option<Hit<M>> {
        match found {
            Some(hit) if !is_past(&hit, &self.clock) => {
                hit.touch();
                self.counters.hit();
                Some(hit)
            }
            found => {
                self.counters.miss();
                found.inspect(|expired| self.drop_expired(hash, expired));
                None
            }
        }
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        match self.shard(hash).table.find(half(hash), key) {
            Found::Hit(hit) => Some(hit),
            Found::Nothing => None,
            Found::Busy => self.shard(hash).lock().find(hash, key),
        }
    }

    /// The entry of this key, which is the last to leave now.
    fn touch(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        let mut shard = self.shard(hash).lock();
        let hit = shard.find(hash, key)?;
        if !is_past(&hit, &self.clock) {
            shard.touch(&hit);
        }
        Some(hit)
    }

    #[cold]
    fn drop_expired(&self, hash: u64, hit: &Hit<M>) {
        let left = {
            let mut shard = self.shard(hash).lock();
            let left = shard.remove_expired(hash, hit, self.ground());
            left.inspect(|left| self.release(&mut shard, left))
        };
        self.settle(left);
    }

    /// What is being loaded for this key is not to be kept. Under the key's shard's lock, which he who loads takes
    /// after he announced it: so no load that began before is missed.
    pub(crate) fn detach(&self, hash: u64, key: &[u8]) {
        if let Some(flights) = self.flights.get() {
            flights.detach(hash, key);
        }
    }

    fn detach_all(&self) {
        if let Some(flights) = self.flights.get() {
            flights.detach_all();
        }
    }

    /// An entry left for good: what it held is free again.
    pub(crate) fn release(&self, shard: &mut Locked<'_, M>, left: &Left<M>) {
        self.release_minor(left);
        self.source().give(shard.take_slack(0));
    }

    pub(crate) fn release_minor(&self, left: &Left<M>) {
        if left.hit.is_minor() {
            self.minor.give(left.hit.weight());
        }
    }

    /// Takes all out of a shard and frees what it held.
    fn empty(&self, shard: &mut Locked<'_, M>) -> Vec<Left<M>> {
        self.minor.give(shard.minor_weight());
        let left = shard.clear(Cause::Cleared, self.ground());
        self.source().give(shard.take_slack(0));
        left
    }

    /// Tells the listener of what left, then lets go of it; looks now and then whether blocks lie sparse. Outside all
    /// locks.
    pub(crate) fn settle(&self, left: impl IntoIterator<Item = Left<M>>) {
        let mut panic = None;
        let mut count = 0;
        for Left { hit, cause } in left {
            count += 1 + (hit.value_len() as u64 / LARGE).min(MOST_OF_ONE);
            if self.listener.is_none() && !self.has_values {
                hit.retire(&self.arena);
                continue;
            }
            let told = catch_unwind(AssertUnwindSafe(|| {
                self.listener.iter().for_each(|listener| listener(&hit, cause));
            }));
            // Apart, since a Rust value in it may panic as well when it is dropped.
            let dropped = catch_unwind(AssertUnwindSafe(|| hit.retire(&self.arena)));
            // The first one is the caller's; the others are told of all the same.
            panic = panic.or(told.err()).or(dropped.err());
        }
        if count > 0 {
            self.compact(self.counters.left(count, LEFT_BETWEEN_LOOKS) * CHUNKS_AT_A_LOOK);
        }
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// The entries' units go back to the budget, which others may share, and the clock forgets their expiries.
impl<M> Drop for Shared<M> {
    fn drop(&mut self) {
        let mut panic = None;
        for shard in &self.shards {
            let left = self.empty(&mut shard.lock());
            // A Rust value that panics when it is dropped must not keep the other shards' from being dropped.
            let dropped = catch_unwind(AssertUnwindSafe(|| drop(left)));
            panic = panic.or(dropped.err());
        }
        self.budget.leave();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

impl<M> fmt::Debug for Cache<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.shared.shards.iter().map(Shard::quota_hint).sum::<u64>();
        write!(f, "Cache({used} of {:?}, {} shards)", self.shared.budget, self.shared.shards.len())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
