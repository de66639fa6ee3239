//! Storing an entry: the room for it first, then `keep`, then the entry, all under its shard's lock.
//!
//! Room is taken from what is free, else from what the entry's own shard can evict: both are known before `keep` is
//! asked and used after it agreed, so a refused insert evicts nothing. Only if these do not suffice is the lock let
//! go and room made in other shards, or by other sharers of the budget, before `keep` is asked; that room is then
//! held, and cannot be lost to another insert. Units go from what leaves to what comes without passing through the
//! budget's free part, for the same reason.

use crate::block::Hit;
use crate::budget::{Room, Sharer};
use crate::cache::{Cache, Shared};
use crate::clock::Time;
use crate::lru::Region;
use crate::shard::{Left, Shard};
use crate::stats::Cause;
use crate::sync::Ordering;
use crate::weight::{Refused, Weight};

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// Stores a copy of `value` under a copy of `key`, in place of any older entry, unless `keep` says no.
    ///
    /// `keep` is asked once, under the lock of the key's shard and just before the entry is stored: a `remove` of
    /// this key comes wholly before it or wholly after. So a caller who notes a remove where `keep` looks, before
    /// calling `remove`, never has it undone by a late insert. `keep` must not call this cache; if it panics,
    /// nothing was stored. What a `get_with` is just loading for this key is then older, and not kept.
    ///
    /// The entry is served until just before `expires`, a moment of this cache's clock. Where it goes, major or
    /// minor region, is decided by `meta`. Costs one allocation and the copy, both outside the lock, also where
    /// `keep` then declines.
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
        let shared = &*self.shared;
        shared.insert(key, value, meta, weight, expires, || {
            let keeps = keep();
            if keeps && shared.flights.get().is_some() {
                // What a load of this key brings from now on is older than this.
                shared.detach(shared.hash(key), key);
            }
            keeps
        })
    }
}

impl<M: Copy + Send + Sync + 'static> Shared<M> {
    /// As `insert_if`, and loads of the key that are under way are not told.
    pub(crate) fn insert(
        &self,
        key: &[u8],
        value: &[u8],
        meta: M,
        weight: Weight,
        expires: Option<Time>,
        keep: impl FnOnce() -> bool,
    ) -> Result<Hit<M>, Refused> {
        let region = self.region(&meta);
        let weight = weight.units::<M>(key.len(), value.len());
        let mut left = Vec::new();
        let outcome = self.check_size(key, weight, region).and_then(|()| {
            let hit = Hit::new(key, value, meta, weight, expires);
            self.store(hit, region, keep, &mut left)
        });
        if let Err(refused) = &outcome {
            self.count_refusal(*refused);
        }
        self.settle(left);
        outcome
    }
}

/// The room one insert needs: of the whole, and of the minor region if it belongs there.
struct Rooms<'a> {
    whole: Room<'a>,
    minor: Room<'a>,
}

