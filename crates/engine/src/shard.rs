//! One shard: a table that is read without its lock, and behind the lock the queues, the policy, the wheel, the counts.
//!
//! What leaves is handed out as `Left`, never dropped here: freeing a block and telling the listener are for after
//! the lock. A shard keeps within its quota, which whoever holds its lock has taken from the budget; it takes none
//! itself.
//!
//! Uses `unsafe` once, to move an entry to another block.
#![allow(unsafe_code, reason = "moves an entry; see above")]

use crate::arena::Arena;
use crate::block::{Hit, Lent, Move, free_moved, move_within};
use crate::clock::{Clock, Time};
use crate::keys::{Keys, half};
use crate::prefetch::prefetch;
use crate::queues::{Queue, Queues, Rank};
use crate::s3fifo::{S3Fifo, Victim};
use crate::stats::{Cause, Stats};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::table::{Found, Lines, Table};
use crate::wheel::Wheel;

/// Expired entries that one insert takes out at most: they are many at once where many were stored at once.
const EXPIRED_AT_ONCE: usize = 32;
/// As many times that many hints are looked at before a live entry has to leave though expired ones may be left.
const EXPIRY_ROUNDS: u32 = 128;
/// A wheel holds at most twice the hints it has use for, and these.
const SPARE_HINTS: usize = 64;
/// The clock is told of expiries a second ahead, so that it need not be told of each.
const ANNOUNCED_AHEAD: u64 = 1000;
/// Entries that left between two looks at whether blocks lie sparse.
const LEFT_BETWEEN_LOOKS: u32 = 512;
/// So many bytes that left count as another entry.
const LARGE: usize = 256;

/// On cache lines of its own: a neighbour's writers must not slow this one's readers.
#[repr(align(128))]
pub(crate) struct Shard<M> {
    pub(crate) table: Table<M>,
    /// Mirrors the quota, to be read without the lock by those who look for room.
    quota: AtomicU64,
    state: Mutex<State<M>>,
}

/// What is behind the lock.
pub(crate) struct State<M> {
    lines: Lines,
    queues: Queues<M>,
    order: Order,
    wheel: Option<Box<Wheel>>,
    /// Entries that can expire.
    expiring: usize,
    /// Up to when the clock knows of expiries, in milliseconds.
    announced: u64,
    /// What the entries may weigh: taken from the budget. Invariant: not less than they do, whenever the lock is free.
    quota: u64,
    left_since_look: u32,
    /// The shard's part; what belongs to the whole cache stays zero.
    pub(crate) stats: Stats,
}

/// Which entry leaves for room.
enum Order {
    /// The one used longest ago: `main` alone, in the order of use.
    Lru,
    S3Fifo(Box<S3Fifo>),
}

/// What an operation on a shard needs to know of its cache.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) keys: &'a Keys,
    pub(crate) clock: &'a Clock,
}

/// What an entry needs when it is put in: see `Locked::admit`.
pub(crate) struct Admitted {
    queue: Queue,
    /// The key's older entry, by its address: still in the table, and in no queue.
    old: Option<u64>,
    /// What that held of the minor region.
    pub(crate) minor: u64,
}

/// What an eviction is to make room for: the weight that comes into small.
#[derive(Clone, Copy, Default)]
pub(crate) struct Coming {
    small: u64,
}

impl Admitted {
    pub(crate) fn coming(&self, weight: u64) -> Coming {
        Coming { small: if self.queue == Queue::Small { weight } else { 0 } }
    }
}

/// An entry on its way out.
pub(crate) struct Left<M> {
    pub(crate) hit: Hit<M>,
    pub(crate) cause: Cause,
}

impl<M> Shard<M> {
    /// An empty shard. `foreseen` is how many entries it will hold, if that is known.
    pub(crate) fn new(is_lru: bool, foreseen: Option<usize>) -> Self {
        let (table, lines) = Table::new(foreseen);
        let order = if is_lru { Order::Lru } else { Order::S3Fifo(Box::new(S3Fifo::new())) };
        let state = State {
            lines,
            queues: Queues::new(),
            order,
            wheel: None,
            expiring: 0,
            announced: 0,
            quota: 0,
            left_since_look: 0,
            stats: Stats::default(),
        };
        Self { table, quota: AtomicU64::new(0), state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> Locked<'_, M> {
        Locked { shard: self, state: self.state.lock() }
    }

    /// The quota, a moment ago.
    pub(crate) fn quota_hint(&self) -> u64 {
        self.quota.load(Ordering::Relaxed)
    }
}

/// A shard whose lock is held.
pub(crate) struct Locked<'a, M> {
    shard: &'a Shard<M>,
    state: MutexGuard<'a, State<M>>,
}

