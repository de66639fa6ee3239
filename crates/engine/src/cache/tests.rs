//! Tests of the cache's operations and settings; those of storing are in `insert`, those of walking in `iter`.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::*;
use crate::clock::Time;
use crate::weight::Weight;

fn cache(capacity: u64) -> Cache<u32> {
    Cache::builder().capacity(capacity).policy(Policy::Lru).clock(Clock::manual()).build()
}

fn put(cache: &Cache<u32>, key: &[u8], value: &[u8]) -> Hit<u32> {
    cache.insert_if(key, value, 7, Weight::Entry, None, || true).unwrap()
}

fn put_until(cache: &Cache<u32>, key: &[u8], expires: Time) {
    cache.insert_if(key, b"v", 7, Weight::Entry, Some(expires), || true).unwrap();
}

#[test]
fn a_hit_is_the_block_that_was_stored_and_not_a_copy() {
    let cache = cache(10);
    let stored = put(&cache, b"key", b"value");
    let hit = cache.get(b"key").unwrap();
    assert_eq!((hit.key(), &*hit, hit.meta(), hit.weight()), (&b"key"[..], &b"value"[..], 7, 1));
    assert_eq!(hit.as_ptr(), stored.as_ptr());
}

#[test]
fn a_handle_stays_valid_after_its_entry_left_and_after_the_cache_is_gone() {
    let cache = cache(1);
    let evicted = put(&cache, b"a", b"first");
    let replaced = put(&cache, b"b", b"second");
    put(&cache, b"b", b"third");
    let cleared = cache.get(b"b").unwrap();
    cache.clear();
    put(&cache, b"c", b"fourth");
    let removed = cache.remove(b"c").unwrap();
    drop(cache);
    let values = [&*evicted, &*replaced, &*cleared, &*removed];
    assert_eq!(values, [&b"first"[..], b"second", b"third", b"fourth"]);
}

#[test]
fn the_entry_used_longest_ago_leaves_first() {
    let cache = cache(3);
    for key in [b"a", b"b", b"c"] {
        put(&cache, key, b"");
    }
    cache.get(b"a");
    put(&cache, b"d", b"");
    assert!(cache.peek(b"b").is_none());
    put(&cache, b"e", b"");
    assert!(cache.peek(b"c").is_none());
    assert!(cache.peek(b"a").is_some());
}

#[test]
fn peek_leaves_no_trace() {
    let cache = cache(2);
    put(&cache, b"a", b"");
    put(&cache, b"b", b"");
    let before = cache.stats();
    assert!(cache.peek(b"a").is_some());
    assert!(cache.peek(b"x").is_none());
    assert_eq!(cache.stats(), before);
    put(&cache, b"c", b"");
    assert!(cache.peek(b"a").is_none(), "a was still the coldest");
}

#[test]
fn get_many_answers_in_the_order_asked_and_uses_each_key_as_get_does() {
    let many: Cache<u32> = Cache::builder().capacity(1000).shards(8).build();
    for n in (0..100_u32).step_by(2) {
        put(&many, &n.to_le_bytes(), &n.to_le_bytes());
    }
    let asked: Vec<[u8; 4]> = (0..100_u32).rev().chain([4, 4, 5]).map(u32::to_le_bytes).collect();
    for (key, answer) in asked.iter().zip(many.get_many(&asked)) {
        assert_eq!(answer.as_deref(), (key[0] % 2 == 0).then_some(&key[..]));
    }
    assert_eq!((many.stats().hits, many.stats().misses), (52, 51));
    assert!(many.get_many::<&[u8]>(&[]).is_empty());

    let small = cache(3);
    for key in [b"a", b"b", b"c"] {
        put(&small, key, b"");
    }
    small.get_many(&[b"b", b"a"]);
    put(&small, b"d", b"");
    put(&small, b"e", b"");
    assert!(small.peek(b"a").is_some() && small.peek(b"b").is_none());
}

#[test]
fn remove_gives_what_was_there_once() {
    let cache = cache(2);
    put(&cache, b"a", b"1");
    assert_eq!(cache.remove(b"a").as_deref(), Some(&b"1"[..]));
    assert!(cache.remove(b"a").is_none());
    assert!(cache.get(b"a").is_none());
    assert_eq!((cache.weight(), cache.stats().removals), (0, 1));
}

