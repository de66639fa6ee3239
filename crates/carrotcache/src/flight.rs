//! Flights: at most one errand per key at a time, shared by all who want the key meanwhile.
//!
//! The idea is Go's singleflight, without its four known faults: here the errand runs in a task of its own, so
//! that a caller who leaves strands no one; a takeoff that is dropped frees its key; an outcome, also a failure,
//! is shared as it is; waiters and flights are limited. Flights are told apart by their keys, never by a hash of
//! them alone.
//!
//! One table belongs to one group. It knows no runtime: spawning is passed in and a wait is a plain future, so
//! that shuttle runs this very file. It never awaits under a lock, and never runs foreign code (a waker, an
//! errand) under one.
//!
//! Order of a landing: first out of the table, then the outcome is published. So whoever finds a flight in the
//! table finds one whose outcome is still to come, and nobody is given an outcome that is older than his call.

use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll, Waker};

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fault::{Fault, Faults};
use crate::sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering, lock};
use crate::units::Key;

/// The flights of one group. `T` is what a flight lands with; each waiter gets a clone, so it should be cheap.
pub(crate) struct Flights<T> {
    table: Arc<Table<T>>,
}

/// What `claim` found.
pub(crate) enum Claim<T> {
    /// No flight of the key was up: the caller begins one, and waits for it like everyone else.
    Lead(Takeoff<T>, Waiter<T>),
    /// A flight of the key is up, and the caller waits for it.
    Join(Waiter<T>),
    /// The limit is reached. Nothing was started.
    Busy,
}

/// What `claim_many` found.
pub(crate) struct Claims<T> {
    /// The flights that the caller begins, in the order asked: each key once.
    pub(crate) led: Vec<Takeoff<T>>,
    /// One for each key, in the order asked.
    pub(crate) waits: Vec<Wait<T>>,
}

/// A caller's wait for one of many flights.
pub(crate) enum Wait<T> {
    /// He began it.
    Led(Waiter<T>),
    /// It was up already, if only because he asked for its key before.
    Shared(Waiter<T>),
    /// The limit is reached. Nothing was started.
    Busy,
}

impl<T: Clone> Wait<T> {
    /// What the flight lands with. Dropping the future abandons nothing: the wait can be gone on with, until it has ended.
    pub(crate) async fn flown(&mut self) -> Flown<T> {
        poll_fn(|context| self.poll_flown(context)).await
    }

    /// The same, polled.
    pub(crate) fn poll_flown(&mut self, context: &mut Context<'_>) -> Poll<Flown<T>> {
        match self {
            Self::Led(waiter) => Pin::new(waiter).poll(context).map(Flown::Led),
            Self::Shared(waiter) => Pin::new(waiter).poll(context).map(Flown::Shared),
            Self::Busy => Poll::Ready(Flown::Busy),
        }
    }
}

/// How `fly` ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Flown<T> {
    /// The caller began the flight; this is what it landed with.
    Led(T),
    /// The caller shared a flight that was up already.
    Shared(T),
    /// The limit is reached. Nothing was started.
    Busy,
}

