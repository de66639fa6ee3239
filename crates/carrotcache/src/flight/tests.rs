//! The table's own tests, and the rules of the flight contract held by a group small enough to be read at once.

use std::collections::HashMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Mutex as StdMutex;
use std::task::Wake;

use tokio::sync::Semaphore;

use super::rules::{self, Failure, Got, Subject, Terms};
use super::*;

fn table() -> Flights<u32> {
    Flights::new(100, Faults::none(), |_| 404)
}

fn lead(flights: &Flights<u32>, key: &str) -> (Takeoff<u32>, Waiter<u32>) {
    match flights.claim(key.as_bytes()) {
        Claim::Lead(takeoff, waiter) => (takeoff, waiter),
        Claim::Join(_) => panic!("{key} is up already"),
        Claim::Busy => panic!("busy"),
    }
}

fn join(flights: &Flights<u32>, key: &str) -> Waiter<u32> {
    match flights.claim(key.as_bytes()) {
        Claim::Join(waiter) => waiter,
        Claim::Lead(..) => panic!("{key} is not up"),
        Claim::Busy => panic!("busy"),
    }
}

/// A waker that counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn poll<T>(self: &Arc<Self>, waiter: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        Pin::new(waiter).poll(&mut Context::from_waker(&Waker::from(Arc::clone(self))))
    }
}

