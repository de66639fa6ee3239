//! Loads, look-ups and removes of one key under shuttle, over the product's own cache.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use ::shuttle::future::block_on;
use ::shuttle::{check_pct, check_random, thread};

use super::*;
use crate::clock::Clock;
use crate::sync::AtomicU64;

fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(test, 2_000);
    check_pct(test, 1_000, 3);
}

fn cache() -> Cache<()> {
    Cache::builder().capacity(1 << 20).clock(Clock::manual()).seed(1).shards(1).build()
}

fn number(hit: &Hit<()>) -> u64 {
    u64::from_le_bytes(hit[..].try_into().unwrap())
}

type Read = Result<Load<[u8; 8]>, ()>;

#[test]
fn looks_and_landings_in_any_order_cost_one_load() {
    check(|| {
        let (cache, loads) = (cache(), Arc::new(AtomicUsize::new(0)));
        let gets = [true, false, true].map(|blocks| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            thread::spawn(move || {
                let load = move || -> Read {
                    loads.fetch_add(1, Ordering::SeqCst);
                    Ok(Load::new(7_u64.to_le_bytes()))
                };
                let hit = if blocks {
                    cache.get_with(b"Tom", load)
                } else {
                    block_on(cache.get_with_async(b"Tom", async move { load() }))
                };
                number(&hit.unwrap())
            })
        });
        assert_eq!(gets.map(|get| get.join().unwrap()), [7; 3]);
        assert_eq!(loads.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn what_was_read_before_a_remove_is_never_in_memory_after_it() {
    check(|| {
        let (cache, origin) = (cache(), Arc::new(AtomicU64::new(1)));
        let read =
            |origin: &AtomicU64| -> Read { Ok(Load::new(origin.load(Ordering::SeqCst).to_le_bytes())) };
        let getting = [true, false].map(|blocks| {
            let (cache, origin) = (cache.clone(), Arc::clone(&origin));
            thread::spawn(move || {
                if blocks {
                    drop(cache.get_with(b"Tom", || read(&origin)));
                } else {
                    drop(block_on(cache.get_with_async(b"Tom", async move { read(&origin) })));
                }
            })
        });
        origin.store(2, Ordering::SeqCst);
        cache.remove(b"Tom");
        let after = cache.get_with(b"Tom", || read(&origin)).unwrap();
        assert_eq!(number(&after), 2, "a get that began after the remove got the old value");
        for get in getting {
            get.join().unwrap();
        }
        let left = cache.peek(b"Tom").as_ref().map(number);
        assert!(matches!(left, None | Some(2)), "the late load put the old value back");
    });
}

#[test]
fn a_load_never_replaces_what_was_inserted_while_it_ran() {
    check(|| {
        let cache = cache();
        let getting = {
            let cache = cache.clone();
            thread::spawn(move || {
                let load = || -> Read { Ok(Load::new(1_u64.to_le_bytes())) };
                drop(cache.get_with(b"Tom", load));
            })
        };
        cache.insert_if(b"Tom", &2_u64.to_le_bytes(), (), Weight::Real, None, || true).unwrap();
        getting.join().unwrap();
        assert_eq!(cache.peek(b"Tom").as_ref().map(number), Some(2));
    });
}

#[test]
fn a_load_that_panics_frees_its_key_whoever_comes_meanwhile() {
    check(|| {
        let cache = cache();
        let panics = {
            let cache = cache.clone();
            thread::spawn(move || {
                let load = || -> Read { std::panic::resume_unwind(Box::new("the load's panic")) };
                let end = catch_unwind(AssertUnwindSafe(|| cache.get_with(b"Tom", load)));
                assert!(!matches!(end, Ok(Err(_))));
            })
        };
        let read = || -> Read { Ok(Load::new(7_u64.to_le_bytes())) };
        match cache.get_with(b"Tom", read) {
            Ok(hit) => assert_eq!(number(&hit), 7),
            Err(error) => assert!(matches!(error, LoadError::Panicked)),
        }
        // Who was told may call again at once: he must not find the old flight.
        assert_eq!(number(&cache.get_with(b"Tom", read).unwrap()), 7);
        panics.join().unwrap();
    });
}
