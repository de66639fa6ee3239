//! Compaction: entries of a chunk that is mostly empty are moved to fuller ones, and its pages go back.
//!
//! Blocks of one size may lie sparse after many of them left, as when the sizes of values change with the time of day.
//! Nothing that is in use is moved: an entry that anybody holds stays where it is until another time.
//!
//! Uses `unsafe` to look at blocks by their addresses.
#![allow(unsafe_code, reason = "looks at blocks; see above")]

use crate::block::try_hold;
use crate::cache::Shared;

impl<M> Shared<M> {
    /// Empties up to so many chunks, while blocks lie sparse. Takes the lock of a shard for each entry, for the time of
    /// a copy; no lock is held at the call.
    pub(crate) fn compact(&self, chunks: u64) {
        for _ in 0..chunks {
            let Some(drained) = self.arena.sparse().and_then(|class| self.arena.drain(class)) else { return };
            for &block in &drained.blocks {
                // SAFETY: a block of this cache's arena, hence of `M`.
                let held = unsafe { try_hold::<M>(block.as_ptr().expose_provenance() as u64) };
                if let Some(hit) = held {
                    let hash = self.keys.hash(hit.key());
                    let gone = self.shard(hash).lock().relocate(hash, hit, &self.arena);
                    // Here, without the lock: it may be the last handle, on a value of the user's.
                    drop(gone);
                }
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use crate::cache::Cache;
    use crate::clock::Clock;
    use crate::weight::Weight;

    fn cache() -> Cache<()> {
        Cache::builder().capacity(1 << 30).shards(4).seed(1).clock(Clock::manual()).build()
    }

    fn put(cache: &Cache<()>, key: u32, value: &[u8]) {
        cache.insert_if(&key.to_le_bytes(), value, (), Weight::Real, None, || true).unwrap();
    }

    /// Resident bytes that no block uses, as a part of those that blocks use.
    fn waste(cache: &Cache<()>) -> f64 {
        let (resident, used) = cache.shared.arena.resident();
        (resident - used) as f64 / (used as f64).max(65_536.0)
    }

    #[test]
    fn removes_that_leave_blocks_sparse_give_their_memory_back() {
        for (len, count) in [(100, 60_000), (3000, 8000), (15_000, 4000)] {
            let cache = cache();
            (0..count).for_each(|key| put(&cache, key, &vec![7; len]));
            let mut dice = 1_u64;
            for key in 0..count {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if dice >> 61 != 0 {
                    drop(cache.remove(&key.to_le_bytes()));
                }
            }
            assert!(waste(&cache) < 0.25, "{len}: {} wasted", waste(&cache));
            let all = cache.iter().all(|hit| hit.len() == len && hit.iter().all(|&byte| byte == 7));
            assert!(all && cache.iter().count() == cache.len());
        }
    }

    #[test]
    fn what_is_held_stays_where_it_is_while_all_around_it_is_moved() {
        let cache = cache();
        (0..40_000).for_each(|key| put(&cache, key, &key.to_le_bytes().repeat(25)));
        let held: Vec<_> =
            (0..40_000_u32).step_by(400).map(|key| cache.get(&key.to_le_bytes()).unwrap()).collect();
        let places: Vec<_> = held.iter().map(|hit| hit.as_ptr()).collect();
        (0..40_000_u32).filter(|key| key % 10 != 0).for_each(|key| drop(cache.remove(&key.to_le_bytes())));
        (0..2000).for_each(|n| put(&cache, 100_000 + n, b""));
        assert!(held.iter().zip(places).all(|(hit, place)| hit.as_ptr() == place));
        for key in (0..40_000_u32).step_by(10) {
            assert_eq!(&*cache.get(&key.to_le_bytes()).unwrap(), key.to_le_bytes().repeat(25));
        }
        // At most the chunks in which something is held, beside the usual.
        let (resident, used) = cache.shared.arena.resident();
        assert!(resident - used < used / 4 + (held.len() as u64 + 3) * (64 << 10), "{resident} of {used}");
        drop(cache);
        assert!(held.iter().all(|hit| hit.chunks(4).all(|part| part == hit.key())));
    }

    #[test]
    fn a_cleared_cache_keeps_no_memory_of_its_entries_but_what_is_held() {
        let cache = cache();
        for key in 0..5000 {
            put(&cache, key, &vec![1; key as usize % 3000]);
        }
        let held = cache.get(&4000_u32.to_le_bytes()).unwrap();
        cache.clear();
        let (resident, used) = cache.shared.arena.resident();
        assert!(used > 0 && used < 4096, "{used}");
        assert!(resident < 91 * (64 << 10), "a chunk for each size at most: {resident}");
        assert_eq!(held.len(), 1000);
        assert_eq!((cache.shared.budget.used(), cache.weight()), (0, 0));
    }
}