fn outcome(mut waiter: Waiter<u32>) -> Option<u32> {
    match Arc::<Bell>::default().poll(&mut waiter) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

#[test]
fn a_flight_that_nobody_waits_for_any_more_is_given_up_and_its_key_is_free() {
    let flights = table();
    let (takeoff, waiter) = lead(&flights, "Tom");
    let takeoff = takeoff.if_wanted().unwrap();
    let second = join(&flights, "Tom");
    drop(waiter);
    let takeoff = takeoff.if_wanted().expect("who has joined it waits on");
    drop(second);
    assert!(takeoff.if_wanted().is_none());
    assert_eq!((flights.len(), flights.waiters()), (0, 0));
    // Detached it is in no table, and its waiters wait all the same.
    let (takeoff, waiter) = lead(&flights, "Tom");
    flights.detach(b"Tom");
    let takeoff = takeoff.if_wanted().unwrap();
    drop(waiter);
    let (other, other_waiter) = lead(&flights, "Tom");
    assert!(takeoff.if_wanted().is_none());
    other.land(7);
    assert_eq!((outcome(other_waiter), flights.len()), (Some(7), 0));
}

#[test]
fn all_who_come_while_a_flight_is_up_share_its_outcome() {
    let flights = table();
    let (takeoff, leader) = lead(&flights, "Tom");
    let waiters = [join(&flights, "Tom"), join(&flights, "Tom"), leader];
    assert_eq!((flights.len(), flights.waiters()), (1, 3));
    takeoff.land(630);
    assert_eq!(waiters.map(outcome), [Some(630); 3]);
    assert_eq!((flights.len(), flights.waiters()), (0, 0));
}

#[test]
fn whoever_comes_after_the_landing_begins_another_flight() {
    let flights = table();
    let (takeoff, old) = lead(&flights, "Tom");
    takeoff.land(1);
    let (takeoff, new) = lead(&flights, "Tom");
    takeoff.land(2);
    assert_eq!((outcome(old), outcome(new)), (Some(1), Some(2)));
}

#[test]
fn of_many_keys_each_is_led_once_and_what_is_up_is_joined() {
    let flights = table();
    let (jack, _jack_waits) = lead(&flights, "Jack");
    let Claims { led, waits } = flights.claim_many(&["Tom", "Jack", "Sam", "Tom"]);
    let keys: Vec<_> = led.iter().map(|takeoff| takeoff.key().to_string()).collect();
    assert_eq!(keys, ["Tom", "Sam"]);
    assert_eq!((flights.len(), flights.waiters()), (3, 5));
    assert_eq!(kinds(&waits), "led shared led shared");
    for (takeoff, outcome) in led.into_iter().zip([1, 2]) {
        takeoff.land(outcome);
    }
    jack.land(3);
    let flown = waits.into_iter().map(|wait| match wait {
        Wait::Led(waiter) | Wait::Shared(waiter) => outcome(waiter),
        Wait::Busy => None,
    });
    assert_eq!(flown.collect::<Vec<_>>(), [Some(1), Some(3), Some(2), Some(1)]);
    assert_eq!(flights.len(), 0);
}

#[test]
fn of_many_keys_those_past_the_limit_are_busy_and_leave_no_trace() {
    let flights = Flights::<u32>::new(3, Faults::none(), |_| 404);
    let Claims { led, waits } = flights.claim_many(&["a", "b", "a", "a", "c"]);
    assert_eq!(kinds(&waits), "led led shared busy busy");
    assert_eq!((led.len(), flights.len(), flights.waiters()), (2, 2, 3));
    drop(led);
    drop(waits);
    assert_eq!((flights.len(), flights.waiters()), (0, 0));
}

fn kinds(waits: &[Wait<u32>]) -> String {
    let kind = |wait: &Wait<u32>| match wait {
        Wait::Led(_) => "led",
        Wait::Shared(_) => "shared",
        Wait::Busy => "busy",
    };
    waits.iter().map(kind).collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_fly_apart() {
    let flights = table();
    let many: Vec<_> = (0..50).map(|n| lead(&flights, &n.to_string())).collect();
    assert_eq!(flights.len(), 50);
    for (n, (takeoff, waiter)) in many.into_iter().enumerate() {
        assert_eq!(takeoff.key().to_str().unwrap(), n.to_string());
        takeoff.land(n as u32);
        assert_eq!(outcome(waiter), Some(n as u32));
    }
}

#[test]
fn keys_whose_hashes_are_equal_are_still_two_flights() {
    let flights = table();
    let (_takeoff, _waiter) = lead(&flights, "Tom");
    // A second flight in the same bucket under the very same hash, as a collision would put it there.
    let hash = flights.table.hash(b"Tom");
    let other = Room::take(&flights.table, 1).takeoff(b"Jack", hash).unwrap();
    lock(flights.table.shard(hash)).insert_unique(hash, Arc::clone(&other.flight), |flight| flight.hash);
    other.land(589);
    assert_eq!(outcome(join(&flights, "Tom")), None, "Jack's landing is not Tom's");
}

#[test]
fn a_takeoff_that_is_dropped_lands_what_abandoned_says_of_its_key() {
    let flights = Flights::<String>::new(100, Faults::none(), |key| format!("{key} was given up"));
    let Claim::Lead(takeoff, mut waiter) = flights.claim(b"Tom") else { panic!("nothing is up") };
    drop(takeoff);
    assert_eq!(Arc::<Bell>::default().poll(&mut waiter), Poll::Ready("Tom was given up".to_owned()));
    assert!(matches!(flights.claim(b"Tom"), Claim::Lead(..)), "the key is free");
}

#[test]
fn a_detached_flight_serves_its_waiters_but_nobody_else_and_keeps_nothing() {
    let flights = table();
    let (old, old_waiter) = lead(&flights, "Tom");
    let keep = old.keep();
    assert!(keep.holds());
    flights.detach(b"Tom");
    assert!(!keep.holds() && !keep.clone().holds());

    let (new, new_waiter) = lead(&flights, "Tom");
    assert!(new.keep().holds());
    old.land(1);
    // The old landing must not have taken the new flight out of the table.
    let joined = join(&flights, "Tom");
    new.land(2);
    assert_eq!([old_waiter, new_waiter, joined].map(outcome), [Some(1), Some(2), Some(2)]);
}

#[test]
fn all_flights_that_are_up_can_be_detached_and_their_keys_are_free() {
    let flights = table();
    let up: Vec<_> = (0..30).map(|n| lead(&flights, &format!("key {n}"))).collect();
    let keeps: Vec<_> = up.iter().map(|(takeoff, _)| takeoff.keep()).collect();
    flights.detach_all();
    assert!(keeps.iter().all(|keep| !keep.holds()));
    let (new, _waiter) = lead(&flights, "key 7");
    assert!(new.keep().holds());
    for (n, (takeoff, waiter)) in (0_u32..).zip(up) {
        takeoff.land(n);
        assert_eq!(outcome(waiter), Some(n));
    }
    assert!(new.keep().holds());
}

#[test]
fn past_the_limit_nothing_is_started_and_a_waiter_that_leaves_makes_room() {
    let flights = Flights::<u32>::new(2, Faults::none(), |_| 404);
    let (takeoff, leader) = lead(&flights, "Tom");
    let joined = join(&flights, "Tom");
    assert!(matches!(flights.claim(b"Tom"), Claim::Busy));
    assert!(matches!(flights.claim(b"Jack"), Claim::Busy));
    drop(joined);
    let joined = join(&flights, "Tom");
    takeoff.land(1);
    assert_eq!([leader, joined].map(outcome), [Some(1), Some(1)]);
}

#[test]
fn flights_whose_callers_all_left_are_limited_too() {
    let flights = Flights::<u32>::new(2, Faults::none(), |_| 404);
    let deserted = ["Tom", "Jack"].map(|key| lead(&flights, key).0);
    assert_eq!((flights.len(), flights.waiters()), (2, 0));
    assert!(matches!(flights.claim(b"Sam"), Claim::Busy));
    let _joined = join(&flights, "Tom");
    drop(deserted);
    let _room = lead(&flights, "Sam");
}

/// Claims a key as it is woken.
struct Eager(Flights<u32>);

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        lead(&self.0, "next");
    }
}

