//! The flight table under shuttle: thousands of interleavings of the very file that ships.
//!
//! Run with `RUSTFLAGS="--cfg shuttle" cargo test -p carrotcache --lib shuttle`. A wait that is never woken is a
//! deadlock to shuttle, which fails the test and prints the schedule.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use ::shuttle::future::block_on;
use ::shuttle::{check_pct, check_random, thread};

use super::*;

const ABANDONED: u32 = 404;

fn table(faults: Faults) -> Arc<Flights<u32>> {
    Arc::new(Flights::new(100, faults, |_| ABANDONED))
}

/// Tries random schedules, then ones with few well-placed switches, which find what chance seldom does.
fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(test, 3_000);
    check_pct(test, 2_000, 3);
}

fn spawn_claim(flights: &Arc<Flights<u32>>) -> thread::JoinHandle<Claim<u32>> {
    let flights = Arc::clone(flights);
    thread::spawn(move || flights.claim(b"Tom"))
}

fn lead(flights: &Flights<u32>) -> (Takeoff<u32>, Waiter<u32>) {
    match flights.claim(b"Tom") {
        Claim::Lead(takeoff, waiter) => (takeoff, waiter),
        Claim::Join(_) | Claim::Busy => panic!("no flight is up, and there is room"),
    }
}

fn spawn_wait(waiter: Waiter<u32>) -> thread::JoinHandle<u32> {
    thread::spawn(move || block_on(waiter))
}

fn assert_at_rest(flights: &Flights<u32>) {
    assert_eq!((flights.len(), flights.waiters()), (0, 0));
    assert!(flights.table.shards.iter().all(|shard| lock(shard).is_empty()));
}

#[test]
fn one_of_those_who_claim_at_once_leads_and_all_get_what_he_lands() {
    check(|| {
        let flights = table(Faults::none());
        let claims = [(); 3].map(|()| spawn_claim(&flights)).map(|claim| claim.join().unwrap());
        let mut takeoffs = Vec::new();
        let waits = claims.map(|claim| match claim {
            Claim::Lead(takeoff, waiter) => {
                takeoffs.push(takeoff);
                spawn_wait(waiter)
            }
            Claim::Join(waiter) => spawn_wait(waiter),
            Claim::Busy => panic!("there is room"),
        });
        assert_eq!(takeoffs.len(), 1);
        takeoffs.pop().unwrap().land(7);
        assert_eq!(waits.map(|wait| wait.join().unwrap()), [7; 3]);
        assert_at_rest(&flights);
    });
}

#[test]
fn a_claim_that_races_a_flight_being_given_up_gets_its_outcome_or_leads_another() {
    check(|| {
        let flights = table(Faults::none());
        let (takeoff, waiter) = lead(&flights);
        let leaving = thread::spawn(move || drop(waiter));
        let claim = spawn_claim(&flights);
        if let Some(takeoff) = takeoff.if_wanted() {
            takeoff.land(7);
        }
        leaving.join().unwrap();
        match claim.join().unwrap() {
            Claim::Join(waiter) => assert_eq!(block_on(waiter), 7),
            Claim::Lead(takeoff, waiter) => {
                takeoff.land(8);
                assert_eq!(block_on(waiter), 8);
            }
            Claim::Busy => panic!("there is room"),
        }
        assert_at_rest(&flights);
    });
}

#[test]
fn a_claim_that_races_a_landing_is_never_left_waiting_and_never_doubles_the_flight() {
    check(|| {
        let flights = table(Faults::none());
        let up = Arc::new(AtomicUsize::new(0));
        let callers = [(); 3].map(|()| {
            let (flights, up) = (Arc::clone(&flights), Arc::clone(&up));
            thread::spawn(move || match flights.claim(b"Tom") {
                Claim::Lead(takeoff, waiter) => {
                    assert_eq!(up.fetch_add(1, Ordering::SeqCst), 0, "two flights of one key");
                    let landing = thread::spawn(move || {
                        up.fetch_sub(1, Ordering::SeqCst);
                        takeoff.land(7);
                    });
                    let outcome = block_on(waiter);
                    landing.join().unwrap();
                    outcome
                }
                Claim::Join(waiter) => block_on(waiter),
                Claim::Busy => panic!("there is room"),
            })
        });
        assert_eq!(callers.map(|caller| caller.join().unwrap()), [7; 3]);
        assert_at_rest(&flights);
    });
}

