//! Flights: at most one load per key at a time, shared by all who want the key meanwhile.
//!
//! A load is run by its callers, since there is no runtime here to give it to. A closure runs on the thread of the
//! caller who came first. A future lies in its flight, and any caller that waits polls it: so a caller who leaves
//! takes nothing with him, and one who stays but is no longer polled himself (moka-rs/moka#240: a deadlock there,
//! where each future stays with its caller) holds up nobody. The price is that such a future is `Send` and
//! `'static`: a borrowed one cannot be lent, since its owner may be forgotten without being dropped.
//!
//! Flights are told apart by their keys, never by a hash of them alone. One table belongs to one cache, which makes
//! it with the first load. There are never more flights than callers, and no task, thread or timer is behind it.
//!
//! No foreign code (a waker, a load, the drop of one) runs under a lock; what a flight lands with is cloned under
//! one. Order of a landing: first out of the table, then the outcome is published. So whoever finds a flight in the
//! table finds one whose outcome is still to come, and nobody is given an outcome that is older than his call.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use hashbrown::HashTable;

use crate::sync::{AtomicBool, Mutex, Ordering, thread};

/// What a flight lands with.
pub(crate) type Outcome<V> = Result<V, Failure>;

/// Why a flight brought no value. One for all who wait.
#[derive(Clone)]
pub(crate) enum Failure {
    /// The load's own error, whose type only the caller knows.
    Load(Arc<dyn Any + Send + Sync>),
    /// The load panicked.
    Panicked,
    /// The caller is the load he would wait for. He alone is told.
    OwnLoad,
}

/// A load as its callers poll it.
pub(crate) type Errand<V> = Pin<Box<dyn Future<Output = Outcome<V>> + Send>>;

/// How a caller waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Blocked. Polls nobody's load: it may belong to a runtime that this thread knows nothing of.
    Thread,
    /// As a future, which polls the load whenever that is due.
    Task,
}

/// What `claim` found.
pub(crate) enum Claim<'a, V: Clone> {
    /// No flight of the key was up; now one is, and the caller is to load.
    Lead(Takeoff<'a, V>),
    /// A flight of the key is up.
    Join(Waiter<'a, V>),
}

/// 16, as many as cores that miss at once on a usual machine; beside a load the lock does not show.
const SHARDS: usize = 16;

/// The flights of one cache.
pub(crate) struct Flights<V> {
    shards: [Mutex<HashTable<Arc<Flight<V>>>>; SHARDS],
}

impl<V> Default for Flights<V> {
    fn default() -> Self {
        Self { shards: [(); SHARDS].map(|()| Mutex::new(HashTable::new())) }
    }
}

impl<V: Clone> Flights<V> {
    /// Joins the key's flight, or begins one. One short lock, one allocation or two.
    pub(crate) fn claim(&self, hash: u64, key: &[u8], caller: Caller) -> Claim<'_, V> {
        let mut shard = self.shard(hash).lock();
        let Some(found) = shard.find_mut(hash, |flight| &*flight.key == key) else {
            let takeoff = Takeoff::new(self, hash, key);
            shard.insert_unique(hash, Arc::clone(&takeoff.flight), |flight| flight.hash);
            return Claim::Lead(takeoff);
        };
        if let Some(waiter) = Waiter::join(self, found, caller) {
            return Claim::Join(waiter);
        }
        let takeoff = Takeoff::new(self, hash, key);
        let old = std::mem::replace(found, Arc::clone(&takeoff.flight));
        drop(shard);
        drop(old);
        Claim::Lead(takeoff)
    }

    /// What the key's flight brings, if one is up, is not to be kept, and nobody joins it from now on. Its callers
    /// still get what it lands with. Drops nothing, so it may be called under any lock but this table's.
    pub(crate) fn detach(&self, hash: u64, key: &[u8]) {
        if let Some(flight) = self.shard(hash).lock().find(hash, |flight| &*flight.key == key) {
            flight.detach();
        }
    }

    /// As `detach`, for all flights.
    pub(crate) fn detach_all(&self) {
        for shard in &self.shards {
            shard.lock().iter().for_each(|flight| flight.detach());
        }
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Arc<Flight<V>>>> {
        // Bits that hashbrown does not use: it takes the lowest for the bucket and the highest seven for the tag.
        &self.shards[(hash >> 48) as usize % SHARDS]
    }

    /// Takes this very flight out, unless a newer one of the key stands in its place.
    fn forget(&self, flight: &Arc<Flight<V>>) {
        let mut shard = self.shard(flight.hash).lock();
        if let Ok(found) = shard.find_entry(flight.hash, |other| Arc::ptr_eq(other, flight)) {
            found.remove();
        }
    }

    fn land(&self, flight: &Arc<Flight<V>>, outcome: Outcome<V>) {
        self.forget(flight);
        flight.publish(outcome);
    }
}

/// One load, as its callers and the table share it.
struct Flight<V> {
    hash: u64,
    key: Box<[u8]>,
    /// Raised once and never lowered.
    detached: AtomicBool,
    state: Mutex<State<V>>,
}

struct State<V> {
    phase: Phase<V>,
    /// The load has something to do: it was never polled, or woken since. Of use in `Idle` and `Running` alone.
    woken: bool,
    /// Live waiters that poll. With the last of them an idle load goes.
    tasks: usize,
    wakers: Wakers,
}

enum Phase<V> {
    /// On this thread, the load runs or is polled.
    Running(thread::ThreadId),
    /// Whoever is a task may poll the load.
    Idle(Errand<V>),
    Landed(Outcome<V>),
    /// The last task left, and the load was dropped. Those who still wait, threads, begin again.
    Abandoned,
}

impl<V> Flight<V> {
    fn detach(&self) {
        // Release, with Acquire in `is_detached`: who is told also sees what came before.
        self.detached.store(true, Ordering::Release);
    }

    fn is_detached(&self) -> bool {
        self.detached.load(Ordering::Acquire)
    }

    fn publish(&self, outcome: Outcome<V>) {
        let wakers = {
            let mut state = self.state.lock();
            state.phase = Phase::Landed(outcome);
            state.wakers.take_all()
        };
        wake_all(wakers);
    }

    /// The load is back from a poll and not done.
    fn put_down(&self, errand: Errand<V>) {
        let wakers = {
            let mut state = self.state.lock();
            state.phase = Phase::Idle(errand);
            // Woken while it was polled: who was told then found it busy. The poller himself may never come again.
            if state.woken { state.wakers.take_all() } else { Vec::new() }
        };
        wake_all(wakers);
    }
}

/// What a load is polled with. Wakes all who wait and not only one, since that one may be one that nobody polls;
/// the first to come polls the load, the others see that it is done and wait on.
impl<V: Send + Sync + 'static> Wake for Flight<V> {
    fn wake(self: Arc<Self>) {
        let wakers = {
            let mut state = self.state.lock();
            state.woken = true;
            state.wakers.take_all()
        };
        wake_all(wakers);
    }
}

