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
use crate::queues::{Queue, Queues, Rank};
use crate::s3fifo::{S3Fifo, Victim};
use crate::stats::{Cause, Stats};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::table::{Found, Lines, Place, Table};
use crate::wheel::Wheel;

/// Expired entries that one insert takes out at most: they are many at once where many were stored at once.
const EXPIRED_AT_ONCE: usize = 32;
/// As many times that many hints are looked at before a live entry has to leave though expired ones may be left.
const EXPIRY_ROUNDS: u32 = 128;
/// Entries that one eviction lets go round again for their hits. Readers may hit them as fast as it passes them by.
const MOST_MOVES: u32 = 1024;
/// A wheel holds at most twice the hints it has use for, and these.
const SPARE_HINTS: usize = 64;
/// The clock is told of expiries a second ahead, so that it need not be told of each.
const ANNOUNCED_AHEAD: u64 = 1000;

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
    /// Entries left that were not at their queue's end.
    is_untidy: bool,
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
    pub(crate) arena: &'a Arena,
    pub(crate) clock: &'a Clock,
}

/// What an entry needs when it is put in: see `Locked::admit`.
pub(crate) struct Admitted {
    queue: Queue,
    /// The key's older entry, by its address: still in the table, and in no queue.
    old: Option<u64>,
}

/// The key's present entry, where another is about to be stored.
pub(crate) struct Older {
    pub(crate) address: u64,
    pub(crate) weight: u64,
    pub(crate) is_minor: bool,
    pub(crate) expires: Option<Time>,
}

impl Older {
    /// What it holds of the minor region.
    pub(crate) fn minor(&self) -> u64 {
        if self.is_minor { self.weight } else { 0 }
    }
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

/// What one call made leave: mostly one entry or none, which costs no allocation.
pub(crate) struct Leaving<M> {
    first: Option<Left<M>>,
    rest: Vec<Left<M>>,
}

impl<M> Leaving<M> {
    pub(crate) fn new() -> Self {
        Self { first: None, rest: Vec::new() }
    }

