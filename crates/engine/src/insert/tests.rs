//! Tests of storing: refusals, `keep`, regions, room over shards, shared budgets.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::block::Hit;
use crate::budget::Budget;
use crate::cache::{Cache, Policy};
use crate::clock::Clock;
use crate::stats::Cause;
use crate::weight::{Refused, Weight};

/// Meta 1 is minor.
fn cache(capacity: u64, minor: u64) -> Cache<u8> {
    Cache::builder()
        .capacity(capacity)
        .policy(Policy::Lru)
        .clock(Clock::manual())
        .shards(1)
        .region(minor, |&meta| meta == 1)
        .build()
}

fn store(cache: &Cache<u8>, key: &str, meta: u8, units: u64) -> Result<(), Refused> {
    cache.insert_if(key.as_bytes(), b"v", meta, Weight::Units(units), None, || true).map(drop)
}

/// The keys, hottest first.
fn keys(cache: &Cache<u8>) -> String {
    cache.iter().map(|hit| String::from_utf8(hit.key().to_vec()).unwrap()).collect::<Vec<_>>().join(" ")
}

#[test]
fn two_kib_keep_all_five_entries_of_the_seeds_example() {
    let scores = [("Tom", "630"), ("Jack", "589"), ("Sam", "567"), ("Lily", "589"), ("Pity", "567")];
    for shards in [1, 64] {
        let cache = Cache::builder().capacity(2048).shards(shards).build();
        for (name, score) in scores {
            let meta = [0_u64; 4];
            cache.insert_if(name.as_bytes(), score.as_bytes(), meta, Weight::Real, None, || true).unwrap();
        }
        for (name, score) in scores {
            assert_eq!(&*cache.get(name.as_bytes()).unwrap(), score.as_bytes());
        }
    }
}

#[test]
fn a_declined_insert_stores_nothing_evicts_nothing_and_leaves_the_old_entry() {
    let cache = cache(2, 0);
    store(&cache, "a", 0, 1).unwrap();
    store(&cache, "b", 0, 1).unwrap();
    for key in [&b"a"[..], b"c"] {
        let refused = cache.insert_if(key, b"new", 0, Weight::Entry, None, || false);
        assert_eq!(refused.unwrap_err(), Refused::Unwanted);
    }
    assert_eq!(keys(&cache), "b a");
    assert_eq!(&*cache.peek(b"a").unwrap(), b"v");
    let stats = cache.stats();
    assert_eq!((stats.unwanted, stats.refused, stats.evictions, stats.replacements), (2, 0, 0, 0));
}

#[test]
fn what_is_free_and_the_shards_own_entries_together_are_room_enough_to_ask_keep_first() {
    let cache = cache(40, 0);
    for (key, units) in [("a", 5), ("b", 5), ("c", 5), ("d", 5), ("e", 5), ("f", 5), ("g", 5), ("h", 2)] {
        store(&cache, key, 0, units).unwrap();
    }
    let refused = cache.insert_if(b"x", b"new", 0, Weight::Units(5), None, || false);
    assert_eq!(refused.unwrap_err(), Refused::Unwanted);
    assert_eq!((keys(&cache).as_str(), cache.shared.budget.used()), ("h g f e d c b a", 37));
}

#[test]
fn an_oversize_entry_is_refused_and_evicts_nothing() {
    let cache = cache(32, 2);
    store(&cache, "a", 0, 4).unwrap();
    store(&cache, "m", 1, 2).unwrap();
    let asked = |meta, units| {
        cache
            .insert_if(b"x", b"v", meta, Weight::Units(units), None, || panic!("not even asked"))
            .unwrap_err()
    };
    assert_eq!(asked(0, 5), Refused::Oversize { weight: 5, limit: 4 });
    assert_eq!(asked(1, 3), Refused::Oversize { weight: 3, limit: 2 });
    assert_eq!(cache.len(), 2);
    assert_eq!(cache.stats().refused, 2);
    let long = cache.insert_if(&[0; 1 << 16], b"v", 0, Weight::Entry, None, || true);
    assert_eq!(long.unwrap_err(), Refused::Oversize { weight: 1, limit: 4 });
    store(&cache, "x", 0, 4).unwrap();
    assert_eq!(keys(&cache), "x m a");
}

