//! Storing an entry: the room for it first, then `keep`, then the entry, all under its shard's lock.
//!
//! Room is taken from what is free, else from what the entry's own shard can evict: both are known before `keep` is
//! asked and used after it agreed, so a refused insert evicts nothing. Only if these do not suffice is the lock let
//! go and room made elsewhere (`room`), before `keep` is asked; that room is then held, and cannot be lost to another
//! insert.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::block::{Charge, Hit, MAX_KEY, MAX_VALUE, Parts};
use crate::budget::Room;
use crate::cache::{Cache, Shared};
use crate::clock::Time;
use crate::purse::Purse;
use crate::room::Fit;
use crate::shard::{Leaving, Locked, Older};
use crate::sync::Ordering;
use crate::weight::{Refused, Weight};

/// How often an insert looks for room elsewhere, before it says that there is none: others may be as busy.
const TRIES: u32 = 8;

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// Stores a copy of `value` under a copy of `key`, in place of any older entry, unless `keep` says no.
    ///
    /// `keep` is asked once, under the lock of the key's shard and just before the entry is stored: a `remove` of
    /// this key comes wholly before it or wholly after. So a caller who notes a remove where `keep` looks, before
    /// calling `remove`, never has it undone by a late insert. `keep` must not call this cache, nor reserve of its
    /// budget; if it panics, nothing was stored. What a `get_with` is just loading for this key is then older, and not
    /// kept.
    ///
    /// The entry is served until just before `expires`, a moment of this cache's clock. Where it goes, major or
    /// minor region, is decided by `meta`. Costs one block and the copy, both outside the lock, also where `keep` then
    /// declines.
    ///
    /// # Errors
    /// See `Refused`; an older entry of this key is left as it was. Only where room had to be made outside the key's
    /// own shard may entries, also that one, have been evicted although `keep` then declined.
    pub fn insert_if(
        &self,
        key: &[u8],
        value: &[u8],
        meta: M,
        weight: Weight,
        expires: Option<Time>,
        keep: impl FnOnce() -> bool,
    ) -> Result<Hit<M>, Refused> {
        self.insert_over(key, value, meta, weight, expires, |_| keep())
    }
}

impl<M> Shared<M> {
    /// What a load of this key brings from now on is older than what is about to be stored. Under the shard's lock.
    pub(crate) fn supersede(&self, key: &[u8]) {
        if self.flights.get().is_some() {
            self.detach(self.keys.hash(key), key);
        }
    }
}

impl<M: Copy + Send + Sync + 'static> Shared<M> {
    /// As `insert_over`, and loads of the key that are under way are not told.
    pub(crate) fn insert(
        &self,
        key: &[u8],
        value: &[u8],
        meta: M,
        weight: Weight,
        expires: Option<Time>,
        keep: impl FnOnce(Option<&Older>) -> bool,
    ) -> Result<Hit<M>, Refused> {
        let minor = self.is_minor(&meta);
        let charge = weight.charge();
        let parts = Parts { key, value, meta, charge, expires, minor, is_value: false };
        let units = weight.units_of::<M>(key.len(), value.len(), expires.is_some());
        let size = Size { key_len: key.len(), value_len: value.len(), charge, minor, weight: units };
        self.insert_made(&size, || Hit::new_in(&self.arena, &parts), keep)
    }

    /// As `insert`, of an entry of this size, whose block is made if it is not too large. What `make` holds, and the
    /// block, are dropped outside all locks.
    pub(crate) fn insert_made(
        &self,
        size: &Size,
        make: impl FnOnce() -> Hit<M>,
        keep: impl FnOnce(Option<&Older>) -> bool,
    ) -> Result<Hit<M>, Refused> {
        if let Err(refused) = self.check_size(size) {
            self.count_refusal(refused);
            return Err(refused);
        }
        let hit = make();
        debug_assert_eq!(hit.weight(), size.weight);
        let mut settling = Settling { shared: self, left: Leaving::new() };
        let stored = self.store(&hit, keep, &mut settling.left);
        if let Err(refused) = stored {
            self.count_refusal(refused);
        }
        self.settle(settling.left.take());
        stored.map(|()| hit)
    }
}

/// What left by an insert. It is told of also where `keep`, or the listener of another cache, panics in between.
struct Settling<'a, M> {
    shared: &'a Shared<M>,
    left: Leaving<M>,
}

impl<M> Drop for Settling<'_, M> {
    fn drop(&mut self) {
        if !self.left.is_empty() {
            let left = self.left.take();
            // One panic is under way already, and is the caller's.
            let _ = catch_unwind(AssertUnwindSafe(|| self.shared.settle(left)));
        }
    }
}