#[test]
fn an_entry_is_served_until_just_before_its_expiry_and_then_is_a_miss_that_frees_it() {
    let clock = Clock::manual();
    let cache: Cache<u32> = Cache::builder().capacity(10).clock(clock.clone()).build();
    let expires = clock.now() + Duration::from_millis(250);
    for key in [b"a", b"b", b"c"] {
        put_until(&cache, key, expires);
    }
    clock.advance(Duration::from_millis(249));
    assert!(cache.get(b"a").is_some());
    clock.advance(Duration::from_millis(1));
    assert!(cache.peek(b"a").is_none());
    assert_eq!(cache.len(), 3, "a peek leaves no trace");
    assert!(cache.get(b"a").is_none());
    assert!(cache.get_many(&[b"b"])[0].is_none());
    assert!(cache.remove(b"c").is_none());
    let stats = cache.stats();
    assert_eq!((stats.expirations, stats.removals, stats.misses, stats.hits), (3, 0, 2, 1));
    assert_eq!((stats.entries, stats.weight), (0, 0));
}

#[test]
fn by_the_systems_clock_an_entry_is_served_until_its_expiry_and_then_is_a_miss() {
    let cache: Cache<u32> = Cache::builder().capacity(10).build();
    // The second lives long enough that its expiry is seen only if the clock's thread moves coarse time on.
    for ttl in [20, 150] {
        let expires = cache.clock().now() + Duration::from_millis(ttl);
        put_until(&cache, b"a", expires);
        while cache.get(b"a").is_some() {
            std::thread::yield_now();
        }
        assert!(cache.clock().now() >= expires);
    }
    assert_eq!((cache.stats().expirations, cache.len()), (2, 0));
}

#[test]
fn near_its_expiry_an_entry_is_judged_by_the_exact_time() {
    let cache: Cache<u32> = Cache::builder().capacity(10).build();
    let expires = cache.clock().now() + Duration::from_millis(30);
    put_until(&cache, b"a", expires);
    loop {
        let before = cache.clock().now();
        let served = cache.get(b"a").is_some();
        assert!(!served || before < expires, "served though the clock stood at {before:?} before");
        if !served {
            break;
        }
    }
}

#[test]
fn entries_are_counted_in_and_out() {
    let cache = cache(3);
    for key in [b"a", b"b", b"c", b"d", b"d"] {
        put(&cache, key, b"");
    }
    cache.remove(b"d");
    cache.get(b"c");
    cache.get(b"x");
    cache.clear();
    let stats = cache.stats();
    let left = [stats.evictions, stats.expirations, stats.removals, stats.replacements, stats.cleared];
    assert_eq!(left, [1, 0, 1, 1, 2]);
    assert_eq!((stats.inserts, stats.entries, stats.hits, stats.misses), (5, 0, 1, 1));
    assert_eq!((stats.weight, stats.capacity), (0, 3));
}

type Told = Arc<Mutex<Vec<(Vec<u8>, Cause)>>>;

/// A cache whose listener notes every departure, and calls back into it each time.
fn listened(capacity: u64, clock: &Clock) -> (Arc<Cache<u32>>, Told) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&told);
    let cache = Arc::new_cyclic(|weak: &Weak<Cache<u32>>| {
        let weak = weak.clone();
        Cache::builder()
            .capacity(capacity)
            .policy(Policy::Lru)
            .clock(clock.clone())
            .listener(Arc::new(move |hit: &Hit<u32>, cause| {
                notes.lock().unwrap().push((hit.key().to_vec(), cause));
                let cache = weak.upgrade().unwrap();
                assert!(cache.peek(hit.key()).is_none_or(|now| now.as_ptr() != hit.as_ptr()));
                assert!(cache.weight() <= cache.capacity());
                assert!(cache.get(b"none").is_none());
                cache.remove(b"none");
            }))
            .build()
    });
    (cache, told)
}

#[test]
fn the_listener_is_told_once_of_each_departure_and_may_call_back() {
    let clock = Clock::manual();
    let (cache, told) = listened(2, &clock);
    put(&cache, b"a", b"");
    put(&cache, b"b", b"");
    put(&cache, b"c", b"");
    put(&cache, b"c", b"");
    cache.remove(b"b");
    cache.clear();
    put_until(&cache, b"e", clock.now());
    cache.get(b"e");
    put_until(&cache, b"f", clock.now());
    cache.remove(b"f");
    put_until(&cache, b"g", clock.now());
    cache.get_many(&[b"g"]);
    let expect = [
        (b"a".to_vec(), Cause::Evicted),
        (b"c".to_vec(), Cause::Replaced),
        (b"b".to_vec(), Cause::Removed),
        (b"c".to_vec(), Cause::Cleared),
        (b"e".to_vec(), Cause::Expired),
        (b"f".to_vec(), Cause::Expired),
        (b"g".to_vec(), Cause::Expired),
    ];
    assert_eq!(*told.lock().unwrap(), expect);
}

