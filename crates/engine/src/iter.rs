//! Walking a cache from what is to leave last, while others read and write it.

use std::vec;

use crate::block::Hit;
use crate::cache::Cache;

/// Handles fetched at a time for each list. An iterator that is held keeps this many evicted entries of each from
/// being freed, hence few.
const CHUNK: usize = 16;

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// The live entries, those first that are to leave last.
    ///
    /// The order is each shard's at the moment of the call, shard after shard, major and minor region each for
    /// itself; the lists are interleaved by rank. With `Policy::Lru`, one shard and no minor region it is the exact
    /// order of use; with the default policy main's entries come before small's, the newest of each first.
    ///
    /// An entry that is there from the call until its turn is given exactly once. One that leaves or expires
    /// meanwhile is left out, unless the iterator already held it. One that comes meanwhile is not given, unless in the
    /// place of one of the same key. Walking counts nothing and moves nothing.
    ///
    /// The call takes each shard's lock once, for some tens of nanoseconds an entry, and 8 bytes an entry of memory;
    /// the iterator then takes a shard's lock for 16 entries at a time. It keeps the cache alive.
    pub fn iter(&self) -> Iter<M> {
        let lists = self.shared.shards.iter().enumerate().flat_map(|(shard, lock)| {
            let orders = lock.lock().orders(self.shared.ground());
            orders.map(|order| List { shard, order: order.into_iter(), ready: Vec::new().into_iter() })
        });
        Iter { lists: lists.collect(), turn: 0, cache: self.clone() }
    }
}

/// See `Cache::iter`.
pub struct Iter<M> {
    /// Those not yet at their end. All but those before `turn` have given the same number of entries, save for
    /// entries that are gone.
    lists: Vec<List<M>>,
    turn: usize,
    cache: Cache<M>,
}

struct List<M> {
    shard: usize,
    /// Hashes, which outlive an entry's move to another block.
    order: vec::IntoIter<u64>,
    ready: vec::IntoIter<Hit<M>>,
}

impl<M: Copy + Send + Sync + 'static> List<M> {
    fn next(&mut self, cache: &Cache<M>) -> Option<Hit<M>> {
        while self.ready.len() == 0 && self.order.len() > 0 {
            let shard = cache.shared.shards[self.shard].lock();
            let chunk = self.order.by_ref().take(CHUNK);
            let ground = cache.shared.ground();
            let live: Vec<Hit<M>> = chunk.filter_map(|hash| shard.redeem(hash, ground)).collect();
            self.ready = live.into_iter();
        }
        self.ready.next()
    }
}

impl<M: Copy + Send + Sync + 'static> Iterator for Iter<M> {
    type Item = Hit<M>;

    fn next(&mut self) -> Option<Hit<M>> {
        while !self.lists.is_empty() {
            self.turn %= self.lists.len();
            if let Some(hit) = self.lists[self.turn].next(&self.cache) {
                self.turn += 1;
                return Some(hit);
            }
            // `remove`, not `swap_remove`: the others keep their turns.
            self.lists.remove(self.turn);
        }
        None
    }
}

impl<M: Copy + Send + Sync + 'static> IntoIterator for &Cache<M> {
    type Item = Hit<M>;
    type IntoIter = Iter<M>;
    fn into_iter(self) -> Iter<M> {
        self.iter()
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use super::*;
    use crate::cache::Policy;
    use crate::clock::Clock;
    use crate::weight::Weight;

    fn cache(shards: usize, clock: &Clock) -> Cache<u8> {
        let minor = |&meta: &u8| meta == 1;
        Cache::builder()
            .capacity(1000)
            .policy(Policy::Lru)
            .shards(shards)
            .clock(clock.clone())
            .region(500, minor)
            .build()
    }

    fn put(cache: &Cache<u8>, key: u32, meta: u8) {
        cache.insert_if(&key.to_le_bytes(), b"v", meta, Weight::Entry, None, || true).unwrap();
    }

    fn number(hit: &Hit<u8>) -> u32 {
        u32::from_le_bytes(hit.key().try_into().unwrap())
    }

    #[test]
    fn one_shard_is_walked_in_the_exact_order_of_use() {
        let cache = cache(1, &Clock::manual());
        (0..100).for_each(|key| put(&cache, key, 0));
        cache.get(&7_u32.to_le_bytes());
        let walked: Vec<u32> = cache.iter().map(|hit| number(&hit)).collect();
        let expect: Vec<u32> = [7].into_iter().chain((0..100).rev().filter(|&key| key != 7)).collect();
        assert_eq!(walked, expect);
        assert_eq!(cache.stats().hits, 1, "walking counts nothing");
    }

    #[test]
    fn many_shards_are_interleaved_by_rank() {
        let cache = cache(8, &Clock::manual());
        (0..800).for_each(|key| put(&cache, key, 0));
        let walked: Vec<u32> = cache.iter().map(|hit| number(&hit)).collect();
        assert_eq!(walked.iter().collect::<HashSet<_>>().len(), 800);
        let mut rank = [0_usize; 8];
        let mut ranks = walked.iter().map(|key| {
            let home = cache.shared.home(cache.shared.keys.hash(&key.to_le_bytes()));
            rank[home] += 1;
            rank[home]
        });
        assert!(ranks.by_ref().is_sorted());
    }

    #[test]
    fn what_is_there_throughout_is_given_once_though_all_else_changes() {
        let cache = cache(4, &Clock::manual());
        (0..400).for_each(|key| put(&cache, key, u8::from(key % 5 == 0)));
        let mut walk = cache.iter();
        let mut seen: Vec<u32> = walk.by_ref().take(50).map(|hit| number(&hit)).collect();
        for key in (1..400_u32).step_by(2) {
            cache.remove(&key.to_le_bytes());
            put(&cache, key + 1000, 0);
        }
        for key in (0..400_u32).step_by(4) {
            cache.get(&key.to_le_bytes());
        }
        seen.extend(walk.map(|hit| number(&hit)));
        let unique: HashSet<u32> = seen.iter().copied().collect();
        assert_eq!(unique.len(), seen.len());
        assert!((0..400).step_by(2).all(|key| unique.contains(&key)));
        assert!(seen.iter().all(|&key| key < 400), "what comes meanwhile is not given");
        // Of what left, only what the iterator held already: a chunk for each of 8 lists, and the 50.
        assert!(seen.iter().filter(|&&key| key % 2 == 1).count() <= 8 * CHUNK + 50);
    }

    #[test]
    fn expired_entries_are_left_out_and_a_cleared_cache_ends_the_walk() {
        let clock = Clock::manual();
        let cache = cache(1, &clock);
        for ttl in 1..=100 {
            let expires = Some(clock.now() + Duration::from_millis(ttl));
            cache.insert_if(&[ttl as u8], b"", 0, Weight::Entry, expires, || true).unwrap();
        }
        clock.advance(Duration::from_millis(60));
        assert_eq!(cache.iter().count(), 40);
        let mut walk = cache.iter();
        walk.next();
        cache.clear();
        (0..100).for_each(|key| put(&cache, key, 0));
        assert_eq!(walk.count(), CHUNK - 1, "only what it held");
    }
}
