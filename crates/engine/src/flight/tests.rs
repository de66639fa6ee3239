//! The table of flights alone: who leads, who joins, and what is left behind.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

type Table = Flights<u32>;

fn lead<'a>(flights: &'a Table, hash: u64, key: &[u8]) -> Option<Takeoff<'a, u32>> {
    match flights.claim(hash, key, Caller::Task) {
        Claim::Lead(takeoff) => Some(takeoff),
        Claim::Join(_) => None,
    }
}

fn join(flights: &Table, caller: Caller) -> Option<Waiter<'_, u32>> {
    match flights.claim(7, b"Tom", caller) {
        Claim::Join(waiter) => Some(waiter),
        Claim::Lead(_) => None,
    }
}

fn poll(waiter: &mut Waiter<'_, u32>) -> Poll<Option<Result<u32, String>>> {
    let end = Pin::new(waiter).poll(&mut Context::from_waker(Waker::noop()));
    end.map(|end| end.map(|outcome| outcome.map_err(|failure| format!("{failure:?}"))))
}

fn is_empty(flights: &Table) -> bool {
    flights.shards.iter().all(|shard| shard.lock().is_empty())
}

/// A load that ends at its `n`-th poll, and wakes itself only if it is told to.
fn ends_at(n: usize, wakes: bool) -> (Errand<u32>, Arc<AtomicUsize>) {
    let polls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&polls);
    let errand = std::future::poll_fn(move |context| {
        if counted.fetch_add(1, Ordering::Relaxed) + 1 == n {
            return Poll::Ready(Ok(7));
        }
        if wakes {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    });
    (Box::pin(errand), polls)
}

#[test]
fn keys_of_one_hash_have_flights_of_their_own() {
    let flights = Table::default();
    let tom = lead(&flights, 7, b"Tom").unwrap();
    let jerry = lead(&flights, 7, b"Jerry").unwrap();
    assert!(lead(&flights, 7, b"Tom").is_none());
    let mut waiter = join(&flights, Caller::Thread).unwrap();
    jerry.land(Ok(2));
    assert_eq!(poll(&mut waiter), Poll::Ready(Some(Err("OwnLoad".into()))), "this very thread leads");
    tom.land(Ok(1));
    assert_eq!(poll(&mut waiter), Poll::Ready(Some(Ok(1))));
    assert!(is_empty(&flights));
}

#[test]
fn a_takeoff_that_is_dropped_frees_its_key_and_tells_who_waits() {
    let flights = Table::default();
    let takeoff = lead(&flights, 7, b"Tom").unwrap();
    let mut waiter = join(&flights, Caller::Task).unwrap();
    drop(takeoff);
    assert_eq!(poll(&mut waiter), Poll::Ready(Some(Err("Panicked".into()))));
    assert!(is_empty(&flights));
}

#[test]
fn a_load_is_polled_when_it_was_woken_and_not_by_each_who_comes() {
    let flights = Table::default();
    let (errand, polls) = ends_at(2, false);
    let mut leader = lead(&flights, 7, b"Tom").unwrap().entrust(errand);
    assert!(poll(&mut leader).is_pending());
    let mut others = [(); 5].map(|()| join(&flights, Caller::Task).unwrap());
    assert!(others.iter_mut().all(|other| poll(other).is_pending()));
    assert_eq!(polls.load(Ordering::Relaxed), 1);
    Waker::from(Arc::clone(&leader.flight)).wake();
    assert_eq!(poll(&mut others[3]), Poll::Ready(Some(Ok(7))));
    assert_eq!(poll(&mut leader), Poll::Ready(Some(Ok(7))));
    assert_eq!(polls.load(Ordering::Relaxed), 2);
}

#[test]
fn a_thread_that_waits_does_not_poll_and_is_told_when_the_last_task_leaves() {
    let flights = Table::default();
    let (errand, polls) = ends_at(9, true);
    let leader = lead(&flights, 7, b"Tom").unwrap().entrust(errand);
    let mut thread = join(&flights, Caller::Thread).unwrap();
    assert!(poll(&mut thread).is_pending());
    let other = join(&flights, Caller::Task).unwrap();
    drop(leader);
    assert!(poll(&mut thread).is_pending());
    drop(other);
    assert_eq!(poll(&mut thread), Poll::Ready(None));
    assert_eq!(polls.load(Ordering::Relaxed), 0);
    assert!(is_empty(&flights));
}

#[test]
fn a_detached_flight_is_joined_by_nobody_and_takes_no_newer_one_with_it() {
    let flights = Table::default();
    let old = lead(&flights, 7, b"Tom").unwrap();
    let keep = old.keep();
    flights.detach(7, b"Jerry");
    assert!(keep.holds());
    flights.detach(7, b"Tom");
    assert!(!keep.holds());
    let new = lead(&flights, 7, b"Tom").unwrap();
    old.land(Ok(1));
    let mut waiter = join(&flights, Caller::Task).expect("the newer flight is still up");
    assert!(new.keep().holds());
    flights.detach_all();
    assert!(!new.keep().holds());
    new.land(Ok(2));
    assert_eq!(poll(&mut waiter), Poll::Ready(Some(Ok(2))));
    assert!(is_empty(&flights));
}

#[test]
fn places_of_wakers_are_used_again() {
    let flights = Table::default();
    let mut leader = lead(&flights, 7, b"Tom").unwrap().entrust(ends_at(99, false).0);
    assert!(poll(&mut leader).is_pending());
    for _ in 0..100 {
        let mut other = join(&flights, Caller::Task).unwrap();
        assert!(poll(&mut other).is_pending());
    }
    assert_eq!(leader.flight.state.lock().wakers.places.len(), 2);
}

impl<V: Clone> Flights<V> {
    /// How many hold the key's flight: the table, its callers, and a load that is a future.
    pub(crate) fn holders(&self, hash: u64, key: &[u8]) -> usize {
        self.shard(hash).lock().find(hash, |flight| &*flight.key == key).map_or(0, Arc::strong_count)
    }
}