#[test]
fn capacity_0_keeps_nothing_and_neither_does_a_region_of_0() {
    let none = cache(0, 10);
    assert_eq!(store(&none, "a", 0, 0), Err(Refused::Oversize { weight: 1, limit: 0 }));
    assert!(none.is_empty());
    let no_minor = cache(10, 0);
    assert_eq!(store(&no_minor, "m", 1, 1), Err(Refused::Oversize { weight: 1, limit: 0 }));
    assert!(no_minor.is_empty());
    store(&no_minor, "a", 0, 1).unwrap();
}

#[test]
fn a_minor_entry_replaces_minor_ones_when_its_region_is_full() {
    let cache = cache(16, 3);
    for key in ["a", "b", "c"] {
        store(&cache, key, 0, 1).unwrap();
    }
    for key in ["m", "n", "o"] {
        store(&cache, key, 1, 1).unwrap();
    }
    store(&cache, "p", 1, 2).unwrap();
    assert_eq!(keys(&cache), "c p b o a");
    assert_eq!((cache.weight(), cache.stats().minor_weight), (6, 3));
}

#[test]
fn when_the_whole_is_full_major_entries_leave_before_minor_ones() {
    let cache = cache(8, 3);
    for key in ["m", "n"] {
        store(&cache, key, 1, 1).unwrap();
    }
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        store(&cache, key, 0, 1).unwrap();
    }
    assert_eq!(keys(&cache), "g n f m e d c b", "a made room, though m was there before it");
    store(&cache, "o", 1, 1).unwrap();
    assert_eq!((keys(&cache).as_str(), cache.stats().minor_weight), ("g o f n e m d c", 3));
}

#[test]
fn an_entry_may_change_its_region_and_its_weight_and_is_counted_where_it_is() {
    let cache = cache(24, 2);
    for key in ["a", "b", "c", "d", "e", "f", "g"] {
        store(&cache, key, 0, 3).unwrap();
    }
    store(&cache, "x", 0, 3).unwrap();
    store(&cache, "x", 1, 2).unwrap();
    assert_eq!((cache.weight(), cache.stats().minor_weight), (23, 2));
    store(&cache, "x", 0, 3).unwrap();
    assert_eq!((cache.weight(), cache.stats().minor_weight), (24, 0));
    assert_eq!(keys(&cache), "x g f e d c b a", "its own weight was room enough");
}

#[test]
fn room_is_made_in_other_shards_when_its_own_has_too_little() {
    for policy in [Policy::Default, Policy::Lru] {
        let cache = Cache::builder().capacity(1600).policy(policy).shards(16).build();
        let put = |key: u32, units| {
            cache.insert_if(&key.to_le_bytes(), b"", (), Weight::Units(units), None, || true).unwrap();
        };
        (0..160).for_each(|key| put(key, 10));
        assert!(cache.weight() > 1500);
        // Each is twice what a shard's fair part is.
        for key in 1000..1020 {
            put(key, 200);
            assert!(cache.get(&key.to_le_bytes()).is_some(), "what was stored is there");
            assert!(cache.weight() <= 1600 && cache.shared.budget.used() <= 1600);
        }
        assert!(cache.weight() > 1200);
        (0..1600).for_each(|key| put(key, 1));
        assert!(cache.weight() > 1500);
    }
}

#[test]
fn a_keep_that_panics_leaves_the_cache_whole() {
    let cache = cache(2, 0);
    store(&cache, "a", 0, 1).unwrap();
    for _ in 0..3 {
        let insert = || cache.insert_if(b"b", b"v", 0, Weight::Entry, None, || panic!("a caller's fault"));
        assert!(catch_unwind(AssertUnwindSafe(insert)).is_err());
    }
    store(&cache, "b", 0, 1).unwrap();
    assert_eq!(keys(&cache), "b a");
    assert_eq!(cache.shared.budget.used(), 2);
}

