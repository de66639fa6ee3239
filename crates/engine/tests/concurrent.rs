//! Threads that read, store and remove at once, and one that watches that no bound is ever passed.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use carrot_engine::{Budget, Cache, Cause, Clock, Hit, Weight};

const CAPACITY: u64 = 300;
const MINOR_LIMIT: u64 = 40;
const STEPS: u64 = 30_000;

/// Fewer where each step costs tens of times as much, as under valgrind.
fn steps() -> u64 {
    if std::env::var_os("CARROT_FEWER_ROUNDS").is_some() { STEPS / 20 } else { STEPS }
}

/// A fixed, well-mixed sequence for each thread (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

fn cache(budget: &Arc<Budget>, clock: &Clock, told: &Arc<AtomicU64>) -> Cache<bool> {
    let told = Arc::clone(told);
    Cache::builder()
        .budget(Arc::clone(budget))
        .region(MINOR_LIMIT, |&minor| minor)
        .clock(clock.clone())
        .shards(8)
        .listener(Arc::new(move |_: &Hit<bool>, _: Cause| _ = told.fetch_add(1, Ordering::Relaxed)))
        .build()
}

/// The value is the key, some times over: a torn or misplaced one is seen.
fn check(key: &[u8], hit: &Hit<bool>) {
    assert_eq!(hit.key(), key);
    assert!(hit.chunks(key.len()).all(|part| part == key));
}

fn work(caches: &[Cache<bool>], clock: &Clock, mut dice: Dice) {
    // Handles held over many steps: their blocks must outlive any eviction.
    let mut held: Vec<Hit<bool>> = Vec::new();
    for _ in 0..steps() {
        let cache = &caches[dice.roll(caches.len() as u64) as usize];
        let key = dice.roll(200).to_le_bytes();
        match dice.roll(100) {
            0..40 => {
                let value = key.repeat(1 + dice.roll(5) as usize);
                let units = Weight::Units(1 + dice.roll(8) * dice.roll(8));
                let expires = (dice.roll(3) == 0).then(|| clock.now() + Duration::from_millis(dice.roll(50)));
                let _ =
                    cache.insert_if(&key, &value, dice.roll(4) == 0, units, expires, || dice.roll(10) > 0);
            }
            40..80 => held.extend(cache.get(&key).inspect(|hit| check(&key, hit))),
            80..90 => drop(cache.remove(&key).inspect(|hit| check(&key, hit))),
            90..95 => {
                let keys: Vec<[u8; 8]> = (0..6).map(|_| dice.roll(200).to_le_bytes()).collect();
                for (key, hit) in keys.iter().zip(cache.get_many(&keys)) {
                    hit.inspect(|hit| check(key, hit));
                }
            }
            95..98 => clock.advance(Duration::from_millis(1)),
            98 => cache.iter().take(50).for_each(|hit| check(hit.key(), &hit)),
            _ if dice.roll(20) == 0 => cache.clear(),
            _ => held.iter().for_each(|hit| check(hit.key(), hit)),
        }
        if held.len() > 100 {
            held.clear();
        }
    }
}

fn watch(caches: &[Cache<bool>], budget: &Budget, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        assert!(budget.used() <= CAPACITY);
        for cache in caches {
            assert!(cache.weight() <= CAPACITY);
            assert!(cache.stats().minor_weight <= MINOR_LIMIT);
        }
    }
}

fn run(sharers: usize) {
    let (budget, clock, told) =
        (Arc::new(Budget::new(CAPACITY)), Clock::manual(), Arc::new(AtomicU64::new(0)));
    let caches: Vec<Cache<bool>> = (0..sharers).map(|_| cache(&budget, &clock, &told)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&caches, &budget, &done));
        let workers: Vec<_> = (0..4)
            .map(|n| (n, &caches, &clock))
            .map(|(n, caches, clock)| scope.spawn(move || work(caches, clock, Dice(n))))
            .collect();
        let outcomes: Vec<_> = workers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        watcher.join().unwrap();
        outcomes.into_iter().for_each(Result::unwrap);
    });

    let mut gone = 0;
    let mut held = 0;
    for cache in &caches {
        let stats = cache.stats();
        let left = stats.evictions + stats.expirations + stats.removals + stats.replacements + stats.cleared;
        assert_eq!(stats.inserts, stats.entries + left);
        assert!(stats.evictions > 0 && stats.expirations > 0 && stats.unwanted > 0);
        gone += left;
        held += stats.weight;
    }
    assert_eq!(held, budget.used());
    assert_eq!(gone, told.load(Ordering::Relaxed), "each departure is told of once");
    // One by one, so that expired entries, which a walk leaves out, are gone before the sum.
    for cache in &caches {
        (0..200_u64).for_each(|key| drop(cache.get(&key.to_le_bytes())));
        assert_eq!(cache.iter().map(|hit| hit.weight()).sum::<u64>(), cache.weight());
        assert_eq!(
            cache.iter().filter(Hit::meta).map(|hit| hit.weight()).sum::<u64>(),
            cache.stats().minor_weight
        );
    }
    drop(caches);
    assert_eq!(budget.used(), 0);
}

#[test]
fn no_bound_is_passed_at_any_instant_and_no_unit_is_lost() {
    run(1);
}

#[test]
fn nor_when_caches_share_a_budget_and_evict_from_each_other() {
    run(3);
}
