//! Caches that share a budget, as their users see them: by the public surface alone.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use carrot_engine::{Budget, Builder, Cache, Cause, Clock, Full, Hit, Refused, Reserved, Weight};

fn builder() -> Builder<bool> {
    Cache::builder().seed(7).clock(Clock::manual())
}

fn put(cache: &Cache<bool>, key: u32, weight: u64) -> Result<(), Refused> {
    put_as(cache, key, weight, false)
}

fn put_as(cache: &Cache<bool>, key: u32, weight: u64, minor: bool) -> Result<(), Refused> {
    let weight = Weight::Units(weight);
    cache.insert_if(&key.to_le_bytes(), b"v", minor, weight, None, || true).map(drop)
}

#[test]
fn a_cache_with_both_holds_no_more_than_either_whichever_is_said_first() {
    for own_first in [true, false] {
        for (own, shared) in [(100, 1000), (1000, 100), (100, 100), (0, 100), (100, 0)] {
            let most = own.min(shared);
            let budget = Arc::new(Budget::new(shared));
            let cache = if own_first {
                builder().capacity(own).budget(budget.clone()).build()
            } else {
                builder().budget(budget.clone()).capacity(own).build()
            };
            assert_eq!(cache.capacity(), most);
            for key in 0..500 {
                let stored = put(&cache, key, 3);
                assert_eq!(stored.is_ok(), most > 0, "{own} of {shared}: {stored:?}");
                assert!(cache.weight() <= most && budget.used() <= most);
            }
            assert!(cache.weight() >= most * 9 / 10, "{} of {most}", cache.weight());
            assert_eq!(cache.weight(), budget.used());
            assert!(matches!(put(&cache, 999, most + 1), Err(Refused::Oversize { .. })));
            cache.clear();
            assert_eq!((cache.weight(), budget.used()), (0, 0));
            assert_eq!(put(&cache, 1, 10).is_ok(), most > 0);
        }
    }
}

#[test]
fn a_cache_at_its_own_capacity_evicts_of_its_own_and_leaves_the_others() {
    let budget = Arc::new(Budget::new(1000));
    let small = builder().capacity(100).budget(budget.clone()).build();
    let large = builder().budget(budget.clone()).build();
    for key in 0..800 {
        put(&large, key, 1).unwrap();
    }
    for key in 0..400 {
        put(&small, key, 3).unwrap();
        assert!(small.weight() <= 100);
    }
    assert!(small.weight() >= 90);
    assert_eq!((large.weight(), budget.used()), (800, 800 + small.weight()));
    // And the other way about, as far as the budget goes.
    for key in 800..3000 {
        put(&large, key, 1).unwrap();
        assert!(small.weight() <= 100 && budget.used() <= 1000);
    }
    assert_eq!(small.weight() + large.weight(), budget.used());
    assert!(budget.used() >= 900);
}