    pub(crate) fn push(&mut self, left: Left<M>) {
        match &self.first {
            None => self.first = Some(left),
            Some(_) => self.rest.push(left),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// All of it; nothing is left.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }
}

impl<M> IntoIterator for Leaving<M> {
    type Item = Left<M>;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Left<M>>, std::vec::IntoIter<Left<M>>>;
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

impl<M> Shard<M> {
    /// An empty shard. `foreseen` is how many entries it will hold, if that is known.
    pub(crate) fn new(is_lru: bool, foreseen: Option<usize>, arena: &Arena) -> Self {
        let (table, lines) = Table::new(foreseen, arena);
        let order = if is_lru { Order::Lru } else { Order::S3Fifo(Box::new(S3Fifo::new())) };
        let state = State {
            lines,
            queues: Queues::new(),
            order,
            wheel: None,
            expiring: 0,
            announced: 0,
            quota: 0,
            is_untidy: false,
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

    /// Has what an insert of this hash will read fetched.
    pub(crate) fn prefetch(&self, hash: u64) {
        if let Order::S3Fifo(policy) = &self.state.order {
            policy.prefetch(hash);
        }
        // The oldest were read by the eviction before.
        self.state.queues.prefetch(Queue::Small, 1);
        self.state.queues.prefetch(Queue::Main, 1);
    }

    /// The entry of a key, as a reader would find it.
    pub(crate) fn find(&self, hash: u64, key: &[u8]) -> Option<Hit<M>> {
        match self.table().find(half(hash), key) {
            Found::Hit(hit) => Some(hit),
            // Only who holds this lock moves entries, and has finished.
            Found::Nothing | Found::Busy => None,
        }
    }

    /// The entry of this key, if there is one, as a writer who holds on to the lock may know it.
    pub(crate) fn older(&self, hash: u64, key: &[u8]) -> Option<Older> {
        let entry = self.table().entry(&self.state.lines, half(hash), key)?;
        let (address, weight) = (entry.address(), entry.weight());
        Some(Older { address, weight, is_minor: entry.is_minor(), expires: entry.expires() })
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
    pub(crate) fn expire(&mut self, ground: Ground<'_>, left: &mut impl FnMut(Left<M>)) {
        if self.state.wheel.is_none() {
            return;
        }
        let now = ground.clock.coarse();
        // A hint's way down the levels is steps as well, and it may be out of date: so on until an entry was found.
        let mut rounds = 0..EXPIRY_ROUNDS;
        while rounds.next().is_some() && !self.expire_some(now, ground, left) {}
    }

    /// Takes out what the next hints of the wheel lead to; true if that is anything, or nothing is due.
    fn expire_some(&mut self, now: Time, ground: Ground<'_>, left: &mut impl FnMut(Left<M>)) -> bool {
        let Some(wheel) = self.state.wheel.as_mut().filter(|wheel| wheel.is_due(now)) else { return true };
        let mut due = Vec::new();
        wheel.advance(now, EXPIRED_AT_ONCE, &mut |hash, _| due.push(hash));
        let mut found = false;
        for half in due {
            let has_expired = |entry: &Lent<'_, M>| entry.expires().is_some_and(|expires| expires <= now);
            while let Some(entry) = self.table().first(&self.state.lines, half, has_expired) {
                let (half, address) = (ground.keys.half(entry.key()), entry.address());
                left(self.take(half, address, Cause::Expired, ground));
                found = true;
            }
        }
        found
    }

    /// Puts an entry in the place of the key's older one, which is given. It weighs no more, and is of the same region.
    pub(crate) fn replace(&mut self, hash: u64, hit: &Hit<M>, older: &Older, ground: Ground<'_>) -> Left<M> {
        self.watch(half(hash), hit, ground);
        let state = &mut *self.state;
        let old = self.shard.table.replace(&mut state.lines, half(hash), older.address, hit.clone());
        state.queues.replace(&old, hit);
        state.stats.inserts += 1;
        self.touch(hit);
        self.account(old, Cause::Replaced, ground)
    }

    /// Where an entry is to go: where the key's older one was, which is in no queue afterwards, else where the policy
    /// says. Its own rank is set. `share` is what the shard may hold as a part of its cache.
    pub(crate) fn admit(&mut self, hash: u64, hit: &Hit<M>, older: Option<&Older>, share: u64) -> Admitted {
        let state = &mut *self.state;
        if let Some(older) = older {
            let old = state.queues.entry(older.address);
            let rank = Rank::of(&old);
            hit.set_hits(old.hits());
            rank.write(hit);
            hit.touch();
            let queue = match (hit.is_minor(), &state.order, rank.queue) {
                (true, ..) => Queue::Minor,
                (false, Order::S3Fifo(_), Queue::Small) => Queue::Small,
                (false, ..) => Queue::Main,
            };
            state.queues.remove_at(older.address);
            return Admitted { queue, old: Some(older.address) };
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
        Admitted { queue, old: None }
    }

    /// Puts an entry in, where `admit` said; gives the older one, if there was one. There is room for it.
    pub(crate) fn enter(
        &mut self,
        hash: u64,
        hit: &Hit<M>,
        admitted: &Admitted,
        ground: Ground<'_>,
    ) -> Option<Left<M>> {
        self.watch(half(hash), hit, ground);
        let state = &mut *self.state;
        state.stats.inserts += 1;
        state.queues.push(admitted.queue, hit);
        debug_assert!(state.queues.total() <= state.quota, "there is no room");
        let table = &self.shard.table;
        let old = match admitted.old {
            Some(old) => Some(table.replace(&mut state.lines, half(hash), old, hit.clone())),
            None => {
                let half_of = |key: &[u8]| ground.keys.half(key);
                table.insert(
                    &mut state.lines,
                    half(hash),
                    hit.clone(),
                    Place { half_of: &half_of, arena: ground.arena },
                );
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
        let mut moves = 0;
        let (address, hash) = loop {
            match &mut state.order {
                Order::Lru => {
                    let oldest = state.queues.oldest(Queue::Main)?;
                    break (oldest.address(), ground.keys.hash(oldest.key()));
                }
                Order::S3Fifo(policy) => {
                    let (hash_of, patient) = (|key: &[u8]| ground.keys.hash(key), moves < MOST_MOVES);
                    match policy.evict(&mut state.queues, share, coming.small, patient, &hash_of)? {
                        Victim::Evict { address, hash } => break (address, hash),
                        Victim::Moved { admitted } => state.stats.admissions += u64::from(admitted),
                    }
                    moves += 1;
                }
            }
        };
        self.prefetch_next(address, ground);
        Some(self.take(half(hash), address, Cause::Evicted, ground))
    }

    /// Has fetched what the eviction after this one will write: it is far off, in time and in memory.
    fn prefetch_next(&self, evicted: u64, ground: Ground<'_>) {
        let state = &*self.state;
        let queue = Rank::of(&*state.queues.entry(evicted)).queue;
        if let Some(next) = state.queues.second_oldest(queue) {
            let hash = ground.keys.hash(next.key());
            self.table().prefetch_line(half(hash));
            if let Order::S3Fifo(policy) = &state.order {
                policy.prefetch(hash);
            }
        }
    }

    /// Takes a minor entry out: the one used longest ago, or with the default policy, as CLOCK does, the oldest that
    /// was not hit since it last had its turn.
    pub(crate) fn evict_minor(&mut self, ground: Ground<'_>) -> Option<Left<M>> {
        let State { queues, order, .. } = &mut *self.state;
        let mut moves = 0;
        let (address, half) = loop {
            let oldest = queues.oldest(Queue::Minor)?;
            moves += 1;
            if matches!(order, Order::Lru) || oldest.hits() == 0 || moves > MOST_MOVES {
                break (oldest.address(), ground.keys.half(oldest.key()));
            }
            oldest.set_hits(oldest.hits() - 1);
            queues.requeue_oldest(Queue::Minor, Queue::Minor);
        };
        Some(self.take(half, address, Cause::Evicted, ground))
    }

    /// Takes everything out, and gives the memory of the bookkeeping back.
    pub(crate) fn clear(&mut self, cause: Cause, ground: Ground<'_>) -> Vec<Left<M>> {
        let hits = self.shard.table.clear(&mut self.state.lines, ground.arena);
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
        let is_it = |entry: &Lent<'_, M>| ground.keys.hash(entry.key()) == hash;
        let entry = self.table().first(&self.state.lines, half(hash), is_it)?;
        (!is_past(&entry, ground.clock)).then(|| (*entry).clone())
    }

    /// Adds live entries to `found` from this half of a hash on, until there are `count`, and gives where to go on; `None`:
    /// those were the last.
    pub(crate) fn scan(
        &self,
        from: u32,
        count: usize,
        ground: Ground<'_>,
        found: &mut Vec<Hit<M>>,
    ) -> Option<u32> {
        let half_of = |key: &[u8]| ground.keys.half(key);
        self.table().scan(&self.state.lines, from, &half_of, &mut |entry| {
            if !is_past(&entry, ground.clock) {
                found.push((*entry).clone());
            }
            found.len() < count
        })
    }

    /// Moves an entry to another block, unless somebody else holds it. If it left meanwhile, gives the handle, which
    /// may be the last one, back: for after the lock.
    pub(crate) fn relocate(&mut self, hash: u64, hit: Hit<M>, arena: &Arena) -> Option<Hit<M>> {
        let state = &mut *self.state;
        let entry = self.shard.table.entry(&state.lines, half(hash), hit.key());
        if entry.is_none_or(|entry| entry.address() != hit.address()) {
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

    /// Closes holes, gives memory back, and builds the wheel anew, each where it is worth it; after entries left
    /// otherwise than from a queue's end.
    pub(crate) fn tidy(&mut self, ground: Ground<'_>) {
        let state = &mut *self.state;
        if !std::mem::take(&mut state.is_untidy) {
            return;
        }
        let spare = if matches!(state.order, Order::Lru) { 4 } else { 1 };
        state.queues.close_holes(spare);
        let half_of = |key: &[u8]| ground.keys.half(key);
        self.shard.table.shrink(&mut state.lines, Place { half_of: &half_of, arena: ground.arena });
        if state.wheel.as_ref().is_some_and(|wheel| wheel.len() > 2 * state.expiring + SPARE_HINTS) {
            self.rebuild_wheel(ground);
        }
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
        state.is_untidy |= cause != Cause::Evicted || hit.expires().is_some();
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