/// An errand as it is given to be spawned: it lands its own flight.
pub(crate) type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: Clone> Flights<T> {
    /// An empty table. At most `max_waiters` callers wait in it, and as many flights are up.
    ///
    /// `abandoned` makes what waiters are told when an errand ends without landing: it panicked, or its runtime
    /// stopped. It may run during a panic, so it must not panic itself.
    pub(crate) fn new(
        max_waiters: usize,
        faults: Faults,
        abandoned: impl Fn(&Key) -> T + Send + Sync + 'static,
    ) -> Self {
        Self {
            table: Arc::new(Table {
                shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
                seed: RandomState::new().hash_one(0),
                waiters: AtomicUsize::new(0),
                flights: AtomicUsize::new(0),
                limit: if faults.has(Fault::NoCap) { usize::MAX } else { max_waiters },
                abandoned: Box::new(abandoned),
                faults,
            }),
        }
    }

    /// Joins the key's flight, or begins one. One short lock, one allocation or two.
    pub(crate) fn claim(&self, key: &[u8]) -> Claim<T> {
        self.claim_in(&mut Room::take(&self.table, 1), key)
    }

    fn claim_in(&self, room: &mut Room<'_, T>, key: &[u8]) -> Claim<T> {
        if room.waiters == 0 {
            return Claim::Busy;
        }
        let hash = self.table.hash(key);
        let mut shard = lock(self.table.shard(hash));
        if let Some(flight) = shard.find(hash, |flight| flight.key.as_bytes() == key) {
            return Claim::Join(room.waiter(flight));
        }
        let Some(takeoff) = room.takeoff(key, hash) else { return Claim::Busy };
        let waiter = room.waiter(&takeoff.flight);
        shard.insert_unique(hash, Arc::clone(&takeoff.flight), |flight| flight.hash);
        Claim::Lead(takeoff, waiter)
    }

    /// As `claim` for each key, one after the other: a key that is there twice is led once and joined once.
    ///
    /// Whoever leads several flights may land them by one errand. He waits for none of them there: two who lead what
    /// the other joins would wait for each other.
    pub(crate) fn claim_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Claims<T> {
        let mut led = Vec::with_capacity(keys.len());
        let mut room = Room::take(&self.table, keys.len());
        let claim = |key: &K| match self.claim_in(&mut room, key.as_ref()) {
            Claim::Lead(takeoff, waiter) => {
                led.push(takeoff);
                Wait::Led(waiter)
            }
            Claim::Join(waiter) => Wait::Shared(waiter),
            Claim::Busy => Wait::Busy,
        };
        let waits = keys.iter().map(claim).collect();
        Claims { led, waits }
    }

    /// Takes the key's flight out of the table, if one is up.
    ///
    /// Its waiters still get what it lands with; whoever comes from now on begins another; and the flight's `Keep`
    /// says no from now on, so that nothing it read before this call is stored after it.
    pub(crate) fn detach(&self, key: &[u8]) {
        let hash = self.table.hash(key);
        let mut shard = lock(self.table.shard(hash));
        if let Ok(found) = shard.find_entry(hash, |flight| flight.key.as_bytes() == key) {
            found.get().detach();
            found.remove();
        }
    }

    /// As `detach`, of every flight that is up.
    pub(crate) fn detach_all(&self) {
        for shard in &self.table.shards {
            lock(shard).drain().for_each(|flight| flight.detach());
        }
    }

    /// Flights under way, detached ones included.
    pub(crate) fn len(&self) -> usize {
        self.table.flights.load(Ordering::Relaxed)
    }

    /// Callers that wait for a flight, leaders included.
    pub(crate) fn waiters(&self) -> usize {
        self.table.waiters.load(Ordering::Relaxed)
    }
}

impl<V: Clone, E: Clone> Flights<Result<V, E>>
where
    Result<V, E>: Send + 'static,
{
    /// What the key's flight lands with. Begins one if none is up: `at_once` sees to it without an errand or gives it
    /// back, `errand` makes one then, and `spawn` sends that off.
    ///
    /// Dropping the returned future abandons the wait, not the flight.
    pub(crate) async fn fly<F>(
        &self,
        key: &[u8],
        at_once: impl Fn(Takeoff<Result<V, E>>) -> Option<Takeoff<Result<V, E>>>,
        spawn: impl Fn(Errand),
        errand: impl Fn(Key, Keep<Result<V, E>>) -> F,
    ) -> Flown<Result<V, E>>
    where
        F: Future<Output = Result<V, E>> + Send + 'static,
    {
        // One round: only the fault at its end makes a second.
        loop {
            let flown = match self.claim(key) {
                Claim::Busy => Flown::Busy,
                Claim::Join(waiter) => Flown::Shared(waiter.await),
                Claim::Lead(takeoff, waiter) => {
                    let Some(takeoff) = at_once(takeoff) else { return Flown::Led(waiter.await) };
                    let errand = takeoff.errand(&errand);
                    if self.table.faults.has(Fault::LeaderRunsInCaller) {
                        errand.await;
                    } else {
                        spawn(errand);
                    }
                    Flown::Led(waiter.await)
                }
            };
            if !(self.table.faults.has(Fault::ErrorPerWaiter) && matches!(flown, Flown::Shared(Err(_)))) {
                return flown;
            }
        }
    }
}

