//! Changes that depend on what is there: compare and swap, of a key's entry.
//!
//! Whoever is to change an entry looks at it first (`peek`), works out what is to be in its place, and stores that only if
//! nobody was quicker; else he begins anew. An entry is known by its handle: while one is held its block stays where it
//! is and is no other entry's, so that the same place means the same entry, and nothing needs a number.

use crate::block::Hit;
use crate::cache::Cache;
use crate::clock::{Clock, Time};
use crate::shard::Older;
use crate::stats::Cause;
use crate::weight::{Refused, Weight};

/// The live entry of a key, at the moment when another is about to take its place.
#[derive(Debug)]
pub struct Present {
    address: u64,
}

impl Present {
    /// `None`: what is there has expired.
    fn of(older: &Older, clock: &Clock) -> Option<Self> {
        let is_past = older.expires.is_some_and(|expires| clock.is_past(expires));
        (!is_past).then_some(Self { address: older.address })
    }

    /// Whether it is the entry of this handle.
    pub fn is<M>(&self, hit: &Hit<M>) -> bool {
        self.address == hit.address()
    }
}

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// As `insert_if`, and `keep` is told which live entry of the key the new one is to replace; `None`: there is none.
    ///
    /// To store something in the place of what was looked at, and of nothing else:
    ///
    /// ```
    /// # use carrot_engine::{Cache, Weight};
    /// # let cache = Cache::builder().capacity(2048).build();
    /// # cache.insert_if(b"Tom", b"630", 0, Weight::Real, None, || true)?;
    /// let seen = cache.peek(b"Tom").expect("it was just stored");
    /// let soon = Some(cache.clock().now() + std::time::Duration::from_secs(1));
    /// cache.insert_over(b"Tom", &seen, seen.meta(), Weight::Real, soon, |present| {
    ///     present.is_some_and(|present| present.is(&seen))
    /// })?;
    /// assert_eq!(cache.peek(b"Tom").expect("it was there").expires(), soon);
    /// # Ok::<(), carrot_engine::Refused>(())
    /// ```
    ///
    /// # Errors
    /// As `insert_if`.
    pub fn insert_over(
        &self,
        key: &[u8],
        value: &[u8],
        meta: M,
        weight: Weight,
        expires: Option<Time>,
        keep: impl FnOnce(Option<Present>) -> bool,
    ) -> Result<Hit<M>, Refused> {
        let shared = &*self.shared;
        shared.insert(key, value, meta, weight, expires, |older| {
            let keeps = keep(older.and_then(|older| Present::of(older, &shared.clock)));
            if keeps {
                shared.supersede(key);
            }
            keeps
        })
    }

    /// Takes this very entry out, if it is still its key's and lives; whether it was. Another that took its place stays.
    pub fn remove_this(&self, hit: &Hit<M>) -> bool {
        let shared = &*self.shared;
        let hash = shared.keys.hash(hit.key());
        let left = {
            let mut shard = shared.shard(hash).lock();
            let older = shard.older(hash, hit.key());
            let present = older.and_then(|older| Present::of(&older, &shared.clock));
            if !present.is_some_and(|present| present.is(hit)) {
                return false;
            }
            shared.detach(hash, hit.key());
            let left = shard.remove(hash, hit.key(), shared.ground());
            left.inspect(|left| shared.release(&mut shard, left))
        };
        let is_removed = left.as_ref().is_some_and(|left| left.cause == Cause::Removed);
        shared.settle(left);
        is_removed
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    fn cache(clock: &Clock) -> Cache<u8> {
        Cache::builder().capacity(100_000).clock(clock.clone()).build()
    }

    fn put(cache: &Cache<u8>, value: &[u8], expires: Option<Time>) -> Hit<u8> {
        cache.insert_if(b"Tom", value, 7, Weight::Real, expires, || true).unwrap()
    }

    /// Stores this value in the place of `seen`, or of nothing.
    fn swap(
        cache: &Cache<u8>,
        seen: Option<&Hit<u8>>,
        value: &[u8],
        expires: Option<Time>,
    ) -> Result<Hit<u8>, Refused> {
        cache.insert_over(b"Tom", value, 8, Weight::Real, expires, |present| match (&present, seen) {
            (None, None) => true,
            (Some(present), Some(seen)) => present.is(seen),
            _ => false,
        })
    }

    #[test]
    fn an_entry_is_replaced_only_if_it_is_the_one_that_was_seen() {
        let cache = cache(&Clock::manual());
        let first = put(&cache, b"1", None);
        assert_eq!(swap(&cache, None, b"x", None).unwrap_err(), Refused::Unwanted);
        let second = swap(&cache, Some(&first), b"2", None).unwrap();
        // The first is held, and is the key's no more; nor is one of the same bytes.
        assert_eq!(swap(&cache, Some(&first), b"x", None).unwrap_err(), Refused::Unwanted);
        let again = put(&cache, b"2", None);
        assert_eq!(swap(&cache, Some(&second), b"x", None).unwrap_err(), Refused::Unwanted);
        assert_eq!(&**cache.peek(b"Tom").as_ref().unwrap(), b"2");
        assert!(!cache.remove_this(&second) && cache.remove_this(&again) && !cache.remove_this(&again));
        assert!(swap(&cache, Some(&again), b"x", None).is_err());
        assert_eq!(&*swap(&cache, None, b"3", None).unwrap(), b"3");
    }

    #[test]
    fn a_new_expiry_holds_and_the_old_one_is_forgotten() {
        let clock = Clock::manual();
        let cache = cache(&clock);
        let at = |seconds: u64| Some(Time::from_millis(seconds * 1000));
        let seen = put(&cache, b"1", at(10));
        let weight = cache.weight();
        // Later, never, sooner: the weight is that of an entry with an expiry, or without.
        let seen = swap(&cache, Some(&seen), b"1", at(100)).unwrap();
        assert_eq!(cache.weight(), weight);
        clock.advance(Duration::from_secs(50));
        assert_eq!(cache.get(b"Tom").unwrap().expires(), at(100));
        let seen = swap(&cache, Some(&seen), b"1", None).unwrap();
        assert!(cache.weight() < weight);
        clock.advance(Duration::from_secs(1000));
        assert_eq!(cache.get(b"Tom").unwrap().expires(), None);
        swap(&cache, Some(&seen), b"1", at(1051)).unwrap();
        assert_eq!(cache.weight(), weight);
        clock.advance(Duration::from_secs(1));
        assert!(cache.get(b"Tom").is_none());
    }

    #[test]
    fn what_has_expired_is_not_there() {
        let clock = Clock::manual();
        let cache = cache(&clock);
        let seen = put(&cache, b"1", Some(clock.now() + Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(swap(&cache, Some(&seen), b"2", None).unwrap_err(), Refused::Unwanted);
        assert!(!cache.remove_this(&seen));
        assert!(swap(&cache, None, b"2", None).is_ok());
    }

    #[test]
    fn of_many_who_swap_at_once_none_is_lost() {
        let cache: Cache<u8> = Cache::builder().capacity(1 << 20).build();
        put(&cache, &0_u64.to_le_bytes(), None);
        let (threads, each) = (4, 500);
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    start.wait();
                    for _ in 0..each {
                        loop {
                            let seen = cache.peek(b"Tom").unwrap();
                            let count = u64::from_le_bytes((*seen).try_into().unwrap()) + 1;
                            if swap(&cache, Some(&seen), &count.to_le_bytes(), None).is_ok() {
                                break;
                            }
                        }
                    }
                });
            }
        });
        let count = u64::from_le_bytes((*cache.get(b"Tom").unwrap()).try_into().unwrap());
        assert_eq!(count, (threads * each) as u64);
    }
}
