//! How much may be held: a counter that is never over its limit, and the budget that caches share.
//!
//! Room is reserved before anything is stored and given back after it left, so that the sum over all entries is
//! within the capacity at every instant and not only between calls. A budget knows its sharers weakly, to ask the
//! heaviest of them for room; it never keeps a cache alive, takes no shard's lock, and never holds its own lock
//! while it asks.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::sync::{AtomicU64, Mutex, Ordering};

/// A counter with a limit.
pub(crate) struct Quota {
    limit: u64,
    used: AtomicU64,
}

impl Quota {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: AtomicU64::new(0) }
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire)
    }

    /// Takes all of `units`, or nothing if they do not fit.
    fn try_take(&self, units: u64) -> bool {
        let mut used = self.used.load(Ordering::Relaxed);
        while let Some(more) = used.checked_add(units).filter(|&more| more <= self.limit) {
            // Acquire, against `give`: what left was uncounted everywhere before its room is used again.
            match self.used.compare_exchange_weak(used, more, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => used = now,
            }
        }
        false
    }

    pub(crate) fn give(&self, units: u64) {
        let before = self.used.fetch_sub(units, Ordering::AcqRel);
        debug_assert!(before >= units, "{units} units given back of {before}");
    }
}

/// Units on their way from one entry to another. What is not spent is given back when it is dropped, so that no
/// return and no panic loses any.
pub(crate) struct Room<'a> {
    quota: &'a Quota,
    need: u64,
    held: u64,
}

impl<'a> Room<'a> {
    /// Will need `need` units, and holds none yet.
    pub(crate) fn new(quota: &'a Quota, need: u64) -> Self {
        Self { quota, need, held: 0 }
    }

    /// How much is missing, after taking it from what is free, if that suffices.
    pub(crate) fn lacking(&mut self) -> u64 {
        let lack = self.need.saturating_sub(self.held);
        if lack == 0 || !self.quota.try_take(lack) {
            return lack;
        }
        self.held = self.need;
        0
    }

    /// Whether `more`, on top of what is held and what is free, is enough. Takes what is free as far as it needs to,
    /// so that the answer stays true.
    pub(crate) fn suffices_with(&mut self, more: u64) -> bool {
        let lack = self.lacking();
        if lack <= more {
            return true;
        }
        let taken = self.quota.try_take(lack - more);
        self.held += if taken { lack - more } else { 0 };
        taken
    }

    /// Holds the units of an entry that just left. They were not given back in between: nobody else can have them.
    pub(crate) fn absorb(&mut self, units: u64) {
        self.held += units;
    }

    /// The need is met, and what met it belongs to the entry from now on.
    pub(crate) fn spend(&mut self) {
        self.held = self.held.checked_sub(self.need).expect("spent only when nothing is lacking");
        self.need = 0;
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if self.held > 0 {
            self.quota.give(self.held);
        }
    }
}

/// A cache, as its budget sees it.
pub(crate) trait Sharer: Send + Sync {
    /// What its entries weigh.
    fn weight(&self) -> u64;

    /// Evicts entries until they weigh `need` or none is left, and says what they weighed. Those units stay taken
    /// from the budget: they are the caller's now.
    fn evict(&self, need: u64) -> u64;
}

/// A capacity shared by any number of caches: the sum of all their entries' weights never exceeds it.
///
/// Each cache evicts from its own entries first. One that holds less than an equal part of the capacity, or has
/// nothing of its own left, has the heaviest sharer evict instead, so that a cache which comes late to a full
/// budget is not starved by those which came early.
pub struct Budget {
    quota: Quota,
    sharers: Mutex<Vec<Weak<dyn Sharer>>>,
    /// How many caches share it now: `sharers` without those that are gone.
    count: AtomicU64,
}

impl Budget {
    /// A budget of this many units, whatever the caches' weights count: entries, or bytes.
    pub fn new(capacity: u64) -> Self {
        Self { quota: Quota::new(capacity), sharers: Mutex::new(Vec::new()), count: AtomicU64::new(0) }
    }

    /// The most that may be used.
    pub fn capacity(&self) -> u64 {
        self.quota.limit()
    }

    /// What is taken now: the weight of all entries of all sharers, and of inserts under way.
    pub fn used(&self) -> u64 {
        self.quota.used()
    }

    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// The part of each sharer, if all had the same; `None` if there is only one.
    pub(crate) fn equal_part(&self) -> Option<u64> {
        let count = self.count.load(Ordering::Relaxed);
        (count > 1).then(|| self.capacity() / count)
    }

