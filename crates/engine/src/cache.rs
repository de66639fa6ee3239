//! The cache: its builder, its handle, and every operation but storing (`insert.rs`) and walking (`iter.rs`).
//!
//! A key's hash names its shard; each shard is a table and an LRU under a mutex. Capacity belongs to the whole
//! cache, not to the shard: the shards' entries are charged to one budget. What all shards write on a hit is
//! nothing; what they write when an entry comes or goes are the counters in `Shared`.
//!
//! Order of locks: a thread holds at most one shard's lock, and under it at most the clock's or one of the flights'. Entries leave through
//! a list that is settled after the lock: there the listener is told and the blocks are freed.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, OnceLock};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;

use crate::block::Hit;
use crate::budget::{Budget, Quota, Sharer};
use crate::clock::Clock;
use crate::flight::Flights;
use crate::lru::{Lru, Region};
use crate::shard::{Found, Left, Shard};
use crate::stats::{Cause, Stats};
use crate::sync::{AtomicU64, Mutex, Ordering};

/// Shards by default: enough that the threads of a large machine rarely meet, and each holds this many units at
/// least, so that a small cache is one exact LRU.
const MAX_DEFAULT_SHARDS: u64 = 64;
const UNITS_PER_SHARD: u64 = 64 * 1024;

/// The most shards that can be asked for; more would cost memory and bring nothing.
const MAX_SHARDS: usize = 1024;

/// Told of every entry that leaves; see `Builder::listener`.
pub type Listener<M> = Arc<dyn Fn(&Hit<M>, Cause) + Send + Sync>;

/// Which entry leaves when room is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// The one used longest ago, within its shard.
    #[default]
    Lru,
}

/// Settings of a cache that is to be; see `Cache::builder`.
pub struct Builder<M> {
    budget: Arc<Budget>,
    policy: Policy,
    clock: Option<Clock>,
    seed: Option<u64>,
    shards: Option<usize>,
    listener: Option<Listener<M>>,
    minor_limit: u64,
    is_minor: fn(&M) -> bool,
}

impl<M: Copy + Send + Sync + 'static> Builder<M> {
    /// The most that the entries may weigh together. 0, the default, keeps nothing.
    pub fn capacity(self, units: u64) -> Self {
        self.budget(Arc::new(Budget::new(units)))
    }

    /// A capacity that other caches use as well, in place of one of its own.
    pub fn budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = budget;
        self
    }

    /// Which entry leaves when room is needed; LRU by default.
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

    /// How many shards, rounded up to a power of two and at most 1024. By default one for each 65,536 units of
    /// capacity, rounded down, and at most 64. One shard is an exact LRU.
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = Some(shards.clamp(1, MAX_SHARDS).next_power_of_two());
        self
    }

    /// Tells `listener` of every entry that leaves, exactly once each, with the cause.
    ///
    /// It is called after the fact, outside all locks, on the thread whose call made the entry leave (for a shared
    /// budget that may be a caller of another cache), and may call back into any cache. Entries are not told of
    /// when the cache is dropped.
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

    /// The cache. Starts no thread; see `Clock::system`.
    pub fn build(self) -> Cache<M> {
        // One arm now: here the engine's next policy is chosen, and nothing above has to know.
        let Policy::Lru = self.policy;
        let shards = self.shards.unwrap_or_else(|| default_shards(self.budget.capacity()));
        let shared = Arc::new(Shared {
            shards: (0..shards).map(|_| Mutex::new(Shard::new())).collect(),
            hasher: hasher(self.seed),
            budget: self.budget,
            weight: AtomicU64::new(0),
            minor: Quota::new(self.minor_limit),
            is_minor: self.is_minor,
            clock: self.clock.unwrap_or_else(Clock::system),
            listener: self.listener,
            refused: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            turn: AtomicU64::new(0),
            flights: OnceLock::new(),
        });
        let sharer: Arc<dyn Sharer> = shared.clone();
        shared.budget.join(Arc::downgrade(&sharer));
        Cache { shared }
    }
}