impl<T: Clone + Send + 'static> Flights<T> {
    /// Joins the flight of each key, or begins it, and gives the waits in the order asked. `errands` makes as many
    /// errands as it likes of the flights that are begun, `spawn` sends each off.
    pub(crate) async fn fly_many<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        spawn: impl Fn(Errand),
        errands: impl FnOnce(Vec<Takeoff<T>>) -> Vec<Errand>,
    ) -> Vec<Wait<T>> {
        let Claims { led, waits } = self.claim_many(keys);
        for errand in errands(led) {
            if self.table.faults.has(Fault::LeaderRunsInCaller) {
                errand.await;
            } else {
                spawn(errand);
            }
        }
        waits
    }
}

/// 16, as many as cores that miss at once on a usual machine; a miss is a network trip, so more would not show.
const SHARDS: usize = 16;

type Shard<T> = Mutex<HashTable<Arc<Flight<T>>>>;

struct Table<T> {
    /// std mutexes: nothing is awaited under one, and a section is a probe and at most one insertion.
    shards: [Shard<T>; SHARDS],
    /// Seeded at random, since keys come from strangers.
    seed: u64,
    /// Live `Waiter`s. Invariant: `<= limit`.
    waiters: AtomicUsize,
    /// Flights that have not landed. Invariant: `<= limit`: when all callers left, their flights are still up.
    flights: AtomicUsize,
    limit: usize,
    abandoned: Box<dyn Fn(&Key) -> T + Send + Sync>,
    faults: Faults,
}

impl<T> Table<T> {
    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }

    fn shard(&self, hash: u64) -> &Shard<T> {
        // Bits that hashbrown does not use: it takes the lowest for the bucket and the highest seven for the tag.
        &self.shards[(hash >> 48) as usize % SHARDS]
    }

    /// Takes this very flight out, unless it was detached: a newer flight of the key stays.
    fn forget(&self, flight: &Arc<Flight<T>>) {
        let mut shard = lock(self.shard(flight.hash));
        if let Ok(found) = shard.find_entry(flight.hash, |other| Arc::ptr_eq(other, flight)) {
            found.remove();
        }
    }
}

/// Counts up by as many of `wanted` as `limit` allows, and gives how many those are.
fn count_up(count: &AtomicUsize, limit: usize, wanted: usize) -> usize {
    // Relaxed: the number guards nothing but itself.
    let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
        Some(n + wanted.min(limit.saturating_sub(n)))
    });
    wanted.min(limit.saturating_sub(counted.unwrap_or(limit)))
}

/// Room under the limit for waiters and flights that are about to be, counted at once for all of them. What is left of
/// it is given back.
struct Room<'a, T> {
    table: &'a Arc<Table<T>>,
    waiters: usize,
    flights: usize,
}

impl<'a, T> Room<'a, T> {
    /// Room for so many, or for fewer where the limit is near.
    fn take(table: &'a Arc<Table<T>>, wanted: usize) -> Self {
        Self { table, waiters: count_up(&table.waiters, table.limit, wanted), flights: 0 }
    }

    /// One more who waits: there is room.
    fn waiter(&mut self, flight: &Arc<Flight<T>>) -> Waiter<T> {
        self.waiters -= 1;
        Waiter { flight: Arc::clone(flight), at: None }
    }