#[test]
fn a_leader_that_panics_frees_the_key_and_its_waiters_are_told() {
    check(|| {
        let flights = table(Faults::none());
        let (takeoff, waiter) = lead(&flights);
        let leader = thread::spawn(move || {
            let panic = catch_unwind(AssertUnwindSafe(move || {
                let _takeoff = takeoff;
                std::panic::resume_unwind(Box::new("the load's panic"));
            }));
            assert!(panic.is_err());
        });
        let late = match flights.claim(b"Tom") {
            Claim::Join(waiter) => Some(spawn_wait(waiter)),
            Claim::Lead(..) => None,
            Claim::Busy => panic!("there is room"),
        };
        assert_eq!(block_on(waiter), ABANDONED);
        if let Some(late) = late {
            assert_eq!(late.join().unwrap(), ABANDONED);
        }
        // Who was told may call again at once, also before the leader has wound up: he must not find the old flight.
        drop(lead(&flights));
        leader.join().unwrap();
        assert_at_rest(&flights);
    });
}

#[test]
fn a_waiter_that_leaves_midway_takes_nothing_from_the_others() {
    check(|| {
        let flights = table(Faults::none());
        let (takeoff, leader) = lead(&flights);
        let joined = [(); 2].map(|()| match flights.claim(b"Tom") {
            Claim::Join(waiter) => waiter,
            Claim::Lead(..) | Claim::Busy => panic!("a flight is up"),
        });
        let [stays, mut leaves] = joined;
        let leaving = thread::spawn(move || {
            let _ = pin!(&mut leaves).poll(&mut Context::from_waker(Waker::noop()));
            drop(leaves);
        });
        let stays = spawn_wait(stays);
        let landing = thread::spawn(move || takeoff.land(7));
        assert_eq!((block_on(leader), stays.join().unwrap()), (7, 7));
        leaving.join().unwrap();
        landing.join().unwrap();
        assert_at_rest(&flights);
    });
}

#[test]
fn once_detach_returned_nobody_joins_the_old_flight() {
    check(|| {
        let flights = table(Faults::none());
        let (takeoff, waiter) = lead(&flights);
        let landing = thread::spawn(move || takeoff.land(1));
        let joining = spawn_claim(&flights);
        let removing = {
            let flights = Arc::clone(&flights);
            thread::spawn(move || {
                // Landed already, or detached now: in both cases what comes after is a flight of its own.
                flights.detach(b"Tom");
                match flights.claim(b"Tom") {
                    Claim::Lead(takeoff, waiter) => {
                        takeoff.land(2);
                        block_on(waiter)
                    }
                    // Only the other claim can have begun it, since then.
                    Claim::Join(waiter) => block_on(waiter),
                    Claim::Busy => panic!("there is room"),
                }
            })
        };
        match joining.join().unwrap() {
            Claim::Lead(takeoff, waiter) => {
                takeoff.land(2);
                assert_eq!(block_on(waiter), 2);
            }
            Claim::Join(waiter) => assert!(matches!(block_on(waiter), 1 | 2)),
            Claim::Busy => panic!("there is room"),
        }
        assert_eq!(block_on(waiter), 1, "who waited before still gets his flight's outcome");
        assert_eq!(removing.join().unwrap(), 2, "who came after the remove never gets it");
        landing.join().unwrap();
        assert_at_rest(&flights);
    });
}

fn wait_all(waits: Vec<Wait<u32>>) -> Vec<u32> {
    let wait = |wait| match wait {
        Wait::Led(waiter) | Wait::Shared(waiter) => block_on(waiter),
        Wait::Busy => panic!("there is room"),
    };
    waits.into_iter().map(wait).collect()
}

/// The number in a key's name, which is what its flight lands with.
fn land_all(led: Vec<Takeoff<u32>>) {
    for takeoff in led {
        let outcome = takeoff.key().to_str().unwrap().parse().unwrap();
        takeoff.land(outcome);
    }
}

#[test]
fn those_who_claim_many_of_the_same_keys_in_any_order_never_wait_for_each_other_in_a_circle() {
    check(|| {
        let flights = table(Faults::none());
        // Each leads what he was first to claim, and joins what the others were.
        let orders = [["1", "2", "3", "1"], ["3", "2", "1", "3"], ["2", "3", "1", "2"]];
        let callers = orders.map(|keys| {
            let flights = Arc::clone(&flights);
            thread::spawn(move || {
                let Claims { led, waits } = flights.claim_many(&keys);
                let landing = thread::spawn(move || land_all(led));
                let told = wait_all(waits);
                landing.join().unwrap();
                (keys, told)
            })
        });
        for (keys, told) in callers.map(|caller| caller.join().unwrap()) {
            assert_eq!(keys.map(|key| key.parse::<u32>().unwrap()), *told);
        }
        assert_at_rest(&flights);
    });
}