impl<M> Shared<M> {
    fn count_refusal(&self, refused: Refused) {
        let counter = match refused {
            Refused::Unwanted => &self.unwanted,
            Refused::Oversize { .. } | Refused::NoRoom => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn check_size(&self, key: &[u8], weight: u64, region: Region) -> Result<(), Refused> {
        let limit = match region {
            Region::Major => self.budget.capacity(),
            Region::Minor => self.budget.capacity().min(self.minor.limit()),
        };
        // A block counts its key in 32 bits.
        if weight > limit || u32::try_from(key.len()).is_err() {
            return Err(Refused::Oversize { weight, limit });
        }
        Ok(())
    }

    fn store(
        &self,
        hit: Hit<M>,
        region: Region,
        keep: impl FnOnce() -> bool,
        left: &mut Vec<Left<M>>,
    ) -> Result<Hit<M>, Refused> {
        let weight = hit.weight();
        let hash = self.hash(hit.key());
        let home = self.home(hash);
        let mut rooms = Rooms {
            whole: Room::new(self.budget.quota(), weight),
            minor: Room::new(&self.minor, if region == Region::Minor { weight } else { 0 }),
        };
        let mut shard = self.shards[home].lock();
        if !self.suffices(&shard, &mut rooms, weight) {
            drop(shard);
            self.make_room(home, weight, &mut rooms, left)?;
            shard = self.shards[home].lock();
        }
        if !keep() {
            return Err(Refused::Unwanted);
        }
        if let Some(old) = shard.take(hash, hit.key(), Cause::Replaced) {
            self.reuse(old, &mut rooms, left);
        }
        self.evict_minor(&mut shard, &mut rooms, left);
        self.evict_any(&mut shard, &mut rooms, left);
        rooms.minor.spend();
        rooms.whole.spend();
        self.weight.fetch_add(weight, Ordering::AcqRel);
        if let Some(expires) = hit.expires() {
            self.clock.watch(expires);
        }
        shard.put(hash, hit.clone(), region);
        Ok(hit)
    }

    /// Whether the room is there, if this shard gives all it has. What else it takes to that is taken.
    ///
    /// What the minor list gives counts for the whole as well, so the two demands do not add up.
    fn suffices(&self, shard: &Shard<M>, rooms: &mut Rooms<'_>, weight: u64) -> bool {
        let own = if self.is_under_part(weight) { 0 } else { shard.weight() };
        rooms.minor.suffices_with(shard.minor_weight()) && rooms.whole.suffices_with(own)
    }

    /// Whether this cache, with a new entry, is still within its equal part of a shared budget: then others evict.
    fn is_under_part(&self, weight: u64) -> bool {
        let after = self.weight.load(Ordering::Relaxed).saturating_add(weight);
        self.budget.equal_part().is_some_and(|part| after <= part)
    }

    /// Makes room wherever there is any: afterwards all that is needed is held.
    #[cold]
    fn make_room(
        &self,
        home: usize,
        weight: u64,
        rooms: &mut Rooms<'_>,
        left: &mut Vec<Left<M>>,
    ) -> Result<(), Refused> {
        for shard in self.shards_from(home) {
            self.evict_minor(&mut self.shards[shard].lock(), rooms, left);
        }
        if rooms.minor.lacking() > 0 {
            return Err(Refused::NoRoom);
        }
        if self.is_under_part(weight) {
            self.ask_others(rooms);
        }
        for shard in self.shards_from(home) {
            self.evict_any(&mut self.shards[shard].lock(), rooms, left);
        }
        self.ask_others(rooms);
        if rooms.whole.lacking() > 0 { Err(Refused::NoRoom) } else { Ok(()) }
    }

    fn ask_others(&self, rooms: &mut Rooms<'_>) {
        let lack = rooms.whole.lacking();
        if lack > 0 {
            rooms.whole.absorb(self.budget.ask_others(std::ptr::from_ref(self).cast(), lack));
        }
    }

    /// The numbers of all shards, from this one on.
    fn shards_from(&self, first: usize) -> impl Iterator<Item = usize> + use<M> {
        let count = self.shards.len();
        (first..first + count).map(move |shard| shard % count)
    }

    fn evict_minor(&self, shard: &mut Shard<M>, rooms: &mut Rooms<'_>, left: &mut Vec<Left<M>>) {
        while rooms.minor.lacking() > 0
            && let Some(evicted) = shard.evict_minor()
        {
            self.reuse(evicted, rooms, left);
        }
    }

    fn evict_any(&self, shard: &mut Shard<M>, rooms: &mut Rooms<'_>, left: &mut Vec<Left<M>>) {
        while rooms.whole.lacking() > 0
            && let Some(evicted) = shard.evict()
        {
            self.reuse(evicted, rooms, left);
        }
    }

    /// What an entry held becomes room for the new one.
    fn reuse(&self, gone: Left<M>, rooms: &mut Rooms<'_>, left: &mut Vec<Left<M>>) {
        self.discount(&gone);
        rooms.whole.absorb(gone.hit.weight());
        if gone.region == Region::Minor {
            rooms.minor.absorb(gone.hit.weight());
        }
        left.push(gone);
    }
}

impl<M: Send + Sync> Sharer for Shared<M> {
    fn weight(&self) -> u64 {
        self.weight.load(Ordering::Acquire)
    }

    fn evict(&self, need: u64) -> u64 {
        let mut left = Vec::new();
        let mut got = 0;
        // One entry from each shard in turn, else the first would be emptied before the next gives anything.
        loop {
            let before = left.len();
            let first = self.turn.fetch_add(1, Ordering::Relaxed) as usize % self.shards.len();
            for shard in self.shards_from(first) {
                if got < need
                    && let Some(gone) = self.shards[shard].lock().evict()
                {
                    self.discount(&gone);
                    self.release_minor(&gone);
                    got += gone.hit.weight();
                    left.push(gone);
                }
            }
            if got >= need || left.len() == before {
                break;
            }
        }
        self.settle(left);
        got
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(all(test, not(shuttle)))]
mod tests;
