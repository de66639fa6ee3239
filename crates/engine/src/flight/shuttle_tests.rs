//! The table of flights under shuttle: polls, wakes and departures in thousands of orders.
//!
//! A caller that is never woken is a deadlock to shuttle, which fails the test and prints the schedule.

use std::pin::pin;
use std::sync::atomic::AtomicUsize;

use ::shuttle::future::block_on;
use ::shuttle::{check_pct, check_random};

use super::*;
use crate::sync::AtomicU64;

/// Tries random schedules, then ones with few well-placed switches, which find what chance seldom does.
fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(test, 2_000);
    check_pct(test, 1_000, 3);
}

/// What a load waits for: a value, set by another thread, which then wakes who polled last.
#[derive(Default)]
struct Origin(Mutex<(Option<u32>, Option<Waker>)>);

impl Origin {
    fn answer(&self, value: u32) {
        let waker = {
            let mut state = self.0.lock();
            state.0 = Some(value);
            state.1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn errand(self: &Arc<Self>) -> Errand<u32> {
        let origin = Arc::clone(self);
        Box::pin(std::future::poll_fn(move |context| {
            let mut state = origin.0.lock();
            if let Some(value) = state.0 {
                return Poll::Ready(Ok(value));
            }
            state.1 = Some(context.waker().clone());
            Poll::Pending
        }))
    }
}

/// As a cache without any memory: what the flight of this key lands with, and whether the caller led.
async fn fly(flights: &Flights<u32>, origin: &Arc<Origin>, loads: &AtomicUsize) -> u32 {
    let waiter = match flights.claim(7, b"Tom", Caller::Task) {
        Claim::Join(waiter) => waiter,
        Claim::Lead(takeoff) => {
            loads.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            takeoff.entrust(origin.errand())
        }
    };
    waiter.await.expect("a task waits for it").expect("it gives a value")
}

fn is_empty(flights: &Flights<u32>) -> bool {
    flights.shards.iter().all(|shard| shard.lock().is_empty())
}

#[test]
fn whoever_polls_and_whenever_the_load_is_woken_all_get_what_it_brings() {
    check(|| {
        let (flights, origin) = (Arc::new(Flights::default()), Arc::new(Origin::default()));
        let callers = [(); 3].map(|()| {
            let (flights, origin) = (Arc::clone(&flights), Arc::clone(&origin));
            thread::spawn(move || block_on(fly(&flights, &origin, &AtomicUsize::new(0))))
        });
        origin.answer(7);
        assert_eq!(callers.map(|caller| caller.join().unwrap()), [7; 3]);
        assert!(is_empty(&flights));
    });
}

#[test]
fn a_caller_who_leaves_or_is_forgotten_midway_holds_up_nobody() {
    check(|| {
        let (flights, origin) = (Arc::new(Flights::default()), Arc::new(Origin::default()));
        let leaving = [true, false].map(|leaves| {
            let (flights, origin) = (Arc::clone(&flights), Arc::clone(&origin));
            thread::spawn(move || {
                let mut seen = Box::pin(async move { fly(&flights, &origin, &AtomicUsize::new(0)).await });
                let _ = seen.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if !leaves {
                    // Kept by somebody, and polled by nobody.
                    std::mem::forget(seen);
                }
            })
        });
        let stays = {
            let (flights, origin) = (Arc::clone(&flights), Arc::clone(&origin));
            thread::spawn(move || block_on(fly(&flights, &origin, &AtomicUsize::new(0))))
        };
        thread::yield_now();
        origin.answer(7);
        assert_eq!(stays.join().unwrap(), 7);
        for caller in leaving {
            caller.join().unwrap();
        }
    });
}

#[test]
fn a_thread_that_joins_while_the_last_task_leaves_gets_a_value_or_begins_anew() {
    check(|| {
        let flights = Arc::new(Flights::default());
        let (origin, loads) = (Arc::new(Origin::default()), Arc::new(AtomicU64::new(0)));
        let task = {
            let (flights, origin) = (Arc::clone(&flights), Arc::clone(&origin));
            thread::spawn(move || {
                let none = AtomicUsize::new(0);
                let mut flying = pin!(fly(&flights, &origin, &none));
                let _ = flying.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            })
        };
        let threads = [(); 2].map(|()| {
            let (flights, loads) = (Arc::clone(&flights), Arc::clone(&loads));
            thread::spawn(move || {
                loop {
                    match flights.claim(7, b"Tom", Caller::Thread) {
                        Claim::Join(waiter) => {
                            if let Some(outcome) = waiter.wait() {
                                return outcome.unwrap();
                            }
                        }
                        Claim::Lead(takeoff) => {
                            assert_eq!(
                                loads.fetch_add(1, Ordering::SeqCst),
                                0,
                                "two loads of one key at once"
                            );
                            thread::yield_now();
                            loads.fetch_sub(1, Ordering::SeqCst);
                            takeoff.land(Ok(8));
                            return 8;
                        }
                    }
                }
            })
        });
        // Nobody answers the task, so only a thread's own load brings anything.
        assert_eq!(threads.map(|thread| thread.join().unwrap()), [8; 2]);
        task.join().unwrap();
        assert!(is_empty(&flights));
    });
}
