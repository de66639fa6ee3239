//! Walking a cache in steps that remember nothing: by the order of its keys' hashes.
//!
//! For who walks for others, over a network, and cannot hold on to an `Iter`. A cursor is a shard and a place in the
//! order of the hashes that its table is laid out by, so that it means the same after the table grew.

use crate::block::Hit;
use crate::cache::Cache;
use crate::keys::half;

/// Below it a cursor says the place in a shard, above it the shard.
const SHARD_SHIFT: u32 = 32;

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// At least `count` live entries, and at least one, from `cursor` on, where there are so many, and the cursor to go on with; `None`: that
    /// was all. A walk begins at 0.
    ///
    /// An entry that is there throughout a walk is given exactly once; one that comes or leaves meanwhile may be given or
    /// not. Cursors are below 2^42, and mean nothing to another cache. Walking counts nothing and moves nothing.
    ///
    /// Takes a shard's lock at a time, for some tens of nanoseconds an entry.
    pub fn scan(&self, cursor: u64, count: usize) -> (Vec<Hit<M>>, Option<u64>) {
        // A step that gives nothing would not come to an end.
        let count = count.max(1);
        let shared = &*self.shared;
        let first = usize::try_from(cursor >> SHARD_SHIFT).unwrap_or(usize::MAX);
        let mut from = half(cursor);
        let mut found = Vec::new();
        for (at, shard) in shared.shards.iter().enumerate().skip(first) {
            if found.len() >= count {
                return (found, Some((at as u64) << SHARD_SHIFT));
            }
            let next = shard.lock().scan(from, count, shared.ground(), &mut found);
            if let Some(next) = next {
                return (found, Some((at as u64) << SHARD_SHIFT | u64::from(next)));
            }
            from = 0;
        }
        (found, None)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::HashMap;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;
    use crate::weight::Weight;

    fn cache(shards: usize, clock: &Clock) -> Cache<u8> {
        Cache::builder().capacity(100_000).shards(shards).seed(1).clock(clock.clone()).build()
    }

    fn put(cache: &Cache<u8>, key: u32) {
        cache.insert_if(&key.to_le_bytes(), b"v", 0, Weight::Entry, None, || true).unwrap();
    }

    /// How often each key is given by a walk in steps of `count`; `meanwhile` happens after each step.
    fn walk(cache: &Cache<u8>, count: usize, mut meanwhile: impl FnMut(usize)) -> HashMap<u32, usize> {
        let (mut seen, mut cursor, mut steps) = (HashMap::new(), 0, 0);
        loop {
            let (hits, next) = cache.scan(cursor, count);
            for hit in &hits {
                *seen.entry(u32::from_le_bytes(hit.key().try_into().unwrap())).or_default() += 1;
            }
            let Some(next) = next else { return seen };
            assert!(next > cursor && next < 1 << 42 && hits.len() >= count);
            (cursor, steps) = (next, steps + 1);
            meanwhile(steps);
        }
    }

    #[test]
    fn a_walk_in_steps_of_none_comes_to_its_end() {
        let cache = cache(4, &Clock::manual());
        (0..100).for_each(|key| put(&cache, key));
        let seen = walk(&cache, 0, |_| {});
        assert!(seen.len() == 100 && seen.values().all(|&times| times == 1));
    }

    #[test]
    fn a_walk_gives_each_entry_once_whatever_its_steps() {
        for shards in [1, 8] {
            let cache = cache(shards, &Clock::manual());
            assert_eq!(walk(&cache, 10, |_| ()), HashMap::new());
            (0..5000).for_each(|key| put(&cache, key));
            for count in [1, 7, 1000, 1_000_000] {
                let seen = walk(&cache, count, |_| ());
                assert_eq!((seen.len(), seen.values().max()), (5000, Some(&1)), "{shards} {count}");
            }
        }
    }

    #[test]
    fn what_is_there_throughout_is_given_once_though_the_table_grows_and_shrinks() {
        let cache = cache(2, &Clock::manual());
        (0..500).for_each(|key| put(&cache, key));
        let seen = walk(&cache, 5, |step| match step {
            10 => (1000..20_000).for_each(|key| put(&cache, key)),
            200 => (1000..20_000_u32).for_each(|key| drop(cache.remove(&key.to_le_bytes()))),
            _ => {}
        });
        assert!((0..500).all(|key| seen.get(&key) == Some(&1)));
        assert_eq!(seen.values().max(), Some(&1));
    }

    #[test]
    fn what_has_expired_is_left_out() {
        let clock = Clock::manual();
        let cache = cache(1, &clock);
        put(&cache, 1);
        let soon = Some(clock.now() + Duration::from_millis(10));
        cache.insert_if(&2_u32.to_le_bytes(), b"v", 0, Weight::Entry, soon, || true).unwrap();
        assert_eq!(walk(&cache, 10, |_| ()).len(), 2);
        clock.advance(Duration::from_millis(10));
        assert_eq!(walk(&cache, 10, |_| ()), HashMap::from([(1, 1)]));
    }

    #[test]
    fn a_cursor_that_is_none_ends_the_walk() {
        let cache = cache(1, &Clock::manual());
        put(&cache, 1);
        for cursor in [1 << SHARD_SHIFT, u64::MAX] {
            assert!(matches!(cache.scan(cursor, 10), (found, None) if found.is_empty()));
        }
    }
}