#[test]
fn a_small_cache_is_one_shard_and_a_large_one_64() {
    let of_units = |capacity| default_shards(capacity, None);
    assert_eq!([0, 2048, 131_071, 131_072, 300_000].map(of_units), [1, 1, 1, 2, 4]);
    assert_eq!([64 * 65_536, u64::MAX].map(of_units), [64, 64]);
    let of_entries = |entries| default_shards(1_000_000, Some(entries));
    assert_eq!([0, 256, 511, 512, 100_000].map(of_entries), [1, 1, 1, 2, 64]);
    assert_eq!(Cache::<()>::builder().entries(2048).build().shared.shards.len(), 8);
    assert_eq!(Cache::<()>::builder().shards(5).build().shared.shards.len(), 8);
    assert_eq!(Cache::<()>::builder().shards(0).build().shared.shards.len(), 1);
    assert_eq!(Cache::<()>::builder().shards(usize::MAX).build().shared.shards.len(), MAX_SHARDS);
}

#[test]
fn the_hash_is_the_same_for_one_seed_and_drawn_for_each_cache_without() {
    let hash = |cache: Cache<()>| cache.shared.keys.hash(b"key");
    let seeded = |seed| hash(Cache::builder().seed(seed).build());
    assert_eq!(seeded(1), seeded(1));
    assert_ne!(seeded(1), seeded(2));
    assert_ne!(hash(Cache::builder().build()), hash(Cache::builder().build()));
}

#[test]
fn keys_spread_over_all_shards() {
    let cache: Cache<u32> = Cache::builder().capacity(10_000).shards(16).seed(3).build();
    for n in 0..4096_u32 {
        put(&cache, &n.to_le_bytes(), b"");
    }
    for shard in &cache.shared.shards {
        // A mean of 256, a standard deviation of 15.5.
        assert!((180..=330).contains(&shard.lock().len()));
    }
}

#[test]
fn a_dropped_cache_frees_its_entries_and_leaves_its_clock_to_others() {
    let clock = Clock::system();
    let cache: Cache<u32> = Cache::builder().capacity(10).clock(clock.clone()).build();
    put_until(&cache, b"a", clock.now() + Duration::from_hours(1));
    put(&cache, b"b", b"");
    let shared = Arc::downgrade(&cache.shared);
    drop(cache.clone());
    assert!(shared.upgrade().is_some());
    drop(cache);
    assert!(shared.upgrade().is_none());
    assert!(clock.is_idle(), "nothing is left that could expire");
}

#[test]
fn any_number_of_entries_may_be_foreseen() {
    for entries in [0, 1, 255, u64::MAX / 33, u64::MAX - 1, u64::MAX] {
        let cache: Cache<u32> = Cache::builder().entries(entries).build();
        for key in 0..100_u32 {
            let stored = cache.insert_if(&key.to_le_bytes(), b"v", 0, Weight::Entry, None, || true);
            assert_eq!(stored.is_ok(), entries > 0);
        }
        assert_eq!(cache.len() as u64, entries.min(100));
    }
}

#[test]
fn tiny_capacities_hold_what_they_can_and_no_more() {
    for policy in [Policy::Default, Policy::Lru] {
        for (capacity, shards) in [(0, 1), (0, 16), (1, 1), (1, 16), (2, 64), (7, 8), (9, 4)] {
            let cache: Cache<u32> = Cache::builder().capacity(capacity).policy(policy).shards(shards).build();
            for n in 0..300_u32 {
                let stored = cache.insert_if(&n.to_le_bytes(), b"v", 0, Weight::Entry, None, || true);
                assert_eq!(stored.is_ok(), capacity > 0);
                assert_eq!(cache.get(&n.to_le_bytes()).is_some(), capacity > 0);
                assert!(cache.weight() <= capacity && cache.len() as u64 <= capacity);
            }
            assert!(cache.weight() >= capacity.min(1));
        }
    }
}

