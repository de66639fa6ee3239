//! Interleavings of inserts with removes, evictions and reads, explored by shuttle over the product's own files.
//!
//! `RUSTFLAGS="--cfg shuttle" cargo test -p carrot-engine --lib shuttle`

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicBool, Ordering};
use shuttle::{check_dfs, check_random, thread};

use crate::budget::{Budget, Quota, Room};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::weight::Weight;

const SCHEDULES: usize = 3000;

fn cache(budget: &Arc<Budget>, shards: usize) -> Cache<u8> {
    Cache::builder()
        .budget(Arc::clone(budget))
        .clock(Clock::manual())
        .seed(1)
        .shards(shards)
        .region(2, |&meta| meta == 1)
        .build()
}

fn store(cache: &Cache<u8>, key: &[u8], meta: u8, units: u64) -> bool {
    cache.insert_if(key, key, meta, Weight::Units(units), None, || true).is_ok()
}

#[test]
fn two_that_take_the_last_units_at_once_never_both_get_them() {
    let race = || {
        let quota = Arc::new(Quota::new(3));
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let quota = Arc::clone(&quota);
                thread::spawn(move || {
                    let mut room = Room::new(&quota, 2);
                    let lacking = room.lacking();
                    assert!(quota.used() <= 3);
                    lacking
                })
            })
            .collect();
        takers.into_iter().for_each(|taker| assert!([0, 2].contains(&taker.join().unwrap())));
        assert_eq!(quota.used(), 0);
    };
    // Small enough to try every schedule there is.
    check_dfs(race, None);
}

#[test]
fn a_remove_is_never_undone_by_a_late_insert() {
    check_random(
        || {
            let cache = cache(&Arc::new(Budget::new(10)), 1);
            let removed = Arc::new(AtomicBool::new(false));
            let load = {
                let (cache, removed) = (cache.clone(), Arc::clone(&removed));
                thread::spawn(move || {
                    let keep = || !removed.load(Ordering::SeqCst);
                    let _ = cache.insert_if(b"k", b"old", 0, Weight::Entry, None, keep);
                })
            };
            removed.store(true, Ordering::SeqCst);
            cache.remove(b"k");
            load.join().unwrap();
            assert!(cache.peek(b"k").is_none());
        },
        SCHEDULES,
    );
}

#[test]
fn a_handle_outlives_the_eviction_and_the_last_one_frees() {
    check_random(
        || {
            let cache = cache(&Arc::new(Budget::new(1)), 1);
            store(&cache, b"a", 0, 1);
            let reader = {
                let cache = cache.clone();
                thread::spawn(move || {
                    if let Some(hit) = cache.get(b"a") {
                        let other = hit.clone();
                        drop(hit);
                        assert_eq!(&*other, b"a");
                    }
                })
            };
            store(&cache, b"b", 0, 1);
            reader.join().unwrap();
            assert_eq!((cache.len(), cache.weight()), (1, 1));
        },
        SCHEDULES,
    );
}

#[test]
fn inserts_that_make_room_in_each_others_shards_never_pass_the_capacity() {
    check_random(
        || {
            let budget = Arc::new(Budget::new(4));
            let cache = cache(&budget, 4);
            // Half full, so that they race for what is free and for what can be evicted.
            store(&cache, b"1", 0, 1);
            store(&cache, b"2", 0, 1);
            let writers: Vec<_> = [(b"5", 3), (b"6", 2)]
                .map(|(key, units)| {
                    let cache = cache.clone();
                    thread::spawn(move || store(&cache, key, 0, units))
                })
                .into();
            assert!(budget.used() <= 4 && cache.weight() <= 4);
            for writer in writers {
                writer.join().unwrap();
            }
            let walked: u64 = cache.iter().map(|hit| hit.weight()).sum();
            assert_eq!((walked, walked), (cache.weight(), budget.used()));
            assert!(walked <= 4);
        },
        SCHEDULES,
    );
}

#[test]
fn two_caches_of_one_budget_that_evict_from_each_other_neither_lose_units_nor_lock_up() {
    check_random(
        || {
            let budget = Arc::new(Budget::new(3));
            let caches = [cache(&budget, 1), cache(&budget, 1)];
            let writers: Vec<_> = caches
                .clone()
                .map(|cache| {
                    thread::spawn(move || {
                        for (key, meta) in [(b"1", 0), (b"2", 1), (b"3", 0)] {
                            store(&cache, key, meta, 2);
                        }
                    })
                })
                .into();
            for writer in writers {
                writer.join().unwrap();
            }
            let held: u64 = caches.iter().map(Cache::weight).sum();
            let walked: u64 = caches.iter().flat_map(Cache::iter).map(|hit| hit.weight()).sum();
            assert_eq!((held, walked), (budget.used(), budget.used()));
        },
        SCHEDULES,
    );
}
