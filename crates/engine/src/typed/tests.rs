//! Each value is dropped exactly once, however it goes; and the typed face does what the other does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;

use proptest::prelude::*;

use super::*;

/// Which of the values it made were dropped, and how often.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<u32>>>);

impl Ledger {
    fn value(&self) -> Value {
        let mut drops = self.0.lock().unwrap();
        drops.push(0);
        let id = drops.len() - 1;
        Value { id, text: format!("value {id}"), ledger: self.clone() }
    }

    fn live(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|&&drops| drops == 0).count()
    }

    fn made(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    fn assert_all_dropped_once(&self) {
        assert!(self.0.lock().unwrap().iter().all(|&drops| drops == 1));
    }
}

/// A value with memory of its own, which AddressSanitizer watches.
struct Value {
    id: usize,
    text: String,
    ledger: Ledger,
}

impl Value {
    fn is_whole(&self) -> bool {
        self.text == format!("value {}", self.id)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        assert!(self.is_whole());
        self.ledger.0.lock().unwrap()[self.id] += 1;
    }
}

fn of_entries<V: Send + Sync + 'static>(entries: u64) -> TypedBuilder<V> {
    Typed::builder().entries(entries).shards(1).seed(7)
}

fn used<V: Send + Sync + 'static>(cache: &Typed<V>) -> u64 {
    cache.cache.shared.arena.resident().1
}

#[test]
fn a_value_lives_in_its_entry_and_goes_with_the_last_handle() {
    let ledger = Ledger::default();
    let cache = of_entries(10).build();
    let stored = cache.insert("key", ledger.value()).unwrap();
    let (got, peeked) = (cache.get("key").unwrap(), cache.peek("key").unwrap());
    assert!(Held::ptr_eq(&stored, &got) && Held::ptr_eq(&got, &peeked));
    assert_eq!((Held::key(&got), got.id, Held::weight(&got), Held::expires(&got)), (&b"key"[..], 0, 1, None));
    assert!(cache.contains("key") && !cache.contains("other") && cache.get("other").is_none());
    assert_eq!((cache.stats().hits, cache.stats().misses), (1, 1));
    drop((stored, peeked));
    drop(cache);
    assert_eq!(ledger.live(), 1, "held, and the cache is gone");
    assert!(got.clone().is_whole());
    drop(got);
    ledger.assert_all_dropped_once();
}

#[test]
fn every_way_out_drops_a_value_once_and_tells_the_listener_of_it() {
    let (ledger, told) = (Ledger::default(), Arc::new(Mutex::new(Vec::new())));
    let (clock, log) = (Clock::manual(), Arc::clone(&told));
    let listener = move |key: &[u8], value: &Value, cause| {
        assert!(value.is_whole());
        log.lock().unwrap().push((key.to_vec(), value.id, cause));
    };
    let cache = of_entries(8).policy(Policy::Lru).clock(clock.clone()).listener(listener).build();
    let expect = |live: usize, expected: &[(&str, usize, Cause)]| {
        let expected: Vec<_> =
            expected.iter().map(|&(key, id, cause)| (key.as_bytes().to_vec(), id, cause)).collect();
        assert_eq!(std::mem::take(&mut *told.lock().unwrap()), expected);
        assert_eq!(ledger.live(), live);
    };
    cache.insert("a", ledger.value()).unwrap();
    cache.insert("a", ledger.value()).unwrap();
    expect(1, &[("a", 0, Cause::Replaced)]);
    assert_eq!(cache.remove("a").unwrap().id, 1);
    assert!(cache.remove("a").is_none());
    expect(0, &[("a", 1, Cause::Removed)]);
    cache.insert_with_ttl("b", ledger.value(), Duration::from_secs(1)).unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(cache.get("b").is_none());
    expect(0, &[("b", 2, Cause::Expired)]);
    for key in 0..9_u8 {
        cache.insert([key], ledger.value()).unwrap();
    }
    expect(8, &[("\0", 3, Cause::Evicted)]);
    cache.clear();
    assert_eq!((ledger.live(), told.lock().unwrap().len(), cache.len()), (0, 8, 0));
    assert!(told.lock().unwrap().drain(..).all(|(.., cause)| cause == Cause::Cleared));
    cache.insert("last", ledger.value()).unwrap();
    drop(cache);
    expect(0, &[]);
    ledger.assert_all_dropped_once();
}