    pub(crate) fn join(&self, sharer: Weak<dyn Sharer>) {
        self.sharers.lock().push(sharer);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// A sharer is being dropped: its handle is dead already. It has given back all it held.
    pub(crate) fn leave(&self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.sharers.lock().retain(|sharer| sharer.strong_count() > 0);
    }

    /// Has the other sharers evict for `asker`, heaviest first. Gives the units that were freed, still taken: less
    /// than `need` only if the others have nothing left.
    pub(crate) fn ask_others(&self, asker: *const (), need: u64) -> u64 {
        let mut others: Vec<(u64, Arc<dyn Sharer>)> =
            self.others(asker).into_iter().map(|sharer| (sharer.weight(), sharer)).collect();
        others.sort_by_key(|&(weight, _)| std::cmp::Reverse(weight));
        let mut got = 0;
        for (_, sharer) in others {
            if got >= need {
                break;
            }
            got += sharer.evict(need - got);
        }
        got
    }

    fn others(&self, asker: *const ()) -> Vec<Arc<dyn Sharer>> {
        let sharers = self.sharers.lock();
        let live = sharers.iter().filter_map(Weak::upgrade);
        live.filter(|sharer| Arc::as_ptr(sharer).cast::<()>() != asker).collect()
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget({} of {})", self.used(), self.capacity())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_quota_takes_all_or_nothing_and_never_more_than_its_limit() {
        let quota = Quota::new(10);
        assert!(quota.try_take(7));
        assert!(!quota.try_take(4));
        assert!(!quota.try_take(u64::MAX));
        assert_eq!(quota.used(), 7);
        assert!(quota.try_take(3));
        quota.give(10);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn room_that_is_not_spent_is_given_back_and_so_is_the_surplus_of_what_is() {
        let quota = Quota::new(10);
        let mut room = Room::new(&quota, 6);
        assert_eq!(room.lacking(), 0);
        assert_eq!(quota.used(), 6);
        drop(room);
        assert_eq!(quota.used(), 0);

        assert!(quota.try_take(9));
        let mut room = Room::new(&quota, 6);
        assert_eq!(room.lacking(), 6);
        room.absorb(8);
        assert_eq!(room.lacking(), 0);
        room.spend();
        drop(room);
        assert_eq!(quota.used(), 7, "the 1 that stayed and the 6 that were spent");
    }

    #[test]
    fn what_is_free_and_what_can_be_evicted_add_up() {
        let quota = Quota::new(10);
        assert!(quota.try_take(7));
        let mut room = Room::new(&quota, 6);
        assert!(!room.suffices_with(2));
        assert_eq!(quota.used(), 7, "nothing is taken in vain");
        assert!(room.suffices_with(4));
        assert_eq!(quota.used(), 9);
        assert!(!quota.try_take(2), "what the answer rests on is taken");
        room.absorb(4);
        assert_eq!(room.lacking(), 0);
    }

    #[test]
    fn threads_that_take_and_give_never_pass_the_limit() {
        let quota = Arc::new(Quota::new(3));
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let quota = Arc::clone(&quota);
                std::thread::spawn(move || {
                    for _ in 0..20_000 {
                        if quota.try_take(2) {
                            assert!(quota.used() <= 3);
                            quota.give(2);
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(quota.used(), 0);
    }

    struct Fake {
        held: AtomicU64,
    }

    impl Sharer for Fake {
        fn weight(&self) -> u64 {
            self.held.load(Ordering::Relaxed)
        }
        fn evict(&self, need: u64) -> u64 {
            let gone = need.min(self.weight());
            self.held.fetch_sub(gone, Ordering::Relaxed);
            gone
        }
    }

    #[test]
    fn the_heaviest_other_sharer_is_asked_first_and_the_asker_never() {
        let budget = Budget::new(100);
        let caches: Vec<Arc<Fake>> =
            [10, 60, 30].map(|held| Arc::new(Fake { held: AtomicU64::new(held) })).into();
        for cache in &caches {
            let weak: Weak<Fake> = Arc::downgrade(cache);
            budget.join(weak);
        }
        assert_eq!(budget.equal_part(), Some(33));
        let asker = Arc::as_ptr(&caches[2]).cast();
        assert_eq!(budget.ask_others(asker, 20), 20);
        assert_eq!(caches.iter().map(|cache| cache.weight()).collect::<Vec<_>>(), [10, 40, 30]);
        assert_eq!(budget.ask_others(asker, 70), 50);
        assert_eq!(caches.iter().map(|cache| cache.weight()).collect::<Vec<_>>(), [0, 0, 30]);
    }

    #[test]
    fn a_sharer_that_is_gone_is_forgotten() {
        let budget = Budget::new(100);
        let cache = Arc::new(Fake { held: AtomicU64::new(0) });
        let weak: Weak<Fake> = Arc::downgrade(&cache);
        budget.join(weak.clone());
        budget.join(weak);
        assert!(budget.equal_part().is_some());
        drop(cache);
        budget.leave();
        assert!(budget.equal_part().is_none());
        assert!(budget.sharers.lock().is_empty());
    }
}