impl<V> State<V> {
    /// The load, if it is to be polled now; from then on this thread runs it.
    fn pick_up(&mut self) -> Option<Errand<V>> {
        if !self.woken || !matches!(self.phase, Phase::Idle(_)) {
            return None;
        }
        self.woken = false;
        self.replace_idle(Phase::Running(thread::current().id()))
    }

    fn replace_idle(&mut self, phase: Phase<V>) -> Option<Errand<V>> {
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Idle(errand) => Some(errand),
            other => {
                self.phase = other;
                None
            }
        }
    }
}

/// The wakers of one flight's waiters, each in a place of its own. No longer than the most waiters at one time.
#[derive(Default)]
struct Wakers {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Wakers {
    /// Puts the waker in its waiter's place, and gives back what stood there.
    fn put(&mut self, place: &mut Option<usize>, waker: Waker) -> Option<Waker> {
        let at = *place.get_or_insert_with(|| {
            self.free.pop().unwrap_or_else(|| {
                self.places.push(None);
                self.places.len() - 1
            })
        });
        self.places[at].replace(waker)
    }

    /// Frees a place for the next waiter, and gives back what stood there.
    fn leave(&mut self, at: usize) -> Option<Waker> {
        self.free.push(at);
        self.places[at].take()
    }

    /// Empties all places; their waiters keep them.
    fn take_all(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(Option::take).collect()
    }
}

/// Outside all locks: a waker may run anything.
fn wake_all(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// The right and the duty to load, for one flight. Dropped without landing, the load has panicked: so a panic frees
/// the key like any other end.
pub(crate) struct Takeoff<'a, V: Clone> {
    flights: &'a Flights<V>,
    flight: Arc<Flight<V>>,
    /// The flight landed, or its load lies in it.
    done: bool,
}

impl<'a, V: Clone> Takeoff<'a, V> {
    fn new(flights: &'a Flights<V>, hash: u64, key: &[u8]) -> Self {
        let phase = Phase::Running(thread::current().id());
        let state = Mutex::new(State { phase, woken: true, tasks: 0, wakers: Wakers::default() });
        let flight = Flight { hash, key: key.into(), detached: AtomicBool::new(false), state };
        Self { flights, flight: Arc::new(flight), done: false }
    }

    /// For the question whether what is loaded may be kept.
    pub(crate) fn keep(&self) -> Keep<V> {
        Keep(Arc::clone(&self.flight))
    }

    /// Ends the flight: the key is free, and all who wait get the outcome.
    pub(crate) fn land(mut self, outcome: Outcome<V>) {
        self.done = true;
        self.flights.land(&self.flight, outcome);
    }

    /// Leaves the load to the flight's callers, of whom the leader is from now on one like any other.
    pub(crate) fn entrust(mut self, errand: Errand<V>) -> Waiter<'a, V> {
        self.done = true;
        let mut state = self.flight.state.lock();
        state.phase = Phase::Idle(errand);
        state.tasks += 1;
        drop(state);
        Waiter::new(self.flights, &self.flight, Caller::Task)
    }
}