#[test]
fn a_refused_value_is_dropped_once_before_and_after_there_is_a_block() {
    let ledger = Ledger::default();
    let cache = of_entries(80).weigher(|key, _| u64::from(key[0])).build();
    assert!(matches!(cache.insert([11], ledger.value()), Err(Refused::Oversize { weight: 11, limit: 10 })));
    assert!(matches!(cache.insert(vec![1; 1 << 16], ledger.value()), Err(Refused::Oversize { .. })));
    assert_eq!((ledger.live(), cache.stats().refused), (0, 2));

    // What others have reserved of a budget leaves no room.
    let budget = Arc::new(Budget::new(8));
    let _all = budget.reserve(8).unwrap();
    let cache = Typed::builder().budget(budget).weigher(|_, _: &Value| 1).build();
    assert!(matches!(cache.insert("key", ledger.value()), Err(Refused::NoRoom)));
    assert_eq!((used(&cache), cache.len()), (0, 0));
    let loaded = cache.get_with("key", || Ok::<_, Infallible>(ledger.value())).unwrap();
    assert_eq!((loaded.id, ledger.live()), (3, 1), "handed out all the same");
    drop(loaded);
    ledger.assert_all_dropped_once();
    assert_eq!(used(&cache), 0);
    assert!(of_entries(0).build().insert("key", ledger.value()).is_err());
    ledger.assert_all_dropped_once();
}

#[test]
fn a_panic_of_the_weigher_of_a_load_or_of_the_listener_loses_no_value() {
    let ledger = Ledger::default();
    let weigher = |key: &[u8], _: &Value| if key == b"heavy" { panic!("weigher") } else { 1 };
    let listener = |_: &[u8], _: &Value, _| panic!("listener");
    let cache = of_entries(2).weigher(weigher).listener(listener).build();
    let caught = |call: &dyn Fn()| catch_unwind(AssertUnwindSafe(call)).is_err();
    assert!(caught(&|| drop(cache.insert("heavy", ledger.value()))));
    assert!(caught(&|| drop(cache.get_with("heavy", || Ok::<_, Infallible>(ledger.value())))));
    assert!(caught(&|| {
        let _ = cache.get_with("load", || -> Result<Value, Infallible> {
            let _half_done = ledger.value();
            panic!("load")
        });
    }));
    assert_eq!((ledger.live(), cache.len(), used(&cache)), (0, 0, 0));
    assert!(caught(&|| (0..3_u8).for_each(|key| drop(cache.insert([key], ledger.value())))));
    assert_eq!((cache.len(), ledger.live()), (2, 2));
    assert!(caught(&|| cache.clear()));
    ledger.assert_all_dropped_once();
}

/// Panics when it is dropped, while the other thing it holds is dropped all the same.
struct Grenade(#[expect(dead_code, reason = "for its drop")] Value);

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

#[test]
fn a_value_that_panics_when_it_is_dropped_takes_no_other_with_it_and_leaves_no_memory_behind() {
    let ledger = Ledger::default();
    let told = Arc::new(AtomicUsize::new(0));
    for listens in [false, true] {
        let mut builder = Typed::builder().entries(64).shards(8);
        if listens {
            let told = Arc::clone(&told);
            builder = builder.listener(move |_, _, _| _ = told.fetch_add(1, Ordering::SeqCst));
        }
        let cache = builder.build();
        let insert =
            |key: u8| catch_unwind(AssertUnwindSafe(|| drop(cache.insert([key], Grenade(ledger.value())))));
        // A panic in a panic ends the process: so no more than one value leaves by each call.
        let panicked = (0..100).filter(|&key| insert(key).is_err()).count();
        assert_eq!(panicked as u64, cache.stats().evictions);
        let live = ledger.live() as u64;
        assert_eq!((cache.stats().entries, used(&cache) % live), (live, 0));
        let keys: Vec<Vec<u8>> = cache.iter().map(|held| Held::key(&held).to_vec()).collect();
        for key in keys.iter().skip(8) {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(cache.remove(key)))).is_err());
        }
        assert_eq!((cache.len(), ledger.live()), (8, 8));
        assert_eq!(told.load(Ordering::SeqCst), if listens { 92 } else { 0 });
        for key in keys.iter().take(8) {
            assert!(catch_unwind(AssertUnwindSafe(|| drop(cache.remove(key)))).is_err());
        }
        assert_eq!(used(&cache), 0);
        drop(cache);
        ledger.assert_all_dropped_once();
    }
}