    /// A flight that is not in the table yet, or `None` when as many as the limit are up. Before its waiter.
    fn takeoff(&mut self, key: &[u8], hash: u64) -> Option<Takeoff<T>> {
        if self.flights == 0 {
            // Whoever leads one most likely leads the others too. Where more would be up than there are who wait, since
            // some have left, others might find no room for what he does not lead.
            let table = self.table;
            let up = table.flights.load(Ordering::Relaxed).saturating_add(self.waiters);
            let wanted = if up <= table.waiters.load(Ordering::Relaxed) { self.waiters } else { 1 };
            self.flights = count_up(&table.flights, table.limit, wanted);
        }
        self.flights = self.flights.checked_sub(1)?;
        let (table, key) = (Arc::clone(self.table), Key::new(key));
        let (detached, state) = (AtomicBool::new(false), Mutex::new(State::Up(Wakers::default())));
        Some(Takeoff { flight: Arc::new(Flight { table, key, hash, detached, state }), landed: false })
    }
}

impl<T> Drop for Room<'_, T> {
    fn drop(&mut self) {
        for (count, left) in [(&self.table.waiters, self.waiters), (&self.table.flights, self.flights)] {
            if left > 0 {
                count.fetch_sub(left, Ordering::Relaxed);
            }
        }
    }
}

/// One errand, as its leader, its waiters and the table share it.
struct Flight<T> {
    /// Where it is counted, and listed until it lands or is detached.
    table: Arc<Table<T>>,
    key: Key,
    hash: u64,
    /// Raised once and never lowered.
    detached: AtomicBool,
    /// One slot for all waiters: an outcome is written once, however many read it.
    state: Mutex<State<T>>,
}

enum State<T> {
    Up(Wakers),
    Landed(T),
}

impl<T> Flight<T> {
    /// The outcome, for the last who has a part in the flight: a clone of it may cost an allocation.
    fn take(&mut self) -> Option<T> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(state, State::Up(Wakers::default())) {
            State::Landed(outcome) => Some(outcome),
            up @ State::Up(_) => {
                *state = up;
                None
            }
        }
    }

    fn detach(&self) {
        // Release, with Acquire in `Keep`: who is told that it is detached also sees what came before.
        self.detached.store(true, Ordering::Release);
    }

    fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    fn publish(&self, outcome: T) {
        let before = std::mem::replace(&mut *lock(&self.state), State::Landed(outcome));
        // The lock is free again: a waker may run anything, even drop another waiter of this flight.
        if let State::Up(wakers) = before {
            wakers.wake_all();
        }
    }
}

/// The wakers of one flight's waiters, each in a place of its own. No longer than the most waiters at one time.
#[derive(Default)]
struct Wakers {
    /// Place 0, which needs no memory of its own: most flights have one waiter.
    first: Option<Waker>,
    is_first_taken: bool,
    /// The places from 1 on.
    others: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Wakers {
    /// Puts the waker in its waiter's place, and gives back what stood there.
    fn put(&mut self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let at = *place.get_or_insert_with(|| {
            if !std::mem::replace(&mut self.is_first_taken, true) {
                return 0;
            }
            self.free.pop().unwrap_or_else(|| {
                self.others.push(None);
                self.others.len()
            })
        });
        self.at(at).replace(waker)
    }

    /// Frees a place for the next waiter, and gives back what stood there.
    fn take(&mut self, at: usize) -> Option<Waker> {
        if at == 0 {
            self.is_first_taken = false;
        } else {
            self.free.push(at);
        }
        self.at(at).take()
    }

    fn at(&mut self, at: usize) -> &mut Option<Waker> {
        at.checked_sub(1).map_or(&mut self.first, |at| &mut self.others[at])
    }

    fn wake_all(self) {
        self.first.into_iter().chain(self.others.into_iter().flatten()).for_each(Waker::wake);
    }
}

/// The right and the duty to land one flight. Lives in the errand's task; when it is dropped without landing, the
/// flight lands with what `abandoned` says, so a panic frees the key like any other end.
pub(crate) struct Takeoff<T> {
    flight: Arc<Flight<T>>,
    landed: bool,
}

impl<T> Takeoff<T> {
    /// The key this flight is for.
    pub(crate) fn key(&self) -> &Key {
        &self.flight.key
    }