impl<V: Clone> Drop for Takeoff<'_, V> {
    fn drop(&mut self) {
        if !self.done {
            self.flights.land(&self.flight, Err(Failure::Panicked));
        }
    }
}

/// Answers whether what a flight brings may be kept. Asked under the lock of an entry, so it takes none.
pub(crate) struct Keep<V>(Arc<Flight<V>>);

impl<V> Keep<V> {
    /// False from the moment the flight is detached.
    pub(crate) fn holds(&self) -> bool {
        !self.0.is_detached()
    }

    /// The flight's key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.0.key
    }
}

/// One caller's wait for a flight. Gives nothing if the flight was abandoned: then the caller begins again.
pub(crate) struct Waiter<'a, V: Clone> {
    flights: &'a Flights<V>,
    flight: Arc<Flight<V>>,
    caller: Caller,
    /// Where this waiter's waker stands, once it was polled.
    at: Option<usize>,
}

impl<'a, V: Clone> Waiter<'a, V> {
    fn new(flights: &'a Flights<V>, flight: &Arc<Flight<V>>, caller: Caller) -> Self {
        Self { flights, flight: Arc::clone(flight), caller, at: None }
    }

    /// Under the table's lock. None if the flight takes nobody any more.
    fn join(flights: &'a Flights<V>, flight: &Arc<Flight<V>>, caller: Caller) -> Option<Self> {
        if flight.is_detached() {
            return None;
        }
        let mut state = flight.state.lock();
        if matches!(state.phase, Phase::Abandoned) {
            return None;
        }
        if caller == Caller::Task {
            state.tasks += 1;
        }
        drop(state);
        Some(Self::new(flights, flight, caller))
    }

    fn run(&self, mut errand: Errand<V>) -> Poll<Option<Outcome<V>>>
    where
        V: Send + Sync + 'static,
    {
        let waker = Waker::from(Arc::clone(&self.flight));
        // The load is dropped after a panic, so nobody sees what that left half done.
        let polled =
            catch_unwind(AssertUnwindSafe(|| errand.as_mut().poll(&mut Context::from_waker(&waker))));
        let outcome = match polled {
            Ok(Poll::Pending) => {
                self.flight.put_down(errand);
                return Poll::Pending;
            }
            Ok(Poll::Ready(outcome)) => outcome,
            Err(_) => Err(Failure::Panicked),
        };
        // Before the load is dropped, which runs foreign code and may itself panic.
        self.flights.land(&self.flight, outcome.clone());
        Poll::Ready(Some(outcome))
    }
}

impl<V: Clone + Send + Sync + 'static> Waiter<'_, V> {
    /// Blocks until the flight ends.
    pub(crate) fn wait(mut self) -> Option<Outcome<V>> {
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        loop {
            if let Poll::Ready(end) = Pin::new(&mut self).poll(&mut Context::from_waker(&waker)) {
                return end;
            }
            thread::park();
        }
    }
}

impl<V: Clone + Send + Sync + 'static> Future for Waiter<'_, V> {
    type Output = Option<Outcome<V>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        // Cloned before the lock is taken, and the one it replaces dropped after it is free: both run foreign code.
        let waker = context.waker().clone();
        let mut state = this.flight.state.lock();
        match &state.phase {
            Phase::Landed(outcome) => return Poll::Ready(Some(outcome.clone())),
            Phase::Abandoned => return Poll::Ready(None),
            // Further down on this thread's stack: it cannot go on before we return.
            Phase::Running(on) if *on == thread::current().id() => {
                return Poll::Ready(Some(Err(Failure::OwnLoad)));
            }
            Phase::Running(_) | Phase::Idle(_) => {}
        }
        let replaced = state.wakers.put(&mut this.at, waker);
        let errand = if this.caller == Caller::Task { state.pick_up() } else { None };
        drop(state);
        drop(replaced);
        errand.map_or(Poll::Pending, |errand| this.run(errand))
    }
}

impl<V: Clone> Drop for Waiter<'_, V> {
    fn drop(&mut self) {
        let mut state = self.flight.state.lock();
        let spent = self.at.and_then(|at| state.wakers.leave(at));
        let mut left = None;
        if self.caller == Caller::Task {
            state.tasks -= 1;
            left = if state.tasks == 0 { state.replace_idle(Phase::Abandoned) } else { None };
        }
        let wakers = if left.is_some() { state.wakers.take_all() } else { Vec::new() };
        drop(state);
        drop(spent);
        if left.is_some() {
            self.flights.forget(&self.flight);
            wake_all(wakers);
        }
    }
}

/// A thread that waits.
struct Parked(thread::Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Load(_) => "Load",
            Self::Panicked => "Panicked",
            Self::OwnLoad => "OwnLoad",
        })
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(all(test, not(shuttle)))]
mod tests;
