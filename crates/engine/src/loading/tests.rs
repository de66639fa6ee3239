//! The flight contract, by threads and by futures; an executor of ten lines, since the engine has none.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::*;
use crate::clock::Clock;

fn cache() -> Cache<()> {
    Cache::builder().capacity(1 << 20).build()
}

fn value(value: &str) -> Result<Load<&str>, Infallible> {
    Ok(Load::new(value))
}

struct Thread(thread::Thread);

impl Wake for Thread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Thread(thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Not done at the first poll, and wakes at once.
async fn yielding() {
    let mut polled = false;
    poll_fn(|context| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What another end opens: a load's way to wait for its test.
fn gate() -> (mpsc::Sender<()>, impl Future<Output = ()> + Send + 'static) {
    let (open, opened) = mpsc::channel();
    let gate = poll_fn(move |context| match opened.try_recv() {
        Ok(()) => Poll::Ready(()),
        Err(_) => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    (open, gate)
}

fn wait_until(reached: impl Fn() -> bool) {
    while !reached() {
        thread::yield_now();
    }
}

/// How a thread's call ended; the outer error is a panic.
type End<E> = thread::Result<Result<Hit<()>, LoadError<E>>>;

/// Has `n` threads ask for one key. The load waits for all of them to join it before it goes on to `end`.
fn herd<E: Send + Sync + 'static>(
    cache: &Cache<()>,
    n: usize,
    end: impl Fn() -> Result<Load<&'static str>, E> + Sync,
) -> (Vec<End<E>>, usize) {
    let (loads, start) = (AtomicUsize::new(0), Barrier::new(n));
    let load = || {
        loads.fetch_add(1, Ordering::SeqCst);
        // Each holds the flight once, and so does the table.
        let joined = || cache.shared.flights().holders(cache.shared.keys.hash(b"Tom"), b"Tom") > n;
        // A second load is a breach already, and not to be waited in.
        wait_until(|| joined() || loads.load(Ordering::SeqCst) > 1);
        end()
    };
    let results = thread::scope(|scope| {
        let call = || {
            start.wait();
            catch_unwind(AssertUnwindSafe(|| cache.get_with(b"Tom", load)))
        };
        let threads: Vec<_> = (0..n).map(|_| scope.spawn(call)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    (results, loads.into_inner())
}

#[test]
fn threads_that_miss_at_once_load_once_and_share_one_block() {
    let cache = cache();
    let (hits, loads) = herd(&cache, 4, || value("630"));
    let hits: Vec<_> = hits.into_iter().map(|hit| hit.unwrap().unwrap()).collect();
    assert_eq!(loads, 1);
    let kept = cache.get(b"Tom").unwrap();
    assert!(hits.iter().all(|hit| &**hit == b"630" && hit.as_ptr() == kept.as_ptr()));
}

#[test]
fn a_failure_is_one_for_all_and_is_not_kept() {
    let cache = cache();
    let (errors, loads) = herd(&cache, 4, || Err("no origin"));
    let errors: Vec<_> = errors.into_iter().map(|error| error.unwrap().unwrap_err()).collect();
    assert_eq!(loads, 1);
    let all: Vec<_> = errors
        .iter()
        .map(|error| match error {
            LoadError::Load(source) => Arc::as_ptr(source),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(all.iter().all(|source| *source == all[0]));
    assert_eq!(&*cache.get_with(b"Tom", || value("630")).unwrap(), b"630");
}

#[test]
fn a_panic_reaches_him_who_loads_the_others_are_told_and_the_key_is_free() {
    let cache = cache();
    let (ends, loads) = herd(&cache, 4, || -> Result<_, Infallible> {
        std::panic::resume_unwind(Box::new("the load's panic"))
    });
    assert_eq!(loads, 1);
    assert_eq!(ends.iter().filter(|end| end.is_err()).count(), 1);
    assert!(ends.iter().flatten().all(|end| matches!(end, Err(LoadError::Panicked))));
    assert_eq!(&*cache.get_with(b"Tom", || value("630")).unwrap(), b"630");
}

#[test]
fn futures_that_miss_at_once_load_once() {
    let cache = cache();
    let loads = Arc::new(AtomicUsize::new(0));
    let get = || {
        let loads = Arc::clone(&loads);
        cache.get_with_async(b"Tom", async move {
            loads.fetch_add(1, Ordering::SeqCst);
            yielding().await;
            value("630")
        })
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(&*block_on(get()).unwrap(), b"630"));
        }
    });
    assert_eq!(loads.load(Ordering::SeqCst), 1);
}

#[test]
fn a_leader_that_is_dropped_leaves_his_load_to_the_others() {
    let cache = cache();
    let (open, gate) = gate();
    let mut leader = Box::pin(cache.get_with_async(b"Tom", async {
        gate.await;
        value("of the first")
    }));
    assert!(poll_once(leader.as_mut()).is_pending());
    let mut waiter = pin!(cache.get_with_async(b"Tom", async { value("of the second") }));
    assert!(poll_once(waiter.as_mut()).is_pending());
    drop(leader);
    open.send(()).unwrap();
    assert_eq!(&*block_on(waiter).unwrap(), b"of the first");
    assert_eq!(&*cache.get(b"Tom").unwrap(), b"of the first");
}

#[test]
fn a_leader_that_is_kept_and_no_more_polled_holds_up_nobody() {
    let cache = cache();
    let mut forgotten = pin!(cache.get_with_async(b"Tom", async {
        yielding().await;
        yielding().await;
        value("of the first")
    }));
    assert!(poll_once(forgotten.as_mut()).is_pending());
    let second = block_on(cache.get_with_async(b"Tom", async { value("of the second") }));
    assert_eq!(&*second.unwrap(), b"of the first");
    assert_eq!(&*block_on(forgotten).unwrap(), b"of the first");
}

#[test]
fn with_the_last_caller_the_load_goes_and_the_key_is_free() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let (cache, gone) = (cache(), Arc::new(AtomicUsize::new(0)));
    let never = Gone(Arc::clone(&gone));
    let mut leader = Box::pin(cache.get_with_async(b"Tom", async move {
        let _never = never;
        pending::<()>().await;
        value("never")
    }));
    assert!(poll_once(leader.as_mut()).is_pending());
    drop(leader);
    assert_eq!(gone.load(Ordering::SeqCst), 1);
    assert_eq!(Arc::strong_count(&cache.shared), 1, "the load held the cache");
    assert_eq!(&*cache.get_with(b"Tom", || value("630")).unwrap(), b"630");
}

#[test]
fn a_thread_begins_anew_when_the_tasks_it_waited_for_have_left() {
    let cache = cache();
    let mut leader = Box::pin(cache.get_with_async(b"Tom", async {
        pending::<()>().await;
        value("never")
    }));
    assert!(poll_once(leader.as_mut()).is_pending());
    thread::scope(|scope| {
        let waiting = scope.spawn(|| cache.get_with(b"Tom", || value("630")));
        // The table, the leader, his load, and the thread.
        wait_until(|| cache.shared.flights().holders(cache.shared.keys.hash(b"Tom"), b"Tom") >= 4);
        drop(leader);
        assert_eq!(&*waiting.join().unwrap().unwrap(), b"630");
    });
}

#[test]
fn a_future_that_panics_is_told_to_all_and_tears_nobody_down() {
    let cache = cache();
    let panicking = || {
        cache.get_with_async(b"Tom", async {
            yielding().await;
            std::panic::resume_unwind(Box::new("the load's panic"));
            #[allow(unreachable_code, reason = "it names the type")]
            value("never")
        })
    };
    let (mut leader, mut waiter) = (pin!(panicking()), pin!(panicking()));
    assert!(poll_once(leader.as_mut()).is_pending());
    assert!(matches!(poll_once(waiter.as_mut()), Poll::Ready(Err(LoadError::Panicked))));
    assert!(matches!(poll_once(leader.as_mut()), Poll::Ready(Err(LoadError::Panicked))));
    assert_eq!(&*cache.get_with(b"Tom", || value("630")).unwrap(), b"630");
}

#[test]
fn a_load_that_asks_for_its_own_key_is_told_so() {
    let cache = cache();
    let own = cache.get_with(b"Tom", || match cache.get_with(b"Tom", || value("630")) {
        Err(LoadError::OwnKey) => value("alone"),
        other => panic!("{other:?}"),
    });
    assert_eq!(&*own.unwrap(), b"alone");

    let inner = cache.clone();
    let own = block_on(cache.get_with_async(b"Jerry", async move {
        yielding().await;
        match inner.get_with_async(b"Jerry", async { value("630") }).await {
            Err(LoadError::OwnKey) => value("alone"),
            other => panic!("{other:?}"),
        }
    }));
    assert_eq!(&*own.unwrap(), b"alone");
}

#[test]
fn who_waited_for_an_error_of_another_type_loads_for_himself() {
    let cache = cache();
    let mut leader = pin!(cache.get_with_async(b"Tom", async {
        yielding().await;
        Err::<Load<&str>, u32>(7)
    }));
    assert!(poll_once(leader.as_mut()).is_pending());
    let mut waiter = pin!(cache.get_with_async(b"Tom", async { Err::<Load<&str>, &str>("mine") }));
    assert!(matches!(poll_once(waiter.as_mut()), Poll::Ready(Err(LoadError::Load(e))) if *e == "mine"));
    assert!(matches!(poll_once(leader.as_mut()), Poll::Ready(Err(LoadError::Load(e))) if *e == 7));
}

#[test]
fn a_value_that_the_cache_refuses_is_handed_out() {
    let none = Cache::builder().capacity(0).build();
    let hit = none.get_with(b"Tom", || Ok::<_, Infallible>(Load::new("630").meta(7_u32))).unwrap();
    assert_eq!((&*hit, hit.meta(), hit.key(), hit.weight()), (&b"630"[..], 7, &b"Tom"[..], 0));
    assert!(none.is_empty());

    let (hits, loads) = herd(&Cache::builder().capacity(0).build(), 3, || value("630"));
    assert!(hits.into_iter().all(|hit| &*hit.unwrap().unwrap() == b"630"));
    assert_eq!(loads, 1);

    let cache = cache();
    let big =
        block_on(cache.get_with_async(b"Tom", async { Ok::<_, Infallible>(Load::new(vec![1; 2 << 20])) }));
    assert_eq!(big.unwrap().len(), 2 << 20);
    assert!(cache.is_empty());
}

#[test]
fn what_is_removed_cleared_or_replaced_while_it_loads_is_handed_out_and_not_kept() {
    let cache = cache();
    type Change<'a> = (&'a dyn Fn(), Option<&'a [u8]>);
    let changes: [Change<'_>; 4] = [
        (&|| assert!(cache.remove(b"Tom").is_none()), None),
        (&|| cache.clear(), None),
        (&|| drop(cache.insert_if(b"Tom", b"new", (), Weight::Real, None, || true)), Some(b"new")),
        // Neither another key's remove nor an insert that did not happen has a part in it.
        (
            &|| {
                cache.remove(b"Jerry");
                let unwanted = cache.insert_if(b"Tom", b"new", (), Weight::Real, None, || false);
                assert!(unwanted.is_err());
            },
            Some(b"loaded"),
        ),
    ];
    for (change, left) in changes {
        let loaded = cache.get_with(b"Tom", || {
            change();
            value("loaded")
        });
        assert_eq!(&*loaded.unwrap(), b"loaded");
        assert_eq!(cache.peek(b"Tom").as_deref(), left);
        cache.remove(b"Tom");
    }
}

#[test]
fn who_asks_after_a_remove_does_not_get_what_was_loaded_before_it() {
    let cache = cache();
    let mut before = pin!(cache.get_with_async(b"Tom", async {
        yielding().await;
        value("old")
    }));
    assert!(poll_once(before.as_mut()).is_pending());
    cache.remove(b"Tom");
    assert_eq!(&*cache.get_with(b"Tom", || value("new")).unwrap(), b"new");
    assert_eq!(&*block_on(before).unwrap(), b"old");
    assert_eq!(&*cache.get(b"Tom").unwrap(), b"new");
}

#[test]
fn a_ttl_counts_from_the_moment_of_storing_and_none_at_all_keeps_nothing() {
    let clock = Clock::manual();
    let cache = Cache::builder().capacity(1 << 20).clock(clock.clone()).build();
    let second = Duration::from_secs(1);
    let get = |ttl| {
        cache.get_with(b"Tom", || {
            clock.advance(second);
            Ok::<_, Infallible>(Load::new("630").meta(7_u8).weight(Weight::Units(5)).ttl(ttl))
        })
    };
    let hit = get(second).unwrap();
    assert_eq!((hit.expires(), hit.weight(), hit.meta()), (Some(clock.now() + second), 5, 7));
    assert!(cache.get(b"Tom").is_some());
    clock.advance(second);
    assert!(cache.get(b"Tom").is_none());
    assert_eq!(&*get(Duration::ZERO).unwrap(), b"630");
    assert!(cache.is_empty());
}

#[test]
fn a_cache_that_never_loads_has_no_table_of_loads() {
    let cache = cache();
    cache.insert_if(b"Tom", b"630", (), Weight::Real, None, || true).unwrap();
    cache.get_with(b"Tom", || -> Result<Load<&str>, Infallible> { panic!("it is there") }).unwrap();
    cache.remove(b"Tom");
    cache.clear();
    assert!(cache.shared.flights.get().is_none());
}

#[test]
fn errors_say_what_happened_and_lead_to_their_source() {
    let io = LoadError::Load(Arc::new(std::io::Error::other("no origin")));
    assert_eq!(io.to_string(), "the load failed");
    assert_eq!(std::error::Error::source(&io.clone()).unwrap().to_string(), "no origin");
    assert!(std::error::Error::source(&LoadError::<std::io::Error>::Panicked).is_none());
    let futures_are_send = |_: &dyn Send| ();
    futures_are_send(&cache().get_with_async(b"Tom", async { value("630") }));
}
