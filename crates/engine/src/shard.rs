//! One shard: a table from keys to slots, the order of use, and the counters. All of it under one lock.
//!
//! What leaves is handed out as `Left`, never dropped here: freeing a block and telling the listener are for after
//! the lock. A shard knows neither capacity nor budget; whoever holds its lock sees to them.

use hashbrown::HashTable;

use crate::block::Hit;
use crate::clock::Clock;
use crate::lru::{Lru, Region, Ticket};
use crate::stats::{Cause, Stats};

pub(crate) struct Shard<M> {
    /// Slots of `lru`, by their keys' hashes.
    table: HashTable<u32>,
    lru: Lru<M>,
    /// The shard's part; what belongs to the whole cache stays zero.
    pub(crate) stats: Stats,
}

/// An entry on its way out.
pub(crate) struct Left<M> {
    pub(crate) hit: Hit<M>,
    pub(crate) region: Region,
    pub(crate) cause: Cause,
}

/// What a look-up came to.
pub(crate) enum Found<M> {
    Live(Hit<M>),
    Expired(Left<M>),
    Nothing,
}

impl<M> Shard<M> {
    /// What one more entry costs in table and list, at most: a number of 4 bytes and its byte of hash, at a load of
    /// 7/16 just after the table has doubled, rounded up; and its part of the list.
    pub(crate) const BYTES_PER_ENTRY: usize = 12 + Lru::<M>::BYTES_PER_ENTRY;

    pub(crate) fn new() -> Self {
        Self { table: HashTable::new(), lru: Lru::new(), stats: Stats::default() }
    }

    pub(crate) fn len(&self) -> usize {
        self.lru.len()
    }

    /// What the entries weigh.
    pub(crate) fn weight(&self) -> u64 {
        self.lru.weight(Region::Major) + self.lru.weight(Region::Minor)
    }

    pub(crate) fn minor_weight(&self) -> u64 {
        self.lru.weight(Region::Minor)
    }

    /// The entry of a key, which becomes the hottest. Counts a hit or a miss.
    pub(crate) fn get(&mut self, hash: u64, key: &[u8], clock: &Clock) -> Found<M> {
        let Some(slot) = self.find(hash, key) else {
            self.stats.misses += 1;
            return Found::Nothing;
        };
        if is_past(self.lru.hit(slot), clock) {
            self.stats.misses += 1;
            return Found::Expired(self.take_slot(slot, Cause::Expired));
        }
        self.stats.hits += 1;
        self.lru.touch(slot);
        Found::Live(self.lru.hit(slot).clone())
    }

    /// The entry of a key, and nothing changes.
    pub(crate) fn peek(&self, hash: u64, key: &[u8], clock: &Clock) -> Option<Hit<M>> {
        let hit = self.lru.hit(self.find(hash, key)?);
        (!is_past(hit, clock)).then(|| hit.clone())
    }

    /// Takes the entry of a key out: removed, or found expired.
    pub(crate) fn remove(&mut self, hash: u64, key: &[u8], clock: &Clock) -> Option<Left<M>> {
        let slot = self.find(hash, key)?;
        let cause = if is_past(self.lru.hit(slot), clock) { Cause::Expired } else { Cause::Removed };
        Some(self.take_slot(slot, cause))
    }

    /// Takes the entry of a key out, whether expired or not.
    pub(crate) fn take(&mut self, hash: u64, key: &[u8], cause: Cause) -> Option<Left<M>> {
        let slot = self.find(hash, key)?;
        Some(self.take_slot(slot, cause))
    }

    /// Takes the coldest entry out: a major one, unless there is none.
    pub(crate) fn evict(&mut self) -> Option<Left<M>> {
        let slot = self.lru.coldest(Region::Major).or_else(|| self.lru.coldest(Region::Minor))?;
        Some(self.take_slot(slot, Cause::Evicted))
    }

    /// Takes the coldest minor entry out.
    pub(crate) fn evict_minor(&mut self) -> Option<Left<M>> {
        let slot = self.lru.coldest(Region::Minor)?;
        Some(self.take_slot(slot, Cause::Evicted))
    }

    /// Stores an entry as its region's hottest. Its key is not here: who stores takes the old entry out first.
    pub(crate) fn put(&mut self, hash: u64, hit: Hit<M>, region: Region) {
        debug_assert!(self.find(hash, hit.key()).is_none(), "the old entry was not taken out");
        let half = half(hash);
        let slot = self.lru.push(hit, half, region);
        let lru = &self.lru;
        self.table.insert_unique(whole(half), slot, |&slot| whole(lru.hash(slot)));
        self.stats.inserts += 1;
    }