#[test]
fn what_expired_before_a_keep_panicked_is_told_of() {
    let (clock, told) = (Clock::manual(), Arc::new(AtomicU64::new(0)));
    let notes = Arc::clone(&told);
    let listener = move |_: &Hit<u8>, cause| {
        assert_eq!(cause, Cause::Expired);
        notes.fetch_add(1, Ordering::Relaxed);
    };
    let cache: Cache<u8> =
        Cache::builder().capacity(100).clock(clock.clone()).listener(Arc::new(listener)).build();
    let soon = Some(clock.now() + Duration::from_millis(5));
    for key in 0..10 {
        cache.insert_if(&[key], b"v", 0, Weight::Entry, soon, || true).unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let insert = || cache.insert_if(b"b", b"v", 0, Weight::Entry, None, || panic!("a caller's fault"));
    assert!(catch_unwind(AssertUnwindSafe(insert)).is_err());
    let gone = cache.stats().expirations;
    assert!(gone > 0);
    assert_eq!((told.load(Ordering::Relaxed), cache.stats().entries), (gone, 10 - gone));
}

fn sharer(budget: &Arc<Budget>) -> Cache<u8> {
    Cache::builder().budget(Arc::clone(budget)).policy(Policy::Lru).region(4, |&meta| meta == 1).build()
}

#[test]
fn caches_of_one_budget_never_hold_more_than_it_together() {
    let budget = Arc::new(Budget::new(24));
    let (one, two) = (sharer(&budget), sharer(&budget));
    for n in 0..30 {
        store(if n % 3 == 0 { &one } else { &two }, &n.to_string(), n % 2, 1 + u64::from(n % 3)).unwrap();
        assert_eq!(one.weight() + two.weight(), budget.used());
        assert!(budget.used() <= 24);
    }
    drop(one);
    assert_eq!(budget.used(), two.weight());
    (0..10).for_each(|n| store(&two, &n.to_string(), 0, 3).unwrap());
    assert_eq!(two.weight(), 24);
    drop(two);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_cache_that_comes_late_to_a_full_budget_gets_its_part_from_the_heaviest() {
    let budget = Arc::new(Budget::new(96));
    let (early, small, late) = (sharer(&budget), sharer(&budget), sharer(&budget));
    store(&small, "s", 0, 8).unwrap();
    store(&small, "t", 0, 8).unwrap();
    for n in 0..20 {
        store(&early, &n.to_string(), n % 2, if n % 2 == 0 { 8 } else { 1 }).unwrap();
    }
    assert!(budget.used() > 88, "full but for less than one of the larger ones");
    for n in 0..20 {
        store(&late, &n.to_string(), 0, 8).unwrap();
    }
    assert_eq!(small.weight(), 16);
    assert!((24..=32).contains(&late.weight()), "its part but for an entry");
    assert_eq!(early.weight() + small.weight() + late.weight(), budget.used());
}

#[test]
fn a_get_in_order_waits_for_an_insert_that_has_decided_to_store() {
    for policy in [Policy::Default, Policy::Lru] {
        let cache: Cache<u8> = Cache::builder().capacity(1 << 20).policy(policy).build();
        let (found, finds) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let other = cache.clone();
            let stored = cache.insert_if(b"Tom", b"630", 0, Weight::Real, None, || {
                scope.spawn(move || found.send(other.get_in_order(b"Tom").map(|hit| hit.to_vec())).unwrap());
                // Time for one that does not wait to find nothing.
                assert!(finds.recv_timeout(Duration::from_millis(30)).is_err());
                true
            });
            assert!(stored.is_ok());
            assert_eq!(finds.recv().unwrap(), Some(b"630".to_vec()));
        });
        assert_eq!((cache.stats().hits, cache.stats().misses), (1, 0));
    }
}