#[test]
fn whoever_is_told_of_a_landing_finds_its_room_free() {
    let flights = Flights::<u32>::new(2, Faults::none(), |_| 404);
    let _deserted = lead(&flights, "Jack").0;
    let (takeoff, mut waiter) = lead(&flights, "Tom");
    let same = Flights { table: Arc::clone(&flights.table) };
    let eager = Waker::from(Arc::new(Eager(same)));
    assert!(Pin::new(&mut waiter).poll(&mut Context::from_waker(&eager)).is_pending());
    takeoff.land(1);
    assert_eq!((outcome(waiter), flights.len()), (Some(1), 1));
}

/// A key that is looked at while others are being claimed; another is claimed then.
struct Amid<'a>(&'a str, &'a Flights<u32>);

impl AsRef<[u8]> for Amid<'_> {
    fn as_ref(&self) -> &[u8] {
        if self.0 == "Jack" {
            lead(self.1, "amid");
        }
        self.0.as_bytes()
    }
}

#[test]
fn a_claim_of_many_that_begins_few_leaves_their_room_to_others_meanwhile() {
    let flights = Flights::<u32>::new(4, Faults::none(), |_| 404);
    let _deserted = ["Tom", "Jack"].map(|key| lead(&flights, key).0);
    let Claims { led, waits } = flights.claim_many(&["Sam", "Tom", "Jack"].map(|key| Amid(key, &flights)));
    assert_eq!((kinds(&waits).as_str(), led.len()), ("led shared shared", 1));
    assert_eq!((flights.len(), flights.waiters()), (3, 3));
}

#[test]
fn each_waiter_is_woken_by_the_waker_it_last_gave_and_only_once() {
    let flights = table();
    let (takeoff, mut leader) = lead(&flights, "Tom");
    let mut joined = join(&flights, "Tom");
    let [first, second, third] = [(); 3].map(|()| Arc::<Bell>::default());
    assert!(first.poll(&mut leader).is_pending());
    assert!(second.poll(&mut leader).is_pending());
    assert!(third.poll(&mut joined).is_pending());
    takeoff.land(1);
    assert_eq!([first.rung(), second.rung(), third.rung()], [0, 1, 1]);
    assert_eq!(second.poll(&mut leader), Poll::Ready(1));
}

