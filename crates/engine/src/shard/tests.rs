//! Tests of a shard as its cache uses it: what expires, what is found at once, what compaction moves.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::block::{Charge, Parts};
use crate::rounds::rounds;

/// A shard alone, with all that a cache lends it.
struct Alone {
    shard: Shard<()>,
    keys: Keys,
    clock: Clock,
    arena: Arena,
}

impl Alone {
    fn new(is_lru: bool) -> Self {
        let arena = Arena::new(crate::pages::PageSize::Small, None);
        let shard = Shard::new(is_lru, None, &arena);
        shard.lock().set_quota(1 << 40);
        Self { shard, keys: Keys::new(Some(1)), clock: Clock::manual(), arena }
    }

    fn ground(&self) -> Ground<'_> {
        Ground { keys: &self.keys, arena: &self.arena, clock: &self.clock }
    }

    fn hash(&self, key: u32) -> u64 {
        self.keys.hash(&key.to_le_bytes())
    }

    fn put(&self, key: u32, value: &[u8], ttl: Option<u64>) -> Hit<()> {
        let expires = ttl.map(|ttl| self.clock.now() + Duration::from_millis(ttl));
        let key = key.to_le_bytes();
        let parts = Parts {
            key: &key,
            value,
            meta: (),
            charge: Charge::Entry,
            expires,
            minor: false,
            is_value: false,
        };
        let hit = Hit::new_in(&self.arena, &parts);
        let (hash, ground, mut shard) = (self.keys.hash(&key), self.ground(), self.shard.lock());
        let old = match shard.older(hash, &key) {
            Some(older) => Some(shard.replace(hash, &hit, &older, ground)),
            None => {
                let admitted = shard.admit(hash, &hit, None, 1 << 40);
                shard.enter(hash, &hit, &admitted, ground)
            }
        };
        drop(shard);
        drop(old);
        hit
    }

    fn get(&self, key: u32) -> Option<Hit<()>> {
        self.shard.lock().find(self.hash(key), &key.to_le_bytes())
    }

    fn expire(&self) -> usize {
        let mut left = Vec::new();
        self.shard.lock().expire(self.ground(), &mut |gone| left.push(gone));
        assert!(left.iter().all(|left| left.cause == Cause::Expired));
        left.len()
    }

    fn remove(&self, key: u32) -> bool {
        let left = self.shard.lock().remove(self.hash(key), &key.to_le_bytes(), self.ground());
        left.is_some()
    }

    fn relocate(&self, hit: Hit<()>) -> Option<Hit<()>> {
        let hash = self.keys.hash(hit.key());
        self.shard.lock().relocate(hash, hit, &self.arena)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        drop(self.shard.lock().clear(Cause::Cleared, self.ground()));
    }
}

#[test]
fn as_long_as_something_has_expired_each_look_finds_some_of_it() {
    for is_lru in [false, true] {
        let alone = Alone::new(is_lru);
        // On all levels of the wheel, and most of them at one time.
        for key in 0..2000 {
            let ttl = if key % 4 == 0 { u64::from(key) * 1_000_003 } else { 3_600_000 };
            alone.put(key, b"v", Some(ttl));
        }
        (2000..3000).for_each(|key| drop(alone.put(key, b"v", None)));
        alone.clock.advance(Duration::from_hours(24 * 365 * 50));
        let mut left = 2000;
        while left > 0 {
            let found = alone.expire();
            assert!((1..=EXPIRED_AT_ONCE).contains(&found), "{found} with {left} left");
            left -= found;
        }
        assert_eq!((alone.expire(), alone.shard.lock().len()), (0, 1000));
        assert_eq!(alone.shard.lock().state.expiring, 0);
    }
}