#[test]
fn values_of_no_bytes_are_kept_and_those_larger_than_the_capacity_pass_by() {
    let cache: Cache<u32> = Cache::builder().capacity(1 << 16).build();
    for weight in [Weight::Payload, Weight::Real] {
        for key in [&b""[..], b"k"] {
            let stored = cache.insert_if(key, b"", 7, weight, None, || true).unwrap();
            assert_eq!((stored.key(), &*stored, &*cache.get(key).unwrap()), (key, &b""[..], &b""[..]));
        }
        for len in [(1 << 13) + 1, 1 << 16, 1 << 20] {
            let refused = cache.insert_if(b"large", &vec![1; len], 7, weight, None, || true);
            assert!(refused.is_err() && cache.get(b"large").is_none() && cache.len() == 2);
        }
    }
    assert_eq!((cache.stats().refused, cache.stats().evictions), (6, 0));
}

#[test]
fn a_clock_that_stands_still_expires_nothing_and_one_that_jumps_by_years_all() {
    let clock = Clock::manual();
    let cache: Cache<u32> = Cache::builder().capacity(1000).clock(clock.clone()).build();
    let year = Duration::from_hours(24 * 365);
    for round in 0..5 {
        for n in 0..200_u32 {
            let expires = clock.now() + Duration::from_millis(1 + u64::from(n) * 100_000_000);
            cache.insert_if(&n.to_le_bytes(), b"v", 0, Weight::Entry, Some(expires), || true).unwrap();
        }
        assert!((0..200_u32).all(|n| cache.get(&n.to_le_bytes()).is_some()));
        clock.advance(year * 20 * (round + 1));
        assert!((0..200_u32).all(|n| cache.peek(&n.to_le_bytes()).is_none()));
        // Writes find them all, each some.
        for n in 0..200_u32 {
            cache.insert_if(&(1000 + n).to_le_bytes(), b"v", 0, Weight::Entry, None, || true).unwrap();
        }
        assert_eq!(cache.len(), 200);
        cache.clear();
    }
    clock.advance(Duration::MAX);
    let late = cache.insert_if(b"late", b"v", 0, Weight::Entry, Some(clock.now() + year), || true).unwrap();
    assert!(late.expires().is_some());
    assert!(cache.get(b"late").is_some(), "the clock stands at its end, and does not go round");
}

#[test]
fn get_many_of_any_number_answers_as_so_many_gets() {
    for policy in [Policy::Default, Policy::Lru] {
        let cache: Cache<u32> = Cache::builder().capacity(500).policy(policy).shards(4).seed(5).build();
        (0..200_u32).step_by(2).for_each(|n| drop(put(&cache, &n.to_le_bytes(), &n.to_le_bytes())));
        for count in [0, 1, 2, 15, 16, 17, 31, 32, 33, 200, 1000] {
            let keys: Vec<[u8; 4]> = (0..count).map(|n: u32| (n * 7 % 200).to_le_bytes()).collect();
            let before = cache.stats();
            let many: Vec<Option<Vec<u8>>> =
                cache.get_many(&keys).into_iter().map(|hit| hit.map(|hit| hit.to_vec())).collect();
            let stats = cache.stats();
            let one_by_one: Vec<_> = keys.iter().map(|key| cache.get(key).map(|hit| hit.to_vec())).collect();
            assert_eq!(many, one_by_one);
            let hits = many.iter().flatten().count() as u64;
            assert_eq!(stats.hits - before.hits, hits);
            assert_eq!(stats.misses - before.misses, u64::from(count) - hits);
        }
    }
}

#[test]
fn a_listener_that_panics_leaves_the_cache_whole_and_is_told_of_the_others() {
    let told = Arc::new(Mutex::new(0));
    let notes = Arc::clone(&told);
    let cache: Cache<u32> = Cache::builder()
        .capacity(100)
        .shards(2)
        .listener(Arc::new(move |_: &Hit<u32>, _| {
            *notes.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += 1;
            panic!("a listener's fault");
        }))
        .build();
    let caught = |run: &dyn Fn()| catch_unwind(AssertUnwindSafe(run)).is_err();
    let mut panics = 0;
    for n in 0..500_u32 {
        let weight = Weight::Units(1 + u64::from(n % 12));
        panics += u32::from(caught(&|| {
            drop(cache.insert_if(&n.to_le_bytes(), b"v", 0, weight, None, || true));
        }));
        panics += u32::from(n % 5 == 0 && caught(&|| drop(cache.remove(&n.to_le_bytes()))));
        assert_eq!(cache.weight(), cache.iter().map(|hit| hit.weight()).sum::<u64>());
    }
    assert!(caught(&|| cache.clear()));
    let stats = cache.stats();
    assert!(panics > 100);
    assert_eq!(
        stats.inserts - stats.entries,
        *told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    );
}