    /// Takes everything out, in constant time but for freeing the table; walk the result after the lock.
    pub(crate) fn clear(&mut self) -> Lru<M> {
        self.stats.count(Cause::Cleared, self.len() as u64);
        self.table = HashTable::new();
        self.lru.take()
    }

    /// Each region's order, hottest first.
    pub(crate) fn orders(&self) -> [Vec<Ticket>; 2] {
        [Region::Major, Region::Minor].map(|region| self.lru.order(region))
    }

    /// The entry a ticket was for, unless it is gone or expired.
    pub(crate) fn redeem(&self, ticket: Ticket, clock: &Clock) -> Option<Hit<M>> {
        self.lru.redeem(ticket).filter(|hit| !is_past(hit, clock)).cloned()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let (lru, half) = (&self.lru, half(hash));
        // The slot's half of the hash first: a false match of the table's 7 bits then costs no block.
        let same = |&slot: &u32| lru.hash(slot) == half && lru.hit(slot).key() == key;
        self.table.find(whole(half), same).copied()
    }

    fn take_slot(&mut self, slot: u32, cause: Cause) -> Left<M> {
        let hash = whole(self.lru.hash(slot));
        let entry = self.table.find_entry(hash, |&other| other == slot);
        entry.expect("every linked slot is in the table").remove();
        self.stats.count(cause, 1);
        let (hit, region) = self.lru.remove(slot);
        Left { hit, region, cause }
    }
}

fn is_past<M>(hit: &Hit<M>, clock: &Clock) -> bool {
    hit.expires().is_some_and(|expires| clock.is_past(expires))
}

/// What a slot remembers of a hash: the lower half. The upper one chose the shard, so its bits would tell less.
fn half(hash: u64) -> u32 {
    hash as u32
}

/// A hash for the table: it takes the place from the lower bits and a tag from the top ones.
fn whole(half: u32) -> u64 {
    u64::from(half) << 32 | u64::from(half)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;
    use crate::clock::Time;

    fn put(shard: &mut Shard<()>, hash: u64, key: &[u8]) {
        shard.put(hash, Hit::new(key, b"v", (), 1, Some(Time::from_millis(10))), Region::Major);
    }

    #[test]
    fn keys_of_one_hash_are_told_apart() {
        let (mut shard, clock) = (Shard::new(), Clock::manual());
        for key in [b"a", b"b", b"c"] {
            put(&mut shard, 42, key);
        }
        assert!(shard.take(42, b"b", Cause::Removed).is_some());
        assert!(shard.peek(42, b"b", &clock).is_none());
        assert_eq!(shard.peek(42, b"a", &clock).unwrap().key(), b"a");
        assert_eq!(shard.peek(42, b"c", &clock).unwrap().key(), b"c");
    }

    #[test]
    fn every_key_is_found_while_the_table_grows_and_shrinks() {
        let (mut shard, clock) = (Shard::new(), Clock::manual());
        let hash = |n: u32| u64::from(n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for n in 0..5000_u32 {
            put(&mut shard, hash(n), &n.to_le_bytes());
        }
        for n in (0..5000_u32).step_by(2) {
            assert!(shard.take(hash(n), &n.to_le_bytes(), Cause::Removed).is_some());
        }
        for n in 0..5000_u32 {
            assert_eq!(shard.peek(hash(n), &n.to_le_bytes(), &clock).is_some(), n % 2 == 1);
        }
        assert_eq!(shard.len(), 2500);
    }

    #[test]
    fn bookkeeping_is_what_is_charged_for_it_at_most() {
        let mut shard = Shard::new();
        for n in 0..3000_u64 {
            put(&mut shard, n.wrapping_mul(0x9E37_79B9_7F4A_7C15), &n.to_le_bytes());
            let used = shard.table.allocation_size() + shard.lru.allocation_size();
            // The first few entries pay for what an empty table and slab begin with.
            assert!(used <= shard.len() * Shard::<()>::BYTES_PER_ENTRY + 128, "{used} at {n}");
        }
    }

    #[test]
    fn major_entries_are_evicted_before_minor_ones() {
        let mut shard = Shard::new();
        for (n, region) in [(1, Region::Minor), (2, Region::Major), (3, Region::Major), (4, Region::Minor)] {
            shard.put(n, Hit::new(&[n as u8], b"", (), 1, None), region);
        }
        let mut evicted = Vec::new();
        while let Some(left) = shard.evict() {
            evicted.push(left.hit.key()[0]);
        }
        assert_eq!(evicted, [2, 3, 1, 4]);
        assert_eq!(shard.stats.evictions, 4);
    }
}
