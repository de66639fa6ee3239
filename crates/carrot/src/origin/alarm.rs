//! What ends a query that does not end by itself: its deadline, its caller's going away, or the closing of the origin.
//!
//! SQLite calls back while it computes and while it waits for a lock; each thread answers both from its own alarm.
//! A busy timeout would know only the waiting, and only from its beginning, and would not hear that the origin closes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The longest sleep between two tries for a lock.
const LONGEST_NAP: Duration = Duration::from_millis(25);

/// What the threads of one origin have in common.
#[derive(Debug, Default)]
pub struct Bell {
    closing: AtomicBool,
    lock_waits: AtomicU64,
}

impl Bell {
    /// Ends every query that runs and every one that begins from now on.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether the origin is closing.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// How often a query found the file locked by another program and waited.
    #[cfg(test)]
    pub fn lock_waits(&self) -> u64 {
        self.lock_waits.load(Ordering::Relaxed)
    }
}

/// One thread's alarm. Shared with the callbacks of its connection, which run on the same thread.
#[derive(Debug)]
pub struct Alarm {
    bell: Arc<Bell>,
    // Never contended; a mutex only because the callbacks must be `Send`.
    patience: Mutex<Patience>,
}

/// How long a query may run.
#[derive(Debug)]
struct Patience {
    deadline: Instant,
    /// Alive while somebody waits for the answer; `None`: what runs is nobody's, as when a file is opened at start.
    caller: Option<Weak<()>>,
}

impl Alarm {
    /// An alarm that rings at `deadline`, or when the bell says that the origin closes.
    pub fn new(bell: Arc<Bell>, deadline: Instant) -> Self {
        Self { bell, patience: Mutex::new(Patience { deadline, caller: None }) }
    }

    /// From now on rings at `deadline`, or when the caller is gone.
    pub fn set(&self, deadline: Instant, caller: Weak<()>) {
        *self.lock() = Patience { deadline, caller: Some(caller) };
    }

    /// Whether the origin is closing.
    pub fn is_closing(&self) -> bool {
        self.bell.is_closing()
    }

    /// Whether what runs has to end.
    pub fn rings(&self) -> bool {
        self.is_closing() || self.is_alone() || self.left().is_zero()
    }

    /// Sleeps before the next try for a lock, `tries` having failed. False when the waiting is over.
    pub fn wait_for_lock(&self, tries: i32) -> bool {
        if tries == 0 {
            self.bell.lock_waits.fetch_add(1, Ordering::Relaxed);
        }
        if self.rings() {
            return false;
        }
        std::thread::sleep(nap(tries).min(self.left()));
        true
    }

    fn is_alone(&self) -> bool {
        self.lock().caller.as_ref().is_some_and(|caller| caller.strong_count() == 0)
    }

    fn left(&self) -> Duration {
        self.lock().deadline.saturating_duration_since(Instant::now())
    }

    fn lock(&self) -> MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Short at first, since most writers hold their lock for a moment; then as long as SQLite's own waits are at most
/// for the first tenth of a second.
fn nap(tries: i32) -> Duration {
    let doubled = 1 << tries.clamp(0, 5);
    Duration::from_millis(doubled).min(LONGEST_NAP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarm(left: Duration) -> Alarm {
        Alarm::new(Arc::default(), Instant::now() + left)
    }

    #[test]
    fn an_alarm_rings_at_its_deadline_and_when_the_origin_closes() {
        let early = alarm(Duration::from_secs(3600));
        assert!(!early.rings());
        assert!(alarm(Duration::ZERO).rings());
        early.bell.close();
        assert!(early.rings());
    }

    #[test]
    fn a_wait_for_a_lock_is_counted_once_and_ends_with_the_alarm() {
        let alarm = alarm(Duration::from_secs(3600));
        assert!(alarm.wait_for_lock(0));
        assert!(alarm.wait_for_lock(1));
        assert_eq!(alarm.bell.lock_waits(), 1);
        alarm.set(Instant::now(), Weak::new());
        assert!(!alarm.wait_for_lock(2));
    }

    #[test]
    fn an_alarm_rings_when_its_caller_is_gone() {
        let alarm = alarm(Duration::from_secs(3600));
        let caller = Arc::new(());
        alarm.set(Instant::now() + Duration::from_secs(3600), Arc::downgrade(&caller));
        assert!(!alarm.rings());
        drop(caller);
        assert!(alarm.rings());
        assert!(!alarm.wait_for_lock(1));
    }

    #[test]
    fn naps_grow_and_stay_short() {
        let naps: Vec<u128> = [-1, 0, 1, 2, 3, 4, 5, 1000].map(|tries| nap(tries).as_millis()).into();
        assert_eq!(naps, [1, 1, 2, 4, 8, 16, 25, 25]);
    }
}