impl<'a, M> Locked<'a, M> {
    fn table(&self) -> &'a Table<M> {
        &self.shard.table
    }

    pub(crate) fn len(&self) -> usize {
        self.table().len(&self.state.lines)
    }

    /// What the entries weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.state.queues.total()
    }

    pub(crate) fn minor_weight(&self) -> u64 {
        self.state.queues.weight(Queue::Minor)
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.state.stats
    }

    pub(crate) fn quota(&self) -> u64 {
        self.state.quota
    }

    /// Units come from the budget, or go back: the caller took them or will give them.
    pub(crate) fn set_quota(&mut self, quota: u64) {
        debug_assert!(quota >= self.weight(), "entries weigh {} over a quota of {quota}", self.weight());
        self.state.quota = quota;
        self.shard.quota.store(quota, Ordering::Relaxed);
    }

    /// Takes out of the quota what no entry uses, but for `keep`, and gives it.
    pub(crate) fn take_slack(&mut self, keep: u64) -> u64 {
        let slack = self.state.quota - self.weight();
        if slack <= keep {
            return 0;
        }
        self.set_quota(self.state.quota - slack);
        slack
    }

    /// The entry of a key, as a reader would find it.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        match self.table().find(half(hash), key) {
            Found::Hit(hit) => Some(hit),
            // Only who holds this lock moves entries, and has finished.
            Found::Nothing | Found::Busy => None,
        }
    }

    /// What the entry of this key weighs; zero if there is none.
    pub(crate) fn weight_of(&self, hash: u64, key: &[u8]) -> u64 {
        self.table().entry(&self.state.lines, half(hash), key).map_or(0, |entry| entry.weight())
    }

    /// The entry was used: it is the last to leave now. Only an LRU keeps such an order; else the hit itself counts.
    pub(crate) fn touch(&mut self, hit: &Hit<M>) {
        let state = &mut *self.state;
        match state.order {
            Order::Lru => {
                state.queues.requeue(hit.address(), Rank::of(hit).queue);
                state.queues.close_holes(4);
            }
            Order::S3Fifo(_) => hit.touch(),
        }
    }

    /// Takes the entry of a key out: removed, or found expired.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8], ground: Ground<'_>) -> Option<Left<M>> {
        let entry = self.table().entry(&self.state.lines, half(hash), key)?;
        let cause = if is_past(&entry, ground.clock) { Cause::Expired } else { Cause::Removed };
        let address = entry.address();
        let left = self.take(half(hash), address, cause, ground);
        self.tidy(ground);
        Some(left)
    }

    /// Takes this very entry out, if it is still the key's and has expired.
    pub(crate) fn remove_expired(&mut self, hash: u64, hit: &Hit<M>, ground: Ground<'_>) -> Option<Left<M>> {
        let entry = self.table().entry(&self.state.lines, half(hash), hit.key())?;
        // It may have been replaced, or moved, since it was found.
        let address = is_past(&entry, ground.clock).then(|| entry.address())?;
        let left = self.take(half(hash), address, Cause::Expired, ground);
        self.tidy(ground);
        Some(left)
    }

    /// Takes out some of what has expired; cheap while nothing has.
    pub(crate) fn expire(&mut self, ground: Ground<'_>, left: &mut impl Extend<Left<M>>) {
        if self.state.wheel.is_none() {
            return;
        }
        let now = ground.clock.coarse();
        // A hint's way down the levels is steps as well, and it may be out of date: so on until an entry was found.
        let mut rounds = 0..EXPIRY_ROUNDS;
        while rounds.next().is_some() && !self.expire_some(now, ground, left) {}
    }

    /// Takes out what the next hints of the wheel lead to; true if that is anything, or nothing is due.
    fn expire_some(&mut self, now: Time, ground: Ground<'_>, left: &mut impl Extend<Left<M>>) -> bool {
        let Some(wheel) = self.state.wheel.as_mut().filter(|wheel| wheel.is_due(now)) else { return true };
        let mut due = Vec::new();
        wheel.advance(now, EXPIRED_AT_ONCE, &mut |hash, _| due.push(hash));
        let mut found = false;
        for half in due {
            let candidates = self.table().candidates(&self.state.lines, half);
            let expired: Vec<u64> = candidates
                .filter(|entry| entry.expires().is_some_and(|expires| expires <= now))
                .map(|entry| entry.address())
                .collect();
            for address in expired {
                let gone = self.take_at(address, Cause::Expired, ground);
                left.extend([gone]);
                found = true;
            }
        }
        found
    }

    /// Puts an entry in the place of the key's older one, which is given; unless there is none, or it weighs less or is
    /// of the other region.
    pub(crate) fn replace(&mut self, hash: u64, hit: &Hit<M>, ground: Ground<'_>) -> Option<Left<M>> {
        let old = self.table().entry(&self.state.lines, half(hash), hit.key())?;
        if old.is_minor() != hit.is_minor() || old.weight() < hit.weight() {
            return None;
        }
        let old = old.address();
        self.watch(half(hash), hit, ground);
        let state = &mut *self.state;
        let old = self.shard.table.replace(&mut state.lines, half(hash), old, hit.clone());
        state.queues.replace(&old, hit);
        state.stats.inserts += 1;
        self.touch(hit);
        Some(self.account(old, Cause::Replaced, ground))
    }

    /// Where an entry is to go: where the key's older one was, which is in no queue afterwards, else where the policy
    /// says. Its own rank is set. `share` is what the shard may hold as a part of its cache.
    pub(crate) fn admit(&mut self, hash: u64, hit: &Hit<M>, share: u64) -> Admitted {
        let state = &mut *self.state;
        if let Some(old) = self.shard.table.entry(&state.lines, half(hash), hit.key()) {
            let (rank, weight) = (Rank::of(&old), old.weight());
            hit.set_hits(old.hits());
            rank.write(hit);
            hit.touch();
            let queue = match (hit.is_minor(), &state.order, rank.queue) {
                (true, ..) => Queue::Minor,
                (false, Order::S3Fifo(_), Queue::Small) => Queue::Small,
                (false, ..) => Queue::Main,
            };
            state.queues.remove(&old);
            let minor = if old.is_minor() { weight } else { 0 };
            return Admitted { queue, old: Some(old.address()), minor };
        }
        let queue = match &mut state.order {
            _ if hit.is_minor() => Queue::Minor,
            Order::Lru => Queue::Main,
            Order::S3Fifo(policy) => {
                let admission = policy.admit(&state.queues, hit, hash, share);
                state.stats.admissions += u64::from(admission.queue == Queue::Main);
                state.stats.ghost_hits += u64::from(admission.nearly);
                admission.queue
            }
        };
        Admitted { queue, old: None, minor: 0 }
    }

    /// Puts an entry in, where `admit` said; gives the older one, if there was one. There is room for it.
    pub(crate) fn enter(
        &mut self,
        hash: u64,
        hit: &Hit<M>,
        admitted: Admitted,
        ground: Ground<'_>,
    ) -> Option<Left<M>> {
        self.watch(half(hash), hit, ground);
        let state = &mut *self.state;
        state.stats.inserts += 1;
        state.queues.push(admitted.queue, hit);
        debug_assert!(state.queues.total() <= state.quota, "there is no room");
        let half_of = |key: &[u8]| ground.keys.half(key);
        let table = &self.shard.table;
        let old = match admitted.old {
            Some(old) => Some(table.replace(&mut state.lines, half(hash), old, hit.clone())),
            None => {
                table.insert(&mut state.lines, half(hash), hit.clone(), &half_of);
                None
            }
        };
        old.map(|old| self.account(old, Cause::Replaced, ground))
    }

    /// There was room for all: the policy may arrange them.
    pub(crate) fn fill(&mut self, share: u64) {
        let state = &mut *self.state;
        if let Order::S3Fifo(policy) = &state.order {
            policy.fill(&mut state.queues, share);
        }
    }

    /// Takes the policy's next victim out: a major entry, unless there is none. `coming` is what the room is for.
    pub(crate) fn evict(&mut self, share: u64, coming: Coming, ground: Ground<'_>) -> Option<Left<M>> {
        self.evict_major(share, coming, ground).or_else(|| self.evict_minor(ground))
    }

    fn evict_major(&mut self, share: u64, coming: Coming, ground: Ground<'_>) -> Option<Left<M>> {
        let state = &mut *self.state;
        [Queue::Small, Queue::Main].into_iter().filter_map(|queue| state.queues.soon(queue)).for_each(
            |address| {
                prefetch(std::ptr::without_provenance(address as usize));
            },
        );
        let address = loop {
            match &mut state.order {
                Order::Lru => break state.queues.oldest(Queue::Main)?.address(),
                Order::S3Fifo(policy) => {
                    match policy
                        .evict(&mut state.queues, share, coming.small, &|key| ground.keys.hash(key))?
                    {
                        Victim::Evict { address } => break address,
                        Victim::Moved { admitted } => state.stats.admissions += u64::from(admitted),
                    }
                }
            }
        };
        Some(self.take_at(address, Cause::Evicted, ground))
    }

    /// Takes a minor entry out: the one used longest ago, or with the default policy, as CLOCK does, the oldest that was
    /// not hit since it last had its turn.
    pub(crate) fn evict_minor(&mut self, ground: Ground<'_>) -> Option<Left<M>> {
        let State { queues, order, .. } = &mut *self.state;
        let address = loop {
            let oldest = queues.oldest(Queue::Minor)?;
            if matches!(order, Order::Lru) || oldest.hits() == 0 {
                break oldest.address();
            }
            oldest.set_hits(oldest.hits() - 1);
            drop(oldest);
            queues.requeue_oldest(Queue::Minor, Queue::Minor);
        };
        Some(self.take_at(address, Cause::Evicted, ground))
    }

    /// Takes everything out, and gives the memory of the bookkeeping back.
    pub(crate) fn clear(&mut self, cause: Cause, ground: Ground<'_>) -> Vec<Left<M>> {
        let hits = self.shard.table.clear(&mut self.state.lines);
        let state = &mut *self.state;
        state.stats.count(cause, hits.len() as u64);
        state.queues.clear();
        if let Order::S3Fifo(policy) = &mut state.order {
            policy.clear();
        }
        state.wheel = None;
        if std::mem::take(&mut state.expiring) > 0 {
            ground.clock.unwatch();
        }
        hits.into_iter().map(|hit| Left { hit, cause }).collect()
    }

    /// The hashes of the entries of each region, those that are to leave last first.
    pub(crate) fn orders(&self, ground: Ground<'_>) -> [Vec<u64>; 2] {
        let hashes = |queues: &[Queue]| {
            let entries = queues.iter().flat_map(|&queue| self.state.queues.newest_first(queue));
            entries.map(|entry| ground.keys.hash(entry.key())).collect()
        };
        [hashes(&[Queue::Main, Queue::Small]), hashes(&[Queue::Minor])]
    }

    /// The entry with this hash, unless it is gone or expired.
    pub(crate) fn redeem(&self, hash: u64, ground: Ground<'_>) -> Option<Hit<M>> {
        let mut candidates = self.table().candidates(&self.state.lines, half(hash));
        let entry = candidates.find(|entry| ground.keys.hash(entry.key()) == hash)?;
        (!is_past(&entry, ground.clock)).then(|| (*entry).clone())
    }

    /// Moves an entry to another block, unless somebody else holds it. If it left meanwhile, it is given back: this may
    /// be its last handle.
    pub(crate) fn relocate(&mut self, hash: u64, hit: Hit<M>, arena: &Arena) -> Option<Hit<M>> {
        let state = &mut *self.state;
        let entry = self.shard.table.entry(&state.lines, half(hash), hit.key());
        if !entry.is_some_and(|entry| entry.address() == hit.address()) {
            return Some(hit);
        }
        // SAFETY: under the lock, in the table; the old address is replaced before the old block is freed.
        unsafe {
            if let Some(Move { new, old }) = move_within(hit, arena) {
                state.queues.moved(&new);
                self.shard.table.moved(&mut state.lines, half(hash), old, new);
                free_moved(old);
            }
        }
        None
    }

    /// Closes holes, gives memory back, and builds the wheel anew, each where it is worth it. After entries left.
    pub(crate) fn tidy(&mut self, ground: Ground<'_>) {
        let state = &mut *self.state;
        let spare = if matches!(state.order, Order::Lru) { 4 } else { 1 };
        state.queues.close_holes(spare);
        self.shard.table.shrink(&mut state.lines, &|key| ground.keys.half(key));
        if state.wheel.as_ref().is_some_and(|wheel| wheel.len() > 2 * state.expiring + SPARE_HINTS) {
            self.rebuild_wheel(ground);
        }
    }

    /// Whether it is time to look if blocks lie sparse.
    pub(crate) fn is_time_to_look(&mut self) -> bool {
        let is_time = self.state.left_since_look >= LEFT_BETWEEN_LOOKS;
        if is_time {
            self.state.left_since_look = 0;
        }
        is_time
    }

    /// The most lines that a look-up here goes through.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn longest_way(&self, keys: &Keys) -> usize {
        self.table().longest_way(&self.state.lines, &|key| keys.half(key))
    }

    /// Takes this entry out.
    fn take_at(&mut self, address: u64, cause: Cause, ground: Ground<'_>) -> Left<M> {
        let half = {
            let entry: Lent<'_, M> = self.state.queues.entry(address);
            ground.keys.half(entry.key())
        };
        self.take(half, address, cause, ground)
    }

    fn take(&mut self, half: u32, address: u64, cause: Cause, ground: Ground<'_>) -> Left<M> {
        let state = &mut *self.state;
        state.queues.remove_at(address);
        let hit = self.shard.table.remove(&mut state.lines, half, address);
        self.account(hit, cause, ground)
    }

    /// An entry is out of table and queues.
    fn account(&mut self, hit: Hit<M>, cause: Cause, ground: Ground<'_>) -> Left<M> {
        let state = &mut *self.state;
        state.stats.count(cause, 1);
        // Large blocks are few to a chunk.
        state.left_since_look += 1 + (hit.value_len() / LARGE).min(32) as u32;
        if hit.expires().is_some() {
            state.expiring -= 1;
            if state.expiring == 0 {
                ground.clock.unwatch();
            }
        }
        Left { hit, cause }
    }

    /// An entry comes: the clock and the wheel hear of its expiry, if it has one. Before readers may find it: they rely
    /// on coarse time, which else might stand still.
    fn watch(&mut self, half: u32, hit: &Hit<M>, ground: Ground<'_>) {
        let Some(expires) = hit.expires() else { return };
        let state = &mut *self.state;
        let first = state.expiring == 0;
        if first || expires.as_millis() > state.announced {
            state.announced = expires.as_millis().saturating_add(ANNOUNCED_AHEAD);
            let until = Time::from_millis(state.announced);
            if first { ground.clock.watch(until) } else { ground.clock.watch_until(until) }
        }
        state.expiring += 1;
        state.wheel.get_or_insert_with(|| Box::new(Wheel::new())).add(half, expires);
    }

    #[cold]
    fn rebuild_wheel(&mut self, ground: Ground<'_>) {
        let state = &mut *self.state;
        state.wheel = None;
        if state.expiring == 0 {
            return;
        }
        let mut wheel = Box::new(Wheel::new());
        for queue in [Queue::Small, Queue::Main, Queue::Minor] {
            for entry in state.queues.newest_first(queue) {
                if let Some(expires) = entry.expires() {
                    wheel.add(ground.keys.half(entry.key()), expires);
                }
            }
        }
        state.wheel = Some(wheel);
    }
}

pub(crate) fn is_past<M>(hit: &Hit<M>, clock: &Clock) -> bool {
    hit.expires().is_some_and(|expires| clock.is_past(expires))
}

#[cfg(all(test, not(shuttle)))]
mod tests;