fn default_shards(capacity: u64) -> usize {
    let shards = (capacity / UNITS_PER_SHARD).clamp(1, MAX_DEFAULT_SHARDS);
    1 << shards.ilog2()
}

fn hasher(seed: Option<u64>) -> SeedableRandomState {
    match seed {
        Some(seed) => SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()),
        None => {
            // The standard library's seed comes from the system; the hash crate's own only from addresses and time.
            let seed = std::hash::RandomState::new().build_hasher().finish();
            SeedableRandomState::with_seed(seed, SharedSeed::global_random())
        }
    }
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
    pub(crate) shards: Box<[Mutex<Shard<M>>]>,
    hasher: SeedableRandomState,
    pub(crate) budget: Arc<Budget>,
    /// What this cache's entries weigh; written under their shard's lock. With the other sharers' never more than
    /// the budget has taken: added after the room was taken, subtracted before it is given back.
    pub(crate) weight: AtomicU64,
    /// The minor region's part of it.
    pub(crate) minor: Quota,
    is_minor: fn(&M) -> bool,
    pub(crate) clock: Clock,
    listener: Option<Listener<M>>,
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
            budget: Arc::new(Budget::new(0)),
            policy: Policy::default(),
            clock: None,
            seed: None,
            shards: None,
            listener: None,
            minor_limit: 0,
            is_minor: |_| false,
        }
    }

    /// The live entry of this key, which counts as used now. Copies nothing.
    pub fn get(&self, key: &[u8]) -> Option<Hit<M>> {
        let shared = &*self.shared;
        let hash = shared.hash(key);
        let mut left = Vec::new();
        let hit = shared.look_up(&mut shared.shards[shared.home(hash)].lock(), hash, key, &mut left);
        shared.settle(left);
        hit
    }

    /// As `get` for each key, answered in the order asked; each shard's lock is taken once.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Hit<M>>> {
        let shared = &*self.shared;
        let mut asked: Vec<(u64, usize)> =
            keys.iter().enumerate().map(|(i, key)| (shared.hash(key.as_ref()), i)).collect();
        // Stable, so that keys of one shard are used in the order asked.
        asked.sort_by_key(|&(hash, _)| shared.home(hash));
        let mut answers: Vec<Option<Hit<M>>> = keys.iter().map(|_| None).collect();
        let mut left = Vec::new();
        for run in asked.chunk_by(|a, b| shared.home(a.0) == shared.home(b.0)) {
            let mut shard = shared.shards[shared.home(run[0].0)].lock();
            for &(hash, i) in run {
                answers[i] = shared.look_up(&mut shard, hash, keys[i].as_ref(), &mut left);
            }
        }
        shared.settle(left);
        answers
    }

    /// The live entry of this key, without any trace: nothing is counted, moved or dropped.
    pub fn peek(&self, key: &[u8]) -> Option<Hit<M>> {
        let hash = self.shared.hash(key);
        self.shared.shards[self.shared.home(hash)].lock().peek(hash, key, &self.shared.clock)
    }

    /// Takes the entry of this key out, and gives it unless it had expired (that counts as an expiration).
    pub fn remove(&self, key: &[u8]) -> Option<Hit<M>> {
        let shared = &*self.shared;
        let hash = shared.hash(key);
        let left = {
            let mut shard = shared.shards[shared.home(hash)].lock();
            shared.detach(hash, key);
            let left = shard.remove(hash, key, &shared.clock)?;
            shared.release(&left);
            left
        };
        let removed = (left.cause == Cause::Removed).then(|| left.hit.clone());
        shared.settle(vec![left]);
        removed
    }

    /// Takes all entries out, shard by shard; each lock is held for a moment only. What is inserted meanwhile, into
    /// a shard already cleared, stays: a caller for whom it must not has to refuse it by `keep`.
    pub fn clear(&self) {
        let shared = &*self.shared;
        for shard in &shared.shards {
            let entries = {
                let mut shard = shard.lock();
                shared.detach_all();
                shared.empty(&mut shard)
            };
            let left =
                entries.into_entries().map(|(hit, region)| Left { hit, region, cause: Cause::Cleared });
            shared.settle(left.collect());
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

    /// The sum of the entries' weights: at no instant more than the capacity.
    pub fn weight(&self) -> u64 {
        self.shared.weight.load(Ordering::Acquire)
    }

    /// The most that the entries may weigh; of a shared budget, those of all sharers together.
    pub fn capacity(&self) -> u64 {
        self.shared.budget.capacity()
    }

    /// The clock that expiries are measured by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// A snapshot of the counters. Takes each shard's lock in turn.
    pub fn stats(&self) -> Stats {
        let shared = &*self.shared;
        let mut stats = Stats {
            refused: shared.refused.load(Ordering::Relaxed),
            unwanted: shared.unwanted.load(Ordering::Relaxed),
            weight: self.weight(),
            minor_weight: shared.minor.used(),
            capacity: self.capacity(),
            ..Stats::default()
        };
        for shard in &shared.shards {
            let shard = shard.lock();
            stats.add_shard(&shard.stats, shard.len() as u64);
        }
        stats
    }
}

impl<M> Shared<M> {
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// The number of the shard for this hash, from its upper half; the lower one is the shard's own.
    pub(crate) fn home(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    pub(crate) fn region(&self, meta: &M) -> Region {
        if (self.is_minor)(meta) { Region::Minor } else { Region::Major }
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

    fn look_up(
        &self,
        shard: &mut Shard<M>,
        hash: u64,
        key: &[u8],
        left: &mut Vec<Left<M>>,
    ) -> Option<Hit<M>> {
        match shard.get(hash, key, &self.clock) {
            Found::Live(hit) => Some(hit),
            Found::Nothing => None,
            Found::Expired(expired) => {
                self.release(&expired);
                left.push(expired);
                None
            }
        }
    }

    /// An entry left: its weight no longer counts. Its units are still taken from the budget and the region.
    pub(crate) fn discount(&self, left: &Left<M>) {
        self.weight.fetch_sub(left.hit.weight(), Ordering::AcqRel);
    }

    /// An entry left for good: all it held is free again.
    pub(crate) fn release(&self, left: &Left<M>) {
        self.discount(left);
        self.release_minor(left);
        self.budget.quota().give(left.hit.weight());
    }

    pub(crate) fn release_minor(&self, left: &Left<M>) {
        if left.region == Region::Minor {
            self.minor.give(left.hit.weight());
        }
    }

    /// Takes all out of a shard and frees what it held, in constant time; the clock hears of it later, in `settle`.
    fn empty(&self, shard: &mut Shard<M>) -> Lru<M> {
        let (weight, minor_weight) = (shard.weight(), shard.minor_weight());
        self.weight.fetch_sub(weight, Ordering::AcqRel);
        self.minor.give(minor_weight);
        self.budget.quota().give(weight);
        shard.clear()
    }

    /// Tells the clock and the listener of what left, then lets go of it. Outside all locks.
    pub(crate) fn settle(&self, left: Vec<Left<M>>) {
        // The way of every hit: not even the clock's counter, which all caches share, is touched.
        if left.is_empty() {
            return;
        }
        self.clock.unwatch(left.iter().filter(|left| left.hit.expires().is_some()).count() as u64);
        for Left { hit, cause, .. } in left {
            if let Some(listener) = &self.listener {
                listener(&hit, cause);
            }
        }
    }
}

/// The entries' units go back to the budget, which others may share, and the clock forgets their expiries.
impl<M> Drop for Shared<M> {
    fn drop(&mut self) {
        for shard in &self.shards {
            let entries = self.empty(&mut shard.lock()).into_entries();
            self.clock.unwatch(entries.filter(|(hit, _)| hit.expires().is_some()).count() as u64);
        }
        self.budget.leave();
    }
}

impl<M> fmt::Debug for Cache<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = self.shared.weight.load(Ordering::Acquire);
        write!(f, "Cache({weight} of {:?}, {} shards)", self.shared.budget, self.shared.shards.len())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