    /// For the store's question whether the value may still be kept.
    pub(crate) fn keep(&self) -> Keep<T> {
        Keep(Arc::clone(&self.flight))
    }

    /// Whether what this flight brings may still be stored: as its `Keep` says.
    pub(crate) fn may_keep(&self) -> bool {
        !self.flight.is_detached()
    }

    /// The flight, unless nobody waits for it any more: its key is free then, and nothing was begun. For one that waits for
    /// its turn.
    pub(crate) fn if_wanted(mut self) -> Option<Self> {
        let flight = &self.flight;
        let mut shard = lock(flight.table.shard(flight.hash));
        let listed = shard.find_entry(flight.hash, |other| Arc::ptr_eq(other, flight));
        // Whoever joins it does so under this lock, so none comes in between. Its waiters hold it, and the table and we.
        let is_wanted = Arc::strong_count(flight) > 1 + usize::from(listed.is_ok());
        if !is_wanted {
            listed.into_iter().for_each(|listed| drop(listed.remove()));
        }
        drop(shard);
        if is_wanted {
            return Some(self);
        }
        self.landed = true;
        self.flight.table.flights.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Ends the flight: the key is free, and all who wait get the outcome.
    pub(crate) fn land(mut self, outcome: T) {
        self.set_down(outcome);
    }

    fn set_down(&mut self, outcome: T) {
        self.landed = true;
        let table = &self.flight.table;
        table.forget(&self.flight);
        // Before anybody is told: who asks on at once finds its room.
        table.flights.fetch_sub(1, Ordering::Relaxed);
        self.flight.publish(outcome);
    }

    /// This flight's own errand, ready to be spawned.
    pub(crate) fn errand<F>(self, errand: impl Fn(Key, Keep<T>) -> F) -> Errand
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let errand = errand(self.key().clone(), self.keep());
        Box::pin(async move {
            let outcome = errand.await;
            self.land(outcome);
        })
    }
}

impl<T> Drop for Takeoff<T> {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let table = &self.flight.table;
        if table.faults.has(Fault::GuardNotDropped) {
            table.flights.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let outcome = (table.abandoned)(&self.flight.key);
        self.set_down(outcome);
    }
}

/// Answers whether what a flight brings may still be stored. Asked under the engine's lock, so it takes none.
pub(crate) struct Keep<T>(Arc<Flight<T>>);

impl<T> Keep<T> {
    /// False from the moment the flight is detached.
    pub(crate) fn holds(&self) -> bool {
        !self.0.is_detached()
    }
}

impl<T> Clone for Keep<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// One caller's wait for a flight. Dropping it abandons the wait, not the flight.
pub(crate) struct Waiter<T> {
    flight: Arc<Flight<T>>,
    /// Where this waiter's waker stands, once it was polled.
    at: Option<usize>,
}

impl<T: Clone> Future for Waiter<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let this = &mut *self;
        if let Some(outcome) = Arc::get_mut(&mut this.flight).and_then(Flight::take) {
            this.at = None;
            return Poll::Ready(outcome);
        }
        // Cloned before the lock is taken, and the one it replaces dropped after it is free: both run foreign code.
        let waker = context.waker().clone();
        let mut state = lock(&this.flight.state);
        let replaced = match &mut *state {
            State::Landed(outcome) => return Poll::Ready(outcome.clone()),
            State::Up(wakers) => wakers.put(&mut this.at, waker),
        };
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        self.flight.table.waiters.fetch_sub(1, Ordering::Relaxed);
        let Some(at) = self.at else { return };
        let mut state = lock(&self.flight.state);
        let spent = match &mut *state {
            State::Up(wakers) => wakers.take(at),
            State::Landed(_) => None,
        };
        drop(state);
        drop(spent);
    }
}

#[cfg(test)]
pub(crate) mod rules;
#[cfg(all(test, not(shuttle)))]
mod tests;
#[cfg(all(test, shuttle))]
mod under_shuttle;