#[test]
fn what_leaves_in_any_way_gives_back_to_both() {
    let clock = Clock::manual();
    let budget = Arc::new(Budget::new(1000));
    let cache = builder().clock(clock.clone()).capacity(100).budget(budget.clone());
    let cache = cache.region(20, |minor| *minor).build();
    for _ in 0..5 {
        // Each of these fits alone, and with the other only if what went before has given back all it held.
        put_as(&cache, 1, 2, true).unwrap();
        put_as(&cache, 2, 2, true).unwrap();
        put(&cache, 3, 10).unwrap();
        put(&cache, 3, 12).unwrap();
        assert_eq!((cache.weight(), budget.used()), (16, 16));
        cache.remove(&3_u32.to_le_bytes()).unwrap();
        let soon = clock.now() + Duration::from_millis(5);
        for key in 10..15 {
            let key: [u8; 4] = u32::to_le_bytes(key);
            cache.insert_if(&key, b"v", false, Weight::Units(10), Some(soon), || true).unwrap();
        }
        assert_eq!((cache.weight(), budget.used()), (54, 54));
        let unwanted = cache.insert_if(b"l", b"v", false, Weight::Units(10), None, || false);
        assert_eq!(unwanted.err(), Some(Refused::Unwanted));
        clock.advance(Duration::from_millis(10));
        for key in 10..15_u32 {
            assert!(cache.get(&key.to_le_bytes()).is_none());
        }
        assert_eq!((cache.weight(), budget.used()), (4, 4));
        // What is reserved by somebody else evicts here, and that is room of its own again.
        drop(budget.reserve(1000).unwrap());
        assert_eq!((cache.weight(), budget.used()), (0, 0));
    }
    for key in 0..10 {
        put(&cache, key, 10).unwrap();
    }
    assert!(cache.weight() >= 90);
    drop(cache);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_is_reserved_is_not_for_entries_until_it_is_given_back() {
    let budget = Arc::new(Budget::new(1000));
    let cache = builder().budget(budget.clone()).build();
    for key in 0..100 {
        put(&cache, key, 10).unwrap();
    }
    let full = cache.weight();
    assert!(full >= 900);
    let mut held = budget.reserve(555).unwrap();
    assert!(budget.used() <= 1000 && cache.weight() <= 445);
    assert_eq!(budget.used(), cache.weight() + held.units());
    for key in 0..200 {
        put(&cache, key, 10).unwrap();
        assert!(cache.weight() <= 445);
    }
    held.grow(445).unwrap();
    assert!(cache.is_empty());
    assert_eq!(put(&cache, 1, 1), Err(Refused::NoRoom));
    let full: Full = budget.reserve(1).unwrap_err();
    assert_eq!((full.units, full.capacity), (1, 1000));
    held.shrink_to(900);
    put(&cache, 1, 10).unwrap();
    drop(held);
    assert_eq!((cache.weight(), budget.used()), (10, 10));
}

#[test]
fn what_cannot_be_reserved_evicts_nothing() {
    let budget = Arc::new(Budget::new(1000));
    let cache = builder().budget(budget.clone()).build();
    for key in 0..50 {
        put(&cache, key, 10).unwrap();
    }
    let mut held = budget.reserve(300).unwrap();
    assert!(budget.reserve(701).is_err() && held.grow(701).is_err() && held.grow(u64::MAX).is_err());
    assert_eq!((cache.weight(), held.units(), budget.used()), (500, 300, 800));
}

#[test]
fn a_budget_outlives_its_caches_and_what_is_reserved_of_it() {
    let budget = Arc::new(Budget::new(100));
    let cache = builder().budget(budget.clone()).capacity(80).build();
    put(&cache, 1, 10).unwrap();
    let held: Reserved = budget.reserve(50).unwrap();
    assert_eq!(budget.used(), 60);
    drop(cache);
    assert_eq!(budget.used(), 50);
    drop(budget);
    assert_eq!(held.units(), 50);
}

#[test]
fn no_thread_ever_sees_more_than_the_budget_or_a_capacity() {
    const TOTAL: u64 = 1000;
    const OWN: u64 = 300;
    let budget = Arc::new(Budget::new(TOTAL));
    let caches: Vec<_> = (0..4)
        .map(|at| {
            let cache = Cache::builder().shards(4).clock(Clock::manual()).budget(budget.clone());
            if at == 0 { cache.build() } else { cache.capacity(OWN).build() }
        })
        .collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let done = Arc::new(AtomicBool::new(false));
        let workers: Vec<_> = (0..3_u32)
            .map(|thread| {
                let (budget, caches) = (&budget, &caches);
                threads.spawn(move || {
                    for round in 0..20_000_u32 {
                        let n = round.wrapping_mul(2_654_435_761).wrapping_add(thread);
                        let cache = &caches[n as usize % 4];
                        let weight = u64::from(n >> 8) % 30;
                        let reserved = (n % 7 == 0).then(|| budget.reserve(weight * 4));
                        let _ = put(cache, (n >> 12) % 500, weight);
                        if n % 11 == 0 {
                            cache.remove(&(n % 500).to_le_bytes());
                        }
                        drop(reserved);
                    }
                })
            })
            .collect();
        let (stop, over, budget, caches) = (done.clone(), &over, &budget, &caches);
        let watcher = threads.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let weights: Vec<u64> = caches.iter().map(Cache::weight).collect();
                let within = budget.used() <= TOTAL && weights[1..].iter().all(|weight| *weight <= OWN);
                over.fetch_or(!within, Ordering::Relaxed);
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
    });
    assert!(!over.load(Ordering::Relaxed));
    assert_eq!(budget.used(), caches.iter().map(Cache::weight).sum::<u64>());
    drop(caches);
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_listener_that_panics_costs_no_unit_and_the_others_are_told_of_all_the_same() {
    let budget = Arc::new(Budget::new(800));
    let told = Arc::new(AtomicU64::new(0));
    let sharer = || {
        let told = Arc::clone(&told);
        let listener = move |_: &Hit<bool>, _: Cause| {
            assert!(told.fetch_add(1, Ordering::Relaxed) % 2 == 1, "every other time");
        };
        builder().budget(budget.clone()).shards(2).listener(Arc::new(listener)).build()
    };
    let caches = [sharer(), sharer(), sharer()];
    let mut panics = 0;
    for n in 0..2000_u32 {
        let cache = &caches[(n / 100) as usize % 3];
        let insert = || put(cache, n, 1 + u64::from(n % 90));
        panics += u32::from(catch_unwind(AssertUnwindSafe(insert)).is_err());
        let reserve = || budget.reserve(u64::from(n % 300)).map(drop);
        panics += u32::from(catch_unwind(AssertUnwindSafe(reserve)).is_err());
        assert_eq!(budget.used(), caches.iter().map(Cache::weight).sum::<u64>());
    }
    assert!(panics > 100, "{panics}");
    let gone: u64 = caches.iter().map(|cache| cache.stats().inserts - cache.stats().entries).sum();
    assert_eq!(told.load(Ordering::Relaxed), gone);
}

#[test]
fn what_has_expired_leaves_first_also_where_room_is_made_for_others() {
    let clock = Clock::manual();
    let budget = Arc::new(Budget::new(960));
    let cache = builder().clock(clock.clone()).budget(budget.clone()).shards(8).build();
    for n in 0..960_u32 {
        let soon = (n % 2 == 0).then(|| clock.now() + Duration::from_millis(u64::from(n)));
        cache.insert_if(&n.to_le_bytes(), b"v", false, Weight::Entry, soon, || true).unwrap();
    }
    clock.advance(Duration::from_secs(1));
    let before = cache.stats().evictions;
    // For a value on its way, and for an entry that weighs as much as a shard may hold.
    drop(budget.reserve(100).unwrap());
    put(&cache, 1000, 120).unwrap();
    let stats = cache.stats();
    assert_eq!(stats.evictions, before);
    assert!(stats.expirations >= 120);
}
