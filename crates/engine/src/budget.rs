//! How much may be held: a counter that is never over its limit, and the budget that caches share.
//!
//! Room is reserved before anything is stored and given back after it left, so that the sum over all entries is
//! within the capacity at every instant and not only between calls. A budget knows its sharers weakly, to ask the
//! heaviest of them for room; it never keeps a cache alive, takes no shard's lock, and never holds its own lock
//! while it asks. What is in no cache yet, a value on its way, takes its units by `Budget::reserve`.

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
    pub(crate) fn try_take(&self, units: u64) -> bool {
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

    /// Takes what is free of `units`, and gives how much that was. Writes nothing where nothing is free.
    pub(crate) fn take_free(&self, units: u64) -> u64 {
        let free = |used: u64| units.min(self.limit.saturating_sub(used));
        let taken = |used| (free(used) > 0).then(|| used + free(used));
        self.used.fetch_update(Ordering::AcqRel, Ordering::Relaxed, taken).map_or(0, free)
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

    /// Takes of what is free as much as is missing, and gives what is missing then.
    fn lacking_after_free(&mut self) -> u64 {
        self.held += self.quota.take_free(self.need.saturating_sub(self.held));
        self.need.saturating_sub(self.held)
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

    /// Takes units for something that is in no cache, until what is given back is dropped.
    ///
    /// From what is free, else sharers evict, the heaviest first; what entries cannot make room for evicts none of
    /// them. Not to be called where an insert asks `keep`: that holds a lock which an eviction takes.
    ///
    /// # Errors
    /// When even that is not enough. Nothing is taken then.
    pub fn reserve(self: &Arc<Self>, units: u64) -> Result<Reserved, Full> {
        self.take(units)?;
        Ok(Reserved { budget: Arc::clone(self), units })
    }

    fn take(&self, units: u64) -> Result<(), Full> {
        if self.quota.try_take(units) {
            return Ok(());
        }
        let full = || Full { units, capacity: self.capacity() };
        if units > self.obtainable() {
            return Err(full());
        }
        let mut room = Room::new(&self.quota, units);
        let lack = room.lacking_after_free();
        if lack > 0 {
            room.absorb(self.ask_others(std::ptr::null(), lack));
        }
        // Others may have taken or left room meanwhile.
        if room.lacking_after_free() > 0 {
            return Err(full());
        }
        room.spend();
        Ok(())
    }

    /// What is free now or held by entries.
    fn obtainable(&self) -> u64 {
        // Read in turn: what moves between two of these may be missed, and is worth little unless all but nothing is
        // left.
        let held: u64 = self.others(std::ptr::null()).iter().map(|sharer| sharer.weight()).sum();
        held.saturating_add(self.capacity().saturating_sub(self.used()))
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
        // Held meanwhile: where a listener panics, what was freed before goes back.
        let mut got = Room::new(&self.quota, need);
        for (_, sharer) in others {
            if got.held >= need {
                break;
            }
            got.absorb(sharer.evict(need - got.held));
        }
        std::mem::take(&mut got.held)
    }

    fn others(&self, asker: *const ()) -> Vec<Arc<dyn Sharer>> {
        let sharers = self.sharers.lock();
        let live = sharers.iter().filter_map(Weak::upgrade);
        live.filter(|sharer| Arc::as_ptr(sharer).cast::<()>() != asker).collect()
    }
}

/// Units of a budget that belong to no cache: see `Budget::reserve`. They are given back when it is dropped.
pub struct Reserved {
    budget: Arc<Budget>,
    units: u64,
}

impl Reserved {
    /// What it holds.
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Takes so many units more, as `Budget::reserve` does.
    ///
    /// # Errors
    /// When they cannot be had; what it holds it keeps.
    pub fn grow(&mut self, more: u64) -> Result<(), Full> {
        self.budget.take(more)?;
        // Within the capacity, as all that is taken is.
        self.units += more;
        Ok(())
    }

    /// Gives back all but `units`; nothing if it holds no more than that.
    pub fn shrink_to(&mut self, units: u64) {
        let surplus = self.units.saturating_sub(units);
        self.units -= surplus;
        self.budget.quota.give(surplus);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({} of {:?})", self.units, self.budget)
    }
}

/// A budget has no room, whatever its caches evict. Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Full {
    /// What was asked for.
    pub units: u64,
    /// The budget's capacity.
    pub capacity: u64,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no room for {} units in a budget of {}", self.units, self.capacity)
    }
}

impl std::error::Error for Full {}

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

    /// A budget of 100 with a cache of each weight.
    fn shared_by(weights: &[u64]) -> (Arc<Budget>, Vec<Arc<Fake>>) {
        let budget = Arc::new(Budget::new(100));
        let caches: Vec<Arc<Fake>> =
            weights.iter().map(|held| Arc::new(Fake { held: AtomicU64::new(*held) })).collect();
        for cache in &caches {
            assert!(budget.quota.try_take(cache.weight()));
            let weak: Weak<Fake> = Arc::downgrade(cache);
            budget.join(weak);
        }
        (budget, caches)
    }

    #[test]
    fn what_is_reserved_comes_from_what_is_free_and_then_from_the_heaviest() {
        let (budget, caches) = shared_by(&[20, 70]);
        let weights = || caches.iter().map(|cache| cache.weight()).collect::<Vec<_>>();
        let mut first = budget.reserve(4).unwrap();
        assert_eq!((weights(), budget.used()), (vec![20, 70], 94));
        first.grow(10).unwrap();
        assert_eq!((first.units(), weights(), budget.used()), (14, vec![20, 66], 100));
        let second = budget.reserve(80).unwrap();
        assert_eq!((weights(), budget.used()), (vec![6, 0], 100));
        first.shrink_to(20);
        first.shrink_to(9);
        assert_eq!((first.units(), budget.used()), (9, 95));
        drop(second);
        drop(first);
        assert_eq!(budget.used(), 6);
    }

    #[test]
    fn what_cannot_be_had_evicts_nothing_and_leaves_what_is_held() {
        let (budget, caches) = shared_by(&[50]);
        let mut held = budget.reserve(30).unwrap();
        for units in [71, 100, 101, u64::MAX] {
            assert_eq!(budget.reserve(units).unwrap_err(), Full { units, capacity: 100 });
            assert_eq!(held.grow(units).unwrap_err().units, units);
        }
        assert_eq!((held.units(), caches[0].weight(), budget.used()), (30, 50, 80));
        held.grow(70).unwrap();
        assert_eq!((held.units(), caches[0].weight(), budget.used()), (100, 0, 100));
        assert_eq!(budget.reserve(1).unwrap_err().to_string(), "no room for 1 units in a budget of 100");
        assert_eq!(budget.reserve(0).unwrap().units(), 0);
    }

    #[test]
    fn threads_that_reserve_never_pass_the_capacity_and_lose_nothing() {
        let (budget, caches) = shared_by(&[60, 40]);
        let threads: Vec<_> = (0..4_u64)
            .map(|thread| {
                let budget = Arc::clone(&budget);
                std::thread::spawn(move || {
                    for round in 0..5000 {
                        let Ok(mut held) = budget.reserve(thread * 7 + round % 20) else { continue };
                        let grown = held.grow(round % 11).is_ok();
                        held.shrink_to(held.units() / 2);
                        assert!(budget.used() <= 100, "{grown}");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(budget.used(), caches.iter().map(|cache| cache.weight()).sum::<u64>());
    }

    #[test]
    fn what_is_reserved_may_go_to_another_thread() {
        fn is_free<T: Send + Sync>() {}
        is_free::<Reserved>();
    }
}