/// What tells whether an entry is too large.
pub(crate) struct Size {
    pub(crate) key_len: usize,
    pub(crate) value_len: usize,
    pub(crate) charge: Charge,
    pub(crate) minor: bool,
    pub(crate) weight: u64,
}

impl<M> Shared<M> {
    fn count_refusal(&self, refused: Refused) {
        let counter = match refused {
            Refused::Unwanted => &self.unwanted,
            Refused::Oversize { .. } | Refused::NoRoom => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// By its real weight, an entry is an eighth of the capacity if its value is: what comes on top of that is ours.
    fn check_size(&self, size: &Size) -> Result<(), Refused> {
        let &Size { key_len, value_len, charge, minor, weight } = size;
        let largest = self.largest();
        let part = if charge == Charge::Real { value_len as u64 } else { weight };
        let limit = if minor { largest.min(self.minor.limit()) } else { largest };
        let fits = part <= largest && weight <= self.capacity && (!minor || weight <= self.minor.limit());
        if !fits || key_len > MAX_KEY || value_len > MAX_VALUE {
            return Err(Refused::Oversize { weight, limit });
        }
        Ok(())
    }
}

impl<M: Copy + Send + Sync + 'static> Shared<M> {
    fn store(
        &self,
        hit: &Hit<M>,
        keep: impl FnOnce(Option<&Older>) -> bool,
        left: &mut Leaving<M>,
    ) -> Result<(), Refused> {
        let weight = hit.weight();
        let hash = self.keys.hash(hit.key());
        let home = self.home(hash);
        let mut purse = Purse::new(self.source());
        let mut minor = Room::new(&self.minor, if hit.is_minor() { weight } else { 0 });
        let room = self.lock_with_room(home, hash, hit, &mut purse, &mut minor, left);
        let Some((mut shard, fit, older)) = room else {
            // What expired meanwhile left room that nobody here has a use for.
            self.give_slack(&mut self.shards[home].lock());
            return Err(Refused::NoRoom);
        };
        if !keep(older.as_ref()) {
            self.give_slack(&mut shard);
            return Err(Refused::Unwanted);
        }
        let quota = shard.quota() + purse.spend();
        shard.set_quota(quota);
        let share = if fit == Fit::Free { self.fair.max(quota) } else { quota };
        minor.absorb(older.as_ref().map_or(0, Older::minor));
        match older {
            // The same entry with another value stays where it is.
            Some(older) if older.is_minor == hit.is_minor() && older.weight >= weight => {
                left.push(shard.replace(hash, hit, &older, self.ground()));
            }
            older => {
                let admitted = shard.admit(hash, hit, older.as_ref(), share);
                self.evict_minor(&mut shard, &mut minor, left);
                self.evict_for(&mut shard, weight, admitted.coming(weight), left);
                shard.enter(hash, hit, &admitted, self.ground()).into_iter().for_each(|old| left.push(old));
                if fit == Fit::Free {
                    shard.fill(share);
                }
            }
        }
        minor.spend();
        self.give_slack(&mut shard);
        shard.tidy(self.ground());
        Ok(())
    }

    /// The key's shard, locked, with the room for the entry in reach: held, or to be evicted there. `None`: there is
    /// none.
    fn lock_with_room(
        &self,
        home: usize,
        hash: u64,
        hit: &Hit<M>,
        purse: &mut Purse<'_>,
        minor: &mut Room<'_>,
        left: &mut Leaving<M>,
    ) -> Option<(Locked<'_, M>, Fit, Option<Older>)> {
        let weight = hit.weight();
        for tried in 0..TRIES {
            let mut shard = self.shards[home].lock();
            shard.prefetch(hash);
            self.expire(&mut shard, left);
            let older = shard.older(hash, hit.key());
            let old = older.as_ref().map_or(0, |older| older.weight);
            let has_minor = minor.suffices_with(shard.minor_weight());
            let fit = self.fit(&shard, purse, weight, old, tried == 0);
            if has_minor && fit != Fit::Elsewhere {
                return Some((shard, fit, older));
            }
            let has = shard.quota() + purse.units();
            let after = shard.weight() - old + weight;
            drop(shard);
            if !has_minor {
                for at in self.shards_from(home) {
                    let mut other = self.shards[at].lock();
                    self.expire(&mut other, left);
                    self.evict_minor(&mut other, minor, left);
                    self.give_slack(&mut other);
                }
                if minor.lacking() > 0 {
                    return None;
                }
            }
            if fit == Fit::Elsewhere {
                let needs = purse.units() + weight.saturating_sub(has);
                let wants = purse.units() + after.saturating_sub(has);
                self.gather(home, (needs, wants), purse, left).then_some(())?;
            }
        }
        None
    }
}
#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(all(test, not(shuttle)))]
mod tests;
