//! Time as the engine sees it: exact when asked for, coarse on a hit.
//!
//! The only file that reads a clock or waits for one. A `Clock` is the system's, or one that a test or a simulator
//! advances by hand; both are concrete, since there will be no third. Any number of caches share one.
//!
//! A hit must not pay for reading the system's clock. It compares the entry's expiry with one atomic of coarse
//! time, which a small thread refreshes every few milliseconds while any cache of this clock holds an entry that
//! can still expire. Only within `MARGIN` of the expiry, by coarse time, does the hit ask the exact clock, or where coarse
//! time is older than the margin: that the processor's counter of cycles tells, for the thread may be late, stopped, or
//! left behind by a fork. So no entry is served past its moment, whatever becomes of the thread. It starts with the first
//! entry that has an expiry, parks when there is none left, and ends with the clock's last handle. It never touches a cache.

use std::fmt;
use std::ops::Add;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cycles::cycles;

/// How often coarse time is refreshed: often beside the margin, and seldom enough to cost nothing.
const TICK: Duration = Duration::from_millis(8);

/// How near to an expiry coarse time is no longer trusted, and how old it may be, in milliseconds. A thread of a busy
/// machine is late by some milliseconds often, by 100 seldom; the less the margin, the more hits ask the exact clock.
const MARGIN: u64 = 100;

/// A moment: milliseconds since its clock was made. Moments of two clocks have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The moment this many milliseconds after the clock was made.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock was made.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Rounded up to a millisecond, so that a short ttl is not none; a sum out of range is the last moment there is.
impl Add<Duration> for Time {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(millis))
    }
}

/// Where the time comes from. Cheap to clone; all clones are the same clock.
#[derive(Clone)]
pub struct Clock(Kind);

#[derive(Clone)]
enum Kind {
    System(Arc<Owner>),
    /// Nanoseconds since the clock was made.
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's monotonic clock, starting at zero now.
    ///
    /// Starts no thread yet: the first entry with an expiry does. If the system then refuses the thread, hits ask
    /// the exact clock instead, which is slower and as right.
    pub fn system() -> Self {
        Self(Kind::System(Arc::new(Owner(Arc::new(Ticker::new())))))
    }

    /// A clock that stands at zero and moves only by `advance`.
    pub fn manual() -> Self {
        Self(Kind::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// The exact time. For the system's clock, one system call's cost, some 25 ns.
    pub fn now(&self) -> Time {
        match &self.0 {
            Kind::System(owner) => owner.0.exact(),
            Kind::Manual(nanos) => Time(nanos.load(Ordering::Acquire) / 1_000_000),
        }
    }

    /// The exact time at an instant that was read already: costs nothing more. A manual clock shows its own time whenever it
    /// is asked.
    pub fn at(&self, instant: Instant) -> Time {
        match &self.0 {
            Kind::System(owner) => owner.0.at(instant),
            Kind::Manual(_) => self.now(),
        }
    }

    /// Moves a manual clock on.
    ///
    /// # Panics
    /// On a system clock: nobody moves that one.
    pub fn advance(&self, by: Duration) {
        let Kind::Manual(nanos) = &self.0 else { panic!("the system's clock cannot be advanced") };
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // A plain addition would wrap round to the past.
        let add = |now: u64| Some(now.saturating_add(by));
        let _ = nanos.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
    }

    /// Whether an entry that may be served until `expires` is past it. An entry's own moment is past.
    ///
    /// Only for moments that were announced by `watch`: else coarse time may stand still.
    pub(crate) fn is_past(&self, expires: Time) -> bool {
        match &self.0 {
            Kind::System(owner) => {
                // In this order: what is found fresh is the time that is read after it, or a later one.
                let is_trusted =
                    owner.0.is_fresh() && !needs_exact(owner.0.coarse.load(Ordering::Relaxed), expires);
                !is_trusted && owner.0.exact() >= expires
            }
            Kind::Manual(_) => self.now() >= expires,
        }
    }

    /// The time as of the last tick, where there is one that can be relied on; else the exact one.
    pub(crate) fn coarse(&self) -> Time {
        match &self.0 {
            Kind::System(owner) => owner.0.coarse_or_exact(),
            Kind::Manual(_) => self.now(),
        }
    }

    /// Somebody holds an entry with this expiry from now on: from the return on, coarse time moves.
    pub(crate) fn watch(&self, expires: Time) {
        if let Kind::System(owner) = &self.0 {
            owner.0.live.fetch_add(1, Ordering::SeqCst);
            owner.0.watch_until(expires);
        }
    }

    /// Somebody who watches already holds an entry with this expiry.
    pub(crate) fn watch_until(&self, expires: Time) {
        if let Kind::System(owner) = &self.0 {
            owner.0.watch_until(expires);
        }
    }

    /// One who watched holds no entry that expires any more.
    pub(crate) fn unwatch(&self) {
        if let Kind::System(owner) = &self.0 {
            owner.0.live.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, not(shuttle)))]
impl Clock {
    /// Whether no entry that could expire is announced.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.0, Kind::System(owner) if owner.0.idle())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::System(_) => "system",
            Kind::Manual(_) => "manual",
        };
        write!(f, "Clock({kind}, {:?})", self.now())
    }
}