#[test]
fn of_those_who_claim_one_and_many_at_once_one_leads_each_key() {
    check(|| {
        let flights = table(Faults::none());
        let many = {
            let flights = Arc::clone(&flights);
            thread::spawn(move || flights.claim_many(&["Jack", "Tom"]))
        };
        let one = spawn_claim(&flights);
        let Claims { mut led, waits } = many.join().unwrap();
        let (tom, waiter) = match one.join().unwrap() {
            Claim::Lead(takeoff, waiter) => (takeoff, waiter),
            Claim::Join(waiter) => (led.pop().unwrap(), waiter),
            Claim::Busy => panic!("there is room"),
        };
        assert_eq!((led.len(), tom.key().to_str().unwrap()), (1, "Tom"));
        // An errand that ends midway lands what it has not landed.
        let landing = thread::spawn(move || {
            tom.land(7);
            drop(led);
        });
        assert_eq!((block_on(waiter), wait_all(waits)), (7, vec![ABANDONED, 7]));
        landing.join().unwrap();
        assert_at_rest(&flights);
    });
}

/// Memory and flights of a group whose every load reads the origin, which a remove follows upon a write.
struct Tiny {
    flights: Flights<u32>,
    memory: Mutex<HashMap<&'static str, u32>>,
    loads: AtomicUsize,
    faults: Faults,
}

impl Tiny {
    fn open(faults: Faults) -> Arc<Self> {
        let flights = Flights::new(100, faults, |_| ABANDONED);
        Arc::new(Self { flights, memory: Mutex::default(), loads: AtomicUsize::new(0), faults })
    }

    fn lookup(&self) -> Option<u32> {
        lock(&self.memory).get("Tom").copied()
    }

    fn get(self: Arc<Self>, origin: &AtomicUsize) -> u32 {
        if let Some(value) = self.lookup() {
            return value;
        }
        match self.flights.claim(b"Tom") {
            Claim::Lead(takeoff, waiter) => {
                let outcome = self.fill(&takeoff.keep(), origin);
                takeoff.land(outcome);
                block_on(waiter)
            }
            Claim::Join(waiter) => block_on(waiter),
            Claim::Busy => panic!("there is room"),
        }
    }

    fn fill(&self, keep: &Keep<u32>, origin: &AtomicUsize) -> u32 {
        if !self.faults.has(Fault::NoSecondLookup)
            && let Some(value) = self.lookup()
        {
            return value;
        }
        self.loads.fetch_add(1, Ordering::SeqCst);
        let value = origin.load(Ordering::SeqCst) as u32;
        let mut memory = lock(&self.memory);
        if keep.holds() {
            memory.insert("Tom", value);
        }
        value
    }

    fn remove(&self) {
        self.flights.detach(b"Tom");
        lock(&self.memory).remove("Tom");
    }
}

/// However three gets of one key fall, the origin is asked once.
fn one_load(faults: Faults) {
    let tiny = Tiny::open(faults);
    let gets = [(); 3].map(|()| {
        let tiny = Arc::clone(&tiny);
        thread::spawn(move || tiny.get(&AtomicUsize::new(7)))
    });
    assert_eq!(gets.map(|get| get.join().unwrap()), [7; 3]);
    assert_eq!(tiny.loads.load(Ordering::SeqCst), 1);
}

#[test]
fn lookups_and_landings_in_any_order_cost_one_load() {
    check(|| one_load(Faults::none()));
}

#[test]
fn without_the_second_lookup_some_order_costs_two_loads() {
    let found = catch_unwind(|| check_random(|| one_load(Faults::with(Fault::NoSecondLookup)), 3_000));
    assert!(found.is_err(), "no schedule showed the fault, so the test above proves nothing");
}

#[test]
fn what_was_read_before_a_remove_is_never_in_memory_after_it() {
    check(|| {
        let tiny = Tiny::open(Faults::none());
        let origin = Arc::new(AtomicUsize::new(1));
        let getting = {
            let (tiny, origin) = (Arc::clone(&tiny), Arc::clone(&origin));
            thread::spawn(move || tiny.get(&origin))
        };
        origin.store(2, Ordering::SeqCst);
        tiny.remove();
        let after = Arc::clone(&tiny).get(&origin);
        assert_eq!(after, 2, "a get that began after the remove got the old value");
        getting.join().unwrap();
        assert!(matches!(tiny.lookup(), None | Some(2)), "the late load put the old value back");
    });
}