#[test]
fn hints_of_entries_that_left_or_were_replaced_are_swept_out() {
    let alone = Alone::new(false);
    for round in 0..50 {
        for key in 0..100 {
            alone.put(key, b"v", Some(1_000_000 + round));
        }
        (0..50).for_each(|key| assert!(alone.remove(key)));
        let shard = alone.shard.lock();
        let hints = shard.state.wheel.as_ref().map_or(0, |wheel| wheel.len());
        assert!(hints <= 2 * shard.state.expiring + SPARE_HINTS + 100, "{hints}");
    }
    alone.clock.advance(Duration::from_hours(1));
    while alone.expire() > 0 {}
    assert_eq!(alone.shard.lock().len(), 0);
}

#[test]
fn an_entry_is_moved_only_if_nobody_holds_it_and_it_has_not_left() {
    let alone = Alone::new(false);
    let long = vec![7; 50_000];
    for value in [&b"v"[..], &long] {
        let held = alone.put(1, value, Some(1000));
        let before = held.address();
        assert!(alone.relocate(held.clone()).is_none());
        assert_eq!(alone.get(1).unwrap().address(), before, "it is held");
        drop(held);
        assert!(alone.relocate(alone.get(1).unwrap()).is_none());
        let moved = alone.get(1).unwrap();
        assert_ne!(moved.address(), before);
        assert_eq!((moved.key(), &*moved), (&1_u32.to_le_bytes()[..], value));
        assert_eq!(moved.expires().map(Time::as_millis), Some(1000));
        assert!(alone.remove(1));
        let gone = alone.relocate(moved).expect("it left, and this is its last handle");
        assert_eq!(&*gone, value);
    }
    assert_eq!(alone.arena.blocks(), 0);
}

#[test]
fn the_order_of_use_outlives_a_move() {
    let alone = Alone::new(true);
    (0..10).for_each(|key| drop(alone.put(key, b"v", None)));
    let order = |alone: &Alone| alone.shard.lock().orders(alone.ground())[0].clone();
    let before = order(&alone);
    (0..10).step_by(3).for_each(|key| drop(alone.relocate(alone.get(key).unwrap())));
    assert_eq!(order(&alone), before);
    let hit = alone.get(4).unwrap();
    alone.shard.lock().touch(&hit);
    assert_eq!(order(&alone)[0], alone.hash(4));
    let left = alone.shard.lock().evict(1 << 40, Coming::default(), alone.ground()).unwrap();
    assert_eq!(left.hit.key(), 0_u32.to_le_bytes());
}

#[test]
fn readers_find_an_entry_while_it_is_moved_replaced_and_moved_again() {
    let alone = Arc::new(Alone::new(false));
    (0..64).for_each(|key| drop(alone.put(key, &key.to_le_bytes(), None)));
    let rounds = rounds(3000);
    std::thread::scope(|scope| {
        for reader in 0..2 {
            let alone = &alone;
            scope.spawn(move || {
                for n in 0..rounds * 20 {
                    let key = (n as u32 * 7 + reader) % 64;
                    let bytes = key.to_le_bytes();
                    let hit = match alone.shard.table.find(half(alone.hash(key)), &bytes) {
                        Found::Hit(hit) => hit,
                        Found::Busy => alone.get(key).expect("it is there throughout"),
                        Found::Nothing => panic!("{key} was missed"),
                    };
                    assert_eq!((hit.key(), &hit[..4]), (&bytes[..], &bytes[..]));
                }
            });
        }
        for n in 0..rounds {
            let key = n as u32 % 64;
            if let Some(hit) = alone.get(key) {
                drop(alone.relocate(hit));
            }
            // Values of two lengths, so that blocks are used again by other keys.
            let value = key.to_le_bytes().repeat(if n % 3 == 0 { 8 } else { 1 });
            alone.put(n as u32 * 5 % 64, &value_of(n as u32 * 5 % 64, value.len()), None);
        }
    });
    assert_eq!(alone.arena.blocks(), 64);
}

fn value_of(key: u32, len: usize) -> Vec<u8> {
    key.to_le_bytes().repeat(len / 4)
}