#[test]
fn a_cache_that_is_dropped_drops_the_values_of_all_shards_though_one_panics() {
    /// Only those with an id of 0 panic.
    struct Maybe(Value);
    impl Drop for Maybe {
        fn drop(&mut self) {
            assert!(self.0.id != 0, "dropped");
        }
    }
    let ledger = Ledger::default();
    let cache = Typed::builder().entries(1000).shards(8).build();
    (0..100_u8).for_each(|key| drop(cache.insert([key], Maybe(ledger.value()))));
    let held = cache.get([99]).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(cache))).is_err());
    assert_eq!((ledger.live(), held.0.is_whole()), (1, true));
    drop(held);
    ledger.assert_all_dropped_once();
}

static ZERO_SIZED: AtomicUsize = AtomicUsize::new(0);

struct ZeroSized;

impl Drop for ZeroSized {
    fn drop(&mut self) {
        ZERO_SIZED.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn values_without_a_size_are_dropped_as_often_as_they_were_made() {
    let cache = Typed::builder().capacity(10_000).build();
    for key in 0..1000_u32 {
        ZERO_SIZED.fetch_add(1, Ordering::SeqCst);
        drop(cache.insert(key.to_le_bytes(), ZeroSized));
    }
    assert_eq!(ZERO_SIZED.load(Ordering::SeqCst), cache.len());
    assert!((50..1000).contains(&cache.len()));
    drop(cache);
    assert_eq!(ZERO_SIZED.load(Ordering::SeqCst), 0);
}

/// A body of `N` bytes, wide in its alignment, with something to drop at its end.
#[repr(C, align(16))]
struct Large<const N: usize> {
    body: [u8; N],
    value: Value,
}

fn hold_large<const N: usize>(ledger: &Ledger) {
    let cache: Typed<Large<N>> = Typed::builder().capacity(1 << 20).shards(1).build();
    for round in 0..3 {
        for key in 0..64_usize {
            let value = Large { body: [key as u8; N], value: ledger.value() };
            cache.insert(vec![7; key], value).unwrap();
            let held = cache.get(vec![7; key]).unwrap();
            assert_eq!(std::ptr::from_ref(&*held).addr() % 16, 0, "{N} bytes, a key of {key}, round {round}");
            assert!(held.body == [key as u8; N] && held.value.is_whole());
        }
    }
    let charged: u64 = cache.iter().map(|held| Held::weight(&held)).sum();
    assert_eq!((charged, cache.len()), (cache.weight(), ledger.live()));
    drop(cache);
    ledger.assert_all_dropped_once();
}

#[test]
fn values_of_any_size_lie_aligned_in_a_block_or_in_pages_of_their_own() {
    let ledger = Ledger::default();
    hold_large::<0>(&ledger);
    hold_large::<1>(&ledger);
    hold_large::<100>(&ledger);
    hold_large::<5000>(&ledger);
    hold_large::<16_250>(&ledger);
    hold_large::<20_000>(&ledger);
    hold_large::<100_000>(&ledger);
}

#[test]
fn an_entry_is_charged_the_block_that_it_takes() {
    fn check<V: Send + Sync + 'static>(value: impl Fn() -> V) {
        for key_len in 0..80 {
            let cache = Typed::builder().capacity(1 << 20).build();
            let held = cache.insert(vec![1; key_len], value()).unwrap();
            let beside = Typed::<()>::entry_bytes(0) - 32;
            assert_eq!(Held::weight(&held), used(&cache) + beside, "{} and {key_len}", size_of::<V>());
            assert_eq!(cache.weight(), Typed::<V>::entry_bytes(key_len));
        }
    }
    check(|| ());
    check(|| 7_u8);
    check(|| 7_u128);
    check(|| [7_u64; 5]);
    check(String::new);
    check(|| [7_u8; 3000]);
}

#[test]
fn the_last_of_weigher_and_entries_says_how_entries_are_weighed_and_a_load_may_say_otherwise() {
    let cache = Typed::builder().weigher(|_, _: &u8| 5).entries(8).build();
    cache.insert("key", 1).unwrap();
    assert_eq!((cache.weight(), cache.capacity()), (1, 8));
    let cache = Typed::builder().entries(80).weigher(|_, value: &u8| u64::from(*value)).build();
    cache.insert("five", 5).unwrap();
    cache.insert("none", 0).unwrap();
    cache.get_with("load", || Ok::<_, Infallible>(Load::new(3).weight(Weight::Units(7)))).unwrap();
    cache.get_with("plain", || Ok::<_, Infallible>(4)).unwrap();
    assert_eq!(cache.weight(), 5 + 1 + 7 + 4);
    assert_eq!(cache.clone().iter().map(|held| u32::from(*held)).sum::<u32>(), 5 + 3 + 4);
    assert_eq!(cache.get_many(&["five", "six"]).into_iter().flatten().map(|held| *held).sum::<u8>(), 5);
    assert_eq!(format!("{:?} {}", cache.get("five").unwrap(), cache.get("five").unwrap()), "5 5");
}

#[test]
fn a_value_may_use_its_own_cache_when_it_is_dropped() {
    struct Calls(Arc<OnceLock<Typed<Self>>>, Value);
    impl Drop for Calls {
        fn drop(&mut self) {
            let Some(cache) = self.0.get() else { return };
            let _ = (cache.get("key"), cache.len(), cache.weight(), cache.remove([self.1.id as u8, 1]));
        }
    }
    let (ledger, shared) = (Ledger::default(), Arc::new(OnceLock::new()));
    let cache = shared.get_or_init(|| of_entries(50).build());
    let value = || Calls(Arc::clone(&shared), ledger.value());
    for key in 0..200_u8 {
        cache.insert([key, key % 3], value()).unwrap();
        drop(cache.insert(vec![0; 1 << 16], value()));
        drop(cache.remove([key / 2, 0]));
    }
    cache.clear();
    assert!(cache.is_empty());
    ledger.assert_all_dropped_once();
}

#[test]
fn values_move_to_fuller_chunks_and_are_not_dropped_by_it() {
    let ledger = Ledger::default();
    let cache = Typed::builder().entries(200_000).shards(1).build();
    let key = |n: u32| n.to_le_bytes();
    (0..200_000).for_each(|n| drop(cache.insert(key(n), ledger.value()).unwrap()));
    let kept = cache.get(key(640)).unwrap();
    let full = cache.cache.shared.arena.resident();
    for n in (0..200_000).filter(|n| n % 64 != 0) {
        cache.remove(key(n)).unwrap();
    }
    let compact = || cache.cache.shared.compact(50);
    compact();
    assert!(kept.is_whole() && Held::ptr_eq(&kept, &cache.get(key(640)).unwrap()), "what is held stays");
    drop(kept);
    compact();
    let after = cache.cache.shared.arena.resident();
    assert!(after.0 < full.0 / 16 && after.1 == full.1 / 64, "{full:?} {after:?}");
    assert_eq!(ledger.live(), cache.len());
    assert!((0..200_000).step_by(64).all(|n| cache.peek(key(n)).unwrap().is_whole()));
    drop(cache);
    ledger.assert_all_dropped_once();
}

#[test]
fn one_loads_and_all_share_its_value_threads_and_tasks_alike() {
    let ledger = Ledger::default();
    let cache = of_entries(10).build();
    let (start, loads) = (Barrier::new(8), AtomicUsize::new(0));
    let load = || {
        loads.fetch_add(1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        Ok::<_, Infallible>(ledger.value())
    };
    let all: Vec<Held<Value>> = thread::scope(|scope| {
        let call = || {
            start.wait();
            cache.get_with("key", load).unwrap()
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(all.iter().all(|held| Held::ptr_eq(held, &all[0])));
    assert_eq!((loads.load(Ordering::SeqCst), ledger.made()), (1, 1));

    drop((all, cache));
    ledger.assert_all_dropped_once();
}

/// Done once it was polled three times; wakes at once.
async fn slowly<T>(value: T) -> Result<T, Infallible> {
    let mut polled = 0;
    std::future::poll_fn(move |context| {
        context.waker().wake_by_ref();
        polled += 1;
        if polled == 3 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    Ok(value)
}

#[test]
fn tasks_share_a_load_that_outlives_its_first_caller_and_goes_with_its_last() {
    let ledger = Ledger::default();
    let cache = of_entries(10).build();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = Box::pin(cache.get_with_async("key", slowly(ledger.value())));
    assert!(first.as_mut().poll(&mut context).is_pending());
    let mut second = pin!(cache.get_with_async("key", slowly(ledger.value())));
    assert!(second.as_mut().poll(&mut context).is_pending());
    drop(first);
    let Poll::Ready(Ok(shared)) = second.as_mut().poll(&mut context) else { panic!("it is done") };
    assert_eq!((shared.id, cache.get("key").unwrap().id), (0, 0));
    assert_eq!((ledger.made(), ledger.live()), (2, 1), "the second's own load was never begun");

    let mut alone = Box::pin(cache.get_with_async("left", slowly(Load::new(ledger.value()))));
    assert!(alone.as_mut().poll(&mut context).is_pending());
    drop(alone);
    assert!(!cache.contains("left"));
    let thread = cache.get_with("left", || Ok::<_, Infallible>(ledger.value())).unwrap();
    assert_eq!((thread.id, ledger.live()), (3, 2));
    let zero = Load::new(ledger.value()).ttl(Duration::ZERO);
    let mut zero = pin!(cache.get_with_async("zero", async { Ok::<_, Infallible>(zero) }));
    assert!(matches!(zero.as_mut().poll(&mut context), Poll::Ready(Ok(held)) if held.is_whole()));
    assert!(!cache.contains("zero"));
    drop((shared, thread));
    assert_eq!(ledger.live(), cache.len());
}

#[test]
fn a_failed_load_keeps_nothing_and_a_removed_key_is_not_kept() {
    let ledger = Ledger::default();
    let cache = of_entries(10).build();
    let failed = cache.get_with("key", || Err::<Value, _>("down"));
    assert!(matches!(failed, Err(LoadError::Load(error)) if *error == "down"));
    let loaded = cache.get_with("key", || {
        cache.remove("key");
        Ok::<_, &str>(ledger.value())
    });
    assert!(loaded.unwrap().is_whole() && !cache.contains("key"));
    let loaded = cache.get_with("key", || {
        cache.insert("key", ledger.value()).unwrap();
        Ok::<_, &str>(ledger.value())
    });
    assert_eq!((loaded.unwrap().id, cache.get("key").unwrap().id), (2, 1), "what was stored then stays");
    let zero = cache.get_with("zero", || Ok::<_, &str>(Load::new(ledger.value()).ttl(Duration::ZERO)));
    assert!(zero.unwrap().is_whole() && !cache.contains("zero"));
    let own = cache.get_with("own", || {
        let inner = cache.get_with("own", || Ok::<_, &str>(ledger.value()));
        assert!(matches!(inner, Err(LoadError::OwnKey)));
        Err::<Value, _>("own")
    });
    assert!(own.is_err());
    drop(cache);
    ledger.assert_all_dropped_once();
}

#[test]
fn threads_that_store_read_remove_and_hold_drop_each_value_once() {
    let ledger = Ledger::default();
    let cache = Typed::builder().entries(300).shards(4).build();
    thread::scope(|scope| {
        for seed in 1..5_u64 {
            let (cache, ledger) = (&cache, &ledger);
            scope.spawn(move || {
                let (mut state, mut held) = (seed, Vec::new());
                for _ in 0..20_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let key = ((state >> 33) % 900).to_le_bytes();
                    match state >> 60 {
                        0..=3 => drop(cache.insert(key, ledger.value()).unwrap()),
                        4 => drop(cache.remove(key)),
                        5 if state >> 50 & 0xFF == 0 => cache.clear(),
                        6 => held.extend(cache.get_with(key, || Ok::<_, Infallible>(ledger.value())).ok()),
                        _ => held.extend(cache.get(key)),
                    }
                    assert!(held.iter().rev().take(3).all(|held: &Held<Value>| held.is_whole()));
                    held.truncate(50 - (state >> 40 & 31) as usize);
                }
            });
        }
    });
    assert_eq!(ledger.live(), cache.len());
    drop(cache);
    ledger.assert_all_dropped_once();
}

thread_local!(static HELD: RefCell<Option<Held<Value>>> = const { RefCell::new(None) });

#[test]
fn a_handle_that_outlives_everything_is_dropped_with_its_thread() {
    let ledger = Ledger::default();
    let cache = of_entries(10).build();
    let held = cache.insert("key", ledger.value()).unwrap();
    let (gone, wait) = std::sync::mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        HELD.set(Some(held));
        wait.recv().unwrap();
    });
    drop(cache);
    assert_eq!(ledger.live(), 1);
    gone.send(()).unwrap();
    thread.join().unwrap();
    ledger.assert_all_dropped_once();
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, Option<u64>),
    Get(u8),
    Load(u8),
    Remove(u8),
    Hold(u8),
    LetGo,
    Advance(u64),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    let ttl = prop_oneof![3 => Just(None), 1 => (1..50_u64).prop_map(Some)];
    prop_oneof![
        6 => (0..40_u8, ttl).prop_map(|(key, ttl)| Op::Insert(key, ttl)),
        6 => (0..40_u8).prop_map(Op::Get),
        2 => (0..40_u8).prop_map(Op::Load),
        2 => (0..40_u8).prop_map(Op::Remove),
        2 => (0..40_u8).prop_map(Op::Hold),
        1 => Just(Op::LetGo),
        1 => (1..40_u64).prop_map(Op::Advance),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    /// A key's value, if there is one, is the last that was stored; and what is live is what is held or in the cache.
    #[test]
    fn no_order_of_operations_loses_a_value(ops in prop::collection::vec(op(), 1..200), lru: bool) {
        let (ledger, clock) = (Ledger::default(), Clock::manual());
        let policy = if lru { Policy::Lru } else { Policy::Default };
        let cache = of_entries(16).clock(clock.clone()).policy(policy).build();
        let (mut last, mut held) = (HashMap::new(), Vec::new());
        for op in ops {
            match op {
                Op::Insert(key, ttl) => {
                    let value = ledger.value();
                    last.insert(key, value.id);
                    match ttl {
                        Some(ttl) => cache.insert_with_ttl([key], value, Duration::from_millis(ttl)).unwrap(),
                        None => cache.insert([key], value).unwrap(),
                    };
                }
                Op::Get(key) => {
                    let got = cache.get([key]);
                    prop_assert!(got.is_none_or(|got| got.is_whole() && last.get(&key) == Some(&got.id)));
                }
                Op::Load(key) => {
                    let got = cache.get_with([key], || Ok::<_, Infallible>(ledger.value())).unwrap();
                    last.insert(key, got.id);
                }
                Op::Remove(key) => drop(cache.remove([key])),
                Op::Hold(key) => held.extend(cache.get([key])),
                Op::LetGo => held.clear(),
                Op::Advance(millis) => clock.advance(Duration::from_millis(millis)),
                Op::Clear => cache.clear(),
            }
            prop_assert!(cache.len() <= 16 && ledger.live() <= cache.len() + held.len());
            prop_assert!(held.iter().all(|held: &Held<Value>| held.is_whole()));
        }
        held.clear();
        prop_assert_eq!(ledger.live(), cache.len());
        drop(cache);
        ledger.assert_all_dropped_once();
    }
}