/// Whether coarse time is too near to the expiry, or past it, to answer by itself.
fn needs_exact(coarse: u64, expires: Time) -> bool {
    coarse.saturating_add(MARGIN) >= expires.0
}

/// What the clones of a system clock share: the last of them ends the thread.
struct Owner(Arc<Ticker>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No thread yet.
    Fresh,
    /// The thread refreshes coarse time.
    Ticking,
    /// The thread waits to be woken.
    Parked,
    /// The last handle is gone; the thread ends when it sees this.
    Ending,
    /// The thread is past its last use of anything.
    Ended,
}

/// What the thread and the handles share.
struct Ticker {
    start: Instant,
    /// Milliseconds since `start`, at most a tick old while `ticking`. Written under `state`'s lock alone.
    /// `u64::MAX` when there is no thread to refresh it: then every hit asks the exact clock.
    coarse: AtomicU64,
    /// Up to this count of cycles coarse time is younger than the margin. Zero while the rate of cycles is not known.
    fresh_until: AtomicU64,
    /// The count of cycles at `start`.
    start_cycles: u64,
    /// Those who hold entries with an expiry, over all caches: shards.
    live: AtomicU64,
    /// The latest expiry ever announced, in milliseconds: past it nothing is left that could expire, though entries
    /// nobody asked for since may still lie there.
    latest: AtomicU64,
    /// Mirrors `state == Ticking`, to be read without its lock.
    ticking: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Ticker {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            coarse: AtomicU64::new(0),
            fresh_until: AtomicU64::new(0),
            start_cycles: cycles().unwrap_or(0),
            live: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            ticking: AtomicBool::new(false),
            state: Mutex::new(State::Fresh),
            changed: Condvar::new(),
        }
    }

    fn exact(&self) -> Time {
        self.at(Instant::now())
    }

    /// Nothing before the start.
    fn at(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.start);
        Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn coarse_or_exact(&self) -> Time {
        if self.is_fresh() { Time(self.coarse.load(Ordering::Relaxed)) } else { self.exact() }
    }

    /// Whether coarse time is younger than the margin.
    fn is_fresh(&self) -> bool {
        cycles().is_some_and(|cycles| cycles < self.fresh_until.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing of a caller's runs under this lock, so there is no poison to mind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sequentially consistent, against `park_if_idle`: the entry is announced before `ticking` is read, there `ticking` is
    /// cleared before the announcements are read; so one of the two sees the other.
    fn watch_until(self: &Arc<Self>, expires: Time) {
        self.latest.fetch_max(expires.0, Ordering::SeqCst);
        if !self.ticking.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(self: &Arc<Self>) {
        let mut state = self.lock();
        // Before `ticking` is set: whoever sees it set may rely on coarse time.
        self.refresh();
        match *state {
            State::Fresh => {
                let ticker = Arc::clone(self);
                let spawned = thread::Builder::new().name("carrot-clock".into()).spawn(move || ticker.run());
                if spawned.is_err() {
                    self.coarse.store(u64::MAX, Ordering::Relaxed);
                    return;
                }
            }
            State::Parked => self.changed.notify_all(),
            State::Ticking | State::Ending | State::Ended => return,
        }
        *state = State::Ticking;
        self.ticking.store(true, Ordering::SeqCst);
    }

    fn refresh(&self) {
        // Cycles first: what they promise is then rather too little.
        let now_cycles = cycles().unwrap_or(0);
        let now = self.exact();
        self.coarse.store(now.0, Ordering::Relaxed);
        // The first few milliseconds would give no good rate.
        let rate = if now.0 < 8 { 0 } else { now_cycles.saturating_sub(self.start_cycles) / now.0 };
        // A tenth less, for what the rate may be wrong. Release, against `is_fresh`: who trusts it sees the time it is for.
        let fresh = if rate == 0 { 0 } else { now_cycles + rate * (MARGIN * 9 / 10) };
        self.fresh_until.store(fresh, Ordering::Release);
    }

    fn idle(&self) -> bool {
        self.live.load(Ordering::SeqCst) == 0
            || self.latest.load(Ordering::SeqCst) <= self.coarse.load(Ordering::Relaxed)
    }

    /// The thread.
    fn run(&self) {
        let mut state = self.lock();
        loop {
            state = match *state {
                State::Ending => break,
                State::Ticking => {
                    self.refresh();
                    self.park_if_idle(&mut state);
                    if *state == State::Parked {
                        continue;
                    }
                    let waited = self.changed.wait_timeout(state, TICK);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                State::Fresh | State::Parked | State::Ended => {
                    self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        *state = State::Ended;
        self.changed.notify_all();
    }

    fn park_if_idle(&self, state: &mut State) {
        if !self.idle() {
            return;
        }
        self.ticking.store(false, Ordering::SeqCst);
        if self.idle() {
            *state = State::Parked;
            self.changed.notify_all();
        } else {
            // An insert came in between, and found us ticking.
            self.ticking.store(true, Ordering::SeqCst);
        }
    }

    fn end(&self) {
        *self.lock() = State::Ending;
        self.changed.notify_all();
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn ticker(clock: &Clock) -> Arc<Ticker> {
        match &clock.0 {
            Kind::System(owner) => Arc::clone(&owner.0),
            Kind::Manual(_) => panic!("a manual clock has no thread"),
        }
    }

    fn await_state(ticker: &Ticker, wanted: State) {
        let mut state = ticker.lock();
        while *state != wanted {
            state = ticker.changed.wait(state).unwrap();
        }
    }

    #[test]
    fn a_span_is_rounded_up_and_a_sum_out_of_range_is_the_last_moment() {
        let start = Time::from_millis(5);
        assert_eq!(start + Duration::from_nanos(1), Time::from_millis(6));
        assert_eq!(start + Duration::from_millis(7), Time::from_millis(12));
        assert_eq!(start + Duration::MAX, Time::from_millis(u64::MAX));
        assert_eq!((start + Duration::from_millis(7)).since(start), Duration::from_millis(7));
        assert_eq!(start.since(start + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn a_manual_clock_moves_by_hand_alone_and_adds_up_parts_of_a_millisecond() {
        let clock = Clock::manual();
        let same = clock.clone();
        clock.advance(Duration::from_micros(600));
        assert_eq!(same.now(), Time::from_millis(0));
        clock.advance(Duration::from_micros(600));
        assert_eq!(same.now(), Time::from_millis(1));
        clock.advance(Duration::MAX);
        clock.advance(Duration::from_secs(1));
        assert_eq!(same.now(), Time(u64::MAX / 1_000_000), "it stops at its end and does not wrap round");
    }

    #[test]
    fn coarse_time_answers_alone_only_when_the_expiry_is_further_off_than_the_margin() {
        let expires = Time::from_millis(1_000);
        assert!(!needs_exact(1_000 - MARGIN - 1, expires));
        assert!(needs_exact(1_000 - MARGIN, expires));
        assert!(needs_exact(1_000, expires));
        assert!(needs_exact(u64::MAX, expires), "without a thread every hit asks");
    }

    #[test]
    fn a_thread_that_is_late_does_not_make_an_entry_live_longer() {
        let clock = Clock::system();
        let ticker = ticker(&clock);
        while clock.now() < Time::from_millis(5) {
            thread::yield_now();
        }
        let expires = clock.now();
        // As if the thread had not run since just after the clock was made.
        assert!(ticker.coarse.load(Ordering::Relaxed) < expires.0);
        assert!(clock.is_past(expires));
        assert!(!clock.is_past(expires + Duration::from_hours(1)));
    }

    #[test]
    fn a_thread_that_has_stopped_does_not_make_an_entry_live_longer_either() {
        let clock = Clock::system();
        let ticker = ticker(&clock);
        clock.watch(clock.now() + Duration::from_hours(1));
        while clock.now() < Time::from_millis(20) || !ticker.is_fresh() {
            thread::yield_now();
        }
        // As if it had been stopped since: nobody refreshes while its lock is held.
        let state = ticker.lock();
        let stopped = ticker.coarse.load(Ordering::Relaxed);
        let expires = Time::from_millis(stopped + MARGIN + 10);
        assert!(!clock.is_past(expires));
        while clock.now() < expires {
            thread::yield_now();
        }
        assert_eq!(ticker.coarse.load(Ordering::Relaxed), stopped);
        assert!(!needs_exact(stopped, expires), "coarse time alone would say it is alive");
        assert!(clock.is_past(expires) && clock.coarse() >= expires);
        drop(state);
    }

    #[test]
    fn the_thread_starts_with_the_first_expiry_and_parks_when_the_last_such_entry_leaves() {
        let clock = Clock::system();
        let ticker = ticker(&clock);
        assert_eq!(*ticker.lock(), State::Fresh);
        for _ in 0..3 {
            clock.watch(clock.now() + Duration::from_hours(1));
            assert_eq!(*ticker.lock(), State::Ticking);
            let seen = ticker.coarse.load(Ordering::Relaxed);
            while ticker.coarse.load(Ordering::Relaxed) == seen {
                thread::yield_now();
            }
            clock.unwatch();
            await_state(&ticker, State::Parked);
        }
    }

    #[test]
    fn the_thread_parks_when_all_that_could_expire_has_expired_though_nobody_looked() {
        let clock = Clock::system();
        let ticker = ticker(&clock);
        let expires = clock.now() + Duration::from_millis(20);
        clock.watch(expires);
        await_state(&ticker, State::Parked);
        assert!(clock.now() >= expires);
        assert!(clock.is_past(expires));
    }

    #[test]
    fn a_parked_clock_shows_the_present_time_to_the_next_entry() {
        let clock = Clock::system();
        let ticker = ticker(&clock);
        clock.watch(clock.now());
        await_state(&ticker, State::Parked);
        let before = clock.now();
        clock.watch(before + Duration::from_hours(1));
        assert!(ticker.coarse.load(Ordering::Relaxed) >= before.0);
    }

    #[test]
    fn the_thread_ends_with_the_last_handle_whether_it_ticks_or_is_parked() {
        for ttl in [Duration::ZERO, Duration::from_hours(1)] {
            let clock = Clock::system();
            let ticker = ticker(&clock);
            clock.watch(clock.now() + ttl);
            if ttl.is_zero() {
                await_state(&ticker, State::Parked);
            }
            let other = clock.clone();
            drop(clock);
            assert_ne!(*ticker.lock(), State::Ended);
            drop(other);
            await_state(&ticker, State::Ended);
        }
    }
}