#[test]
fn wakers_are_no_more_than_the_waiters_that_live_at_one_time() {
    let flights = table();
    let (takeoff, leader) = lead(&flights, "Tom");
    let bell = Arc::<Bell>::default();
    for _ in 0..1000 {
        let mut two = [join(&flights, "Tom"), join(&flights, "Tom")];
        for waiter in &mut two {
            assert!(bell.poll(waiter).is_pending());
            assert!(bell.poll(waiter).is_pending());
        }
    }
    match &*lock(&leader.flight.state) {
        State::Up(wakers) => {
            assert_eq!((wakers.others.len(), wakers.free.len(), wakers.is_first_taken), (1, 1, false));
        }
        State::Landed(_) => panic!("it has not landed"),
    }
    takeoff.land(1);
    assert_eq!(bell.rung(), 0, "those who left are not woken");
    assert_eq!(Arc::strong_count(&bell), 1, "nothing keeps their wakers");
}

/// A waker that runs foreign code when it is woken or dropped: it drops another waiter of the same flight.
struct Entangled(StdMutex<Option<Waiter<u32>>>);

impl Wake for Entangled {
    fn wake(self: Arc<Self>) {
        drop(self.0.lock().unwrap().take());
    }
}

#[test]
fn a_waker_may_drop_a_waiter_of_the_same_flight() {
    let flights = table();
    let (takeoff, mut leader) = lead(&flights, "Tom");
    let bell = Arc::<Bell>::default();
    let entangled = || {
        let mut other = join(&flights, "Tom");
        assert!(bell.poll(&mut other).is_pending());
        Waker::from(Arc::new(Entangled(StdMutex::new(Some(other)))))
    };
    // The first is dropped where the second replaces it, the second is woken. Neither may find a lock held.
    for waker in [entangled(), entangled()] {
        assert!(pin!(&mut leader).poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(flights.waiters(), 2);
    takeoff.land(1);
    assert_eq!(flights.waiters(), 1);
}

/// A group in thirty lines: a map for memory, a semaphore for the limit on loads, and the product's flights.
#[derive(Clone)]
struct SmallGroup {
    flights: Arc<Flights<Got>>,
    memory: Arc<StdMutex<HashMap<Key, u64>>>,
    loads: Arc<Semaphore>,
    terms: Terms,
}

impl SmallGroup {
    fn lookup(&self, key: &[u8]) -> Option<u64> {
        self.memory.lock().unwrap().get(key).copied()
    }

    async fn fill(self, key: Key, keep: Keep<Got>) -> Got {
        if !self.terms.faults.has(Fault::NoSecondLookup)
            && let Some(value) = self.lookup(key.as_bytes())
        {
            return Ok(value);
        }
        let permit = self.loads.try_acquire();
        if permit.is_err() && !self.terms.faults.has(Fault::NoCap) {
            return Err(Failure::Busy);
        }
        let load = tokio::time::timeout(self.terms.load_deadline, (self.terms.load)(key.clone()));
        let value = load.await.map_err(|_| Failure::Deadline)?.map_err(Failure::Load)?;
        if keep.holds() {
            self.memory.lock().unwrap().insert(key, value);
        }
        Ok(value)
    }
}

impl Subject for SmallGroup {
    fn open(terms: Terms) -> Self {
        Self {
            flights: Arc::new(Flights::new(terms.max_waiters, terms.faults, |_| Err(Failure::Abandoned))),
            memory: Arc::default(),
            loads: Arc::new(Semaphore::new(terms.max_loads)),
            terms,
        }
    }

    async fn get(&self, key: &str) -> Got {
        if let Some(value) = self.lookup(key.as_bytes()) {
            return Ok(value);
        }
        let spawn = |errand| drop(tokio::spawn(errand));
        match self.flights.fly(key.as_bytes(), Some, spawn, |key, keep| self.clone().fill(key, keep)).await {
            Flown::Led(outcome) | Flown::Shared(outcome) => outcome,
            Flown::Busy => Err(Failure::Busy),
        }
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Got> {
        let spawn = |errand| drop(tokio::spawn(errand));
        let missing: Vec<_> =
            keys.iter().filter(|key| self.lookup(key.as_bytes()).is_none()).copied().collect();
        let errands = |led: Vec<Takeoff<Got>>| {
            led.into_iter().map(|flight| flight.errand(|key, keep| self.clone().fill(key, keep))).collect()
        };
        let mut waits = self.flights.fly_many(&missing, spawn, errands).await.into_iter();
        let mut got = Vec::new();
        for key in keys {
            got.push(match self.lookup(key.as_bytes()) {
                Some(value) if !missing.contains(key) => Ok(value),
                _ => match waits.next().unwrap().flown().await {
                    Flown::Led(outcome) | Flown::Shared(outcome) => outcome,
                    Flown::Busy => Err(Failure::Busy),
                },
            });
        }
        got
    }

    async fn set(&self, key: &str, value: u64) {
        self.flights.detach(key.as_bytes());
        self.memory.lock().unwrap().insert(Key::from(key), value);
    }

    fn waiters(&self) -> usize {
        self.flights.waiters()
    }
}

/// Asserts that the rule holds with no fault, and that the fault breaks it in just the way that is expected.
async fn kept_unless(fault: Fault, rule: impl AsyncFn(Faults) -> Result<(), String>, breach: &str) {
    assert_eq!(rule(Faults::none()).await, Ok(()));
    assert_eq!(rule(Faults::with(fault)).await, Err(breach.to_owned()), "with {fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_panicking_load_frees_its_key() {
    kept_unless(
        Fault::GuardNotDropped,
        rules::a_panicking_load_frees_its_key::<SmallGroup>,
        "a caller waited for ever",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_load_ends_at_its_deadline() {
    assert_eq!(rules::a_hanging_load_ends_at_its_deadline::<SmallGroup>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_strands_no_one() {
    kept_unless(
        Fault::LeaderRunsInCaller,
        rules::a_caller_that_leaves_strands_no_one::<SmallGroup>,
        "those who stayed got [Err(Abandoned), Err(Abandoned), Err(Abandoned)]",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn the_errand_looks_again_before_it_loads() {
    kept_unless(
        Fault::NoSecondLookup,
        rules::the_errand_looks_again::<SmallGroup>,
        "1 loads of a stored value, which gave Ok(7)",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_all_who_wait() {
    kept_unless(Fault::ErrorPerWaiter, rules::a_failure_is_shared::<SmallGroup>, "10 loads for one failure")
        .await;
}

#[tokio::test(start_paused = true)]
async fn waiters_are_capped() {
    kept_unless(Fault::NoCap, rules::waiters_are_capped::<SmallGroup>, "10 callers wait where 4 may").await;
}

#[tokio::test(start_paused = true)]
async fn loads_are_capped() {
    kept_unless(Fault::NoCap, rules::loads_are_capped::<SmallGroup>, "10000 loads at once where 16 may run")
        .await;
}

#[tokio::test(start_paused = true)]
async fn one_and_many_share_their_flights() {
    assert_eq!(rules::one_and_many_share_their_flights::<SmallGroup>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn of_many_a_panicking_load_spoils_no_other() {
    kept_unless(
        Fault::GuardNotDropped,
        rules::of_many_a_panicking_load_spoils_no_other::<SmallGroup>,
        "a caller waited for ever",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_many_that_leaves_strands_no_one() {
    kept_unless(
        Fault::LeaderRunsInCaller,
        rules::a_caller_of_many_that_leaves_strands_no_one::<SmallGroup>,
        "those who stayed got [Err(Abandoned), Err(Abandoned), Err(Abandoned)]",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn waiters_for_many_are_capped() {
    kept_unless(
        Fault::NoCap,
        rules::waiters_for_many_are_capped::<SmallGroup>,
        "the caller got [Ok(7), Ok(7), Ok(7), Ok(7)]",
    )
    .await;
}
