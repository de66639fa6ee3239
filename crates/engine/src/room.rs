//! Room for an entry: from what is free, from the entry's own shard, from other shards, from other sharers of the
//! budget.
//!
//! A shard's quota is what it has taken from the budget, and its entries weigh no more; so the sum of all weights is
//! within the capacity at every instant, and in steady use an insert that evicts writes nothing that shards share. A
//! shard has its fair part as soon as the cache is full: who has less takes from who has more. A heavy entry takes from
//! all.

use std::sync::{Arc, Weak};

use crate::budget::{Room, Sharer};
use crate::cache::Shared;
use crate::purse::{Purse, Source};
use crate::shard::{Coming, Leaving, Locked, Shard};
use crate::sync::Ordering;

/// A shard that has all but a sixteenth of its fair part is not poor: to be exact would cost more than it brings.
const POOR: u64 = 16;
/// What a shard may keep of its quota without a use for it, as a part of its fair part: so that entries of changing
/// weights do not have it go to the budget and back each time. Where that part is small, nothing is kept.
const SLACK: u64 = 64;
const SMALL: u64 = 1024 * 1024;

/// Where the room for an entry can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It is there.
    Free,
    /// It is there once the shard has evicted.
    Evict,
    /// Not in this shard.
    Elsewhere,
}

impl<M: Send + Sync + 'static> Shared<M> {
    /// The cache becomes one of the budget's sharers.
    pub(crate) fn join(self: &Arc<Self>) {
        let sharer: Arc<dyn Sharer> = Arc::clone(self) as Arc<dyn Sharer>;
        let weak: Weak<dyn Sharer> = Arc::downgrade(&sharer);
        self.budget.join(weak);
    }
}

impl<M> Shared<M> {
    /// Where the room for `weight` can come from, in place of `old` and beside the shard's other entries. What is free
    /// is taken, if it is enough, so that the answer stays true while the lock is held. `patient`: a shard that is poor
    /// rather looks elsewhere than evicts its own.
    pub(crate) fn fit(
        &self,
        shard: &Locked<'_, M>,
        purse: &mut Purse<'_>,
        weight: u64,
        old: u64,
        patient: bool,
    ) -> Fit {
        let after = (shard.weight() - old).saturating_add(weight);
        let has = shard.quota() + purse.units();
        if after <= has || purse.take_free(after - has) {
            return Fit::Free;
        }
        // What was free is held, be it too little: so much less has to be evicted.
        let has = shard.quota() + purse.units();
        if weight <= has && !(patient && self.is_poor(after)) {
            return Fit::Evict;
        }
        Fit::Elsewhere
    }

    /// Whether a shard that would weigh so much has less than its fair part, or its cache of a shared budget.
    fn is_poor(&self, weight: u64) -> bool {
        let of_cache = self.budget.equal_part().map_or(u64::MAX, |part| part >> self.shards.len().ilog2());
        let fair = self.fair.min(of_cache);
        weight < fair - fair / POOR
    }

    /// Gets units for a shard from wherever they are, and says whether the purse holds what it needs now. `needs` is
    /// what it cannot do without; `wants`, no less, what spares it an eviction.
    #[cold]
    pub(crate) fn gather(
        &self,
        home: usize,
        (needs, wants): (u64, u64),
        purse: &mut Purse<'_>,
        left: &mut Leaving<M>,
    ) -> bool {
        self.take_from_rich(home, wants, purse, left);
        if purse.units() < wants {
            let lack = wants - purse.units();
            if !purse.take_free(lack) && (purse.units() < needs || self.is_poor_sharer()) {
                let lack = wants - purse.units();
                purse.adopt(self.budget.ask_others(std::ptr::from_ref(self).cast(), lack));
            }
        }
        let mut round = 0;
        while purse.units() < needs && round < 3 {
            self.take_from_all(home, needs, round, purse, left);
            round += 1;
        }
        if purse.units() < needs {
            let lack = needs - purse.units();
            if !purse.take_free(lack) {
                let lack = needs - purse.units();
                purse.adopt(self.budget.ask_others(std::ptr::from_ref(self).cast(), lack));
            }
        }
        purse.units() >= needs
    }

    /// Whether this cache has less than its equal part of a shared budget.
    fn is_poor_sharer(&self) -> bool {
        let has = self.shards.iter().map(Shard::quota_hint).sum::<u64>();
        self.budget.equal_part().is_some_and(|part| has < part)
    }

    /// Those who have more than their fair part give what is too much.
    fn take_from_rich(&self, home: usize, wants: u64, purse: &mut Purse<'_>, left: &mut Leaving<M>) {
        let fair = self.fair;
        for at in self.shards_from(home) {
            if purse.units() >= wants {
                return;
            }
            if at != home && self.shards[at].quota_hint() > fair {
                let mut shard = self.shards[at].lock();
                let surplus = shard.quota().saturating_sub(fair);
                let units = surplus.min(wants - purse.units());
                purse.absorb(self.take_from(&mut shard, units, left));
            }
        }
    }

    /// All others give alike, at first; in the last round all they have.
    fn take_from_all(
        &self,
        home: usize,
        needs: u64,
        round: u32,
        purse: &mut Purse<'_>,
        left: &mut Leaving<M>,
    ) {
        let first = home + self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let others = (self.shards.len() as u64 - 1).max(1);
        let lack = needs - purse.units();
        let part = if round == 0 { lack.div_ceil(others) } else { lack };
        for at in self.shards_from(first) {
            if purse.units() >= needs {
                return;
            }
            if at != home {
                let units = part.min(needs - purse.units());
                purse.absorb(self.take_from(&mut self.shards[at].lock(), units, left));
            }
        }
    }

    /// What has expired leaves first, wherever room is made.
    pub(crate) fn expire(&self, shard: &mut Locked<'_, M>, left: &mut Leaving<M>) {
        shard.expire(self.ground(), &mut |expired| {
            self.release_minor(&expired);
            left.push(expired);
        });
    }

    /// Takes units out of a shard's quota, what is not in use first; gives how many. They may be more than were asked
    /// for, since entries leave as a whole, and what they held is of no use there.
    fn take_from(&self, shard: &mut Locked<'_, M>, units: u64, left: &mut Leaving<M>) -> u64 {
        self.expire(shard, left);
        let quota = shard.quota();
        let rest = quota.saturating_sub(units);
        while shard.weight() > rest
            && let Some(gone) = shard.evict(quota, Coming::default(), self.ground())
        {
            self.release_minor(&gone);
            left.push(gone);
        }
        shard.tidy(self.ground());
        shard.take_slack(0)
    }

    /// The numbers of all shards, from this one on.
    pub(crate) fn shards_from(&self, first: usize) -> impl Iterator<Item = usize> + use<M> {
        let count = self.shards.len();
        (first..first + count).map(move |shard| shard % count)
    }

    /// Evicts until there is room in the quota for `weight` more.
    pub(crate) fn evict_for(
        &self,
        shard: &mut Locked<'_, M>,
        weight: u64,
        coming: Coming,
        left: &mut Leaving<M>,
    ) {
        while shard.weight() + weight > shard.quota() {
            let gone = shard.evict(shard.quota(), coming, self.ground());
            let gone = gone.expect("an entry fits into its shard's quota, once all others have left");
            self.release_minor(&gone);
            left.push(gone);
        }
    }

    /// Gives back what the shard has no use for.
    pub(crate) fn give_slack(&self, shard: &mut Locked<'_, M>) {
        let fair = self.fair;
        let spare = if fair < SMALL { 0 } else { fair / SLACK };
        self.source().give(shard.take_slack(spare));
    }

    /// Evicts minor entries of a shard until the region has the room.
    pub(crate) fn evict_minor(&self, shard: &mut Locked<'_, M>, room: &mut Room<'_>, left: &mut Leaving<M>) {
        while room.lacking() > 0
            && let Some(gone) = shard.evict_minor(self.ground())
        {
            room.absorb(gone.hit.weight());
            left.push(gone);
        }
    }
}

impl<M: Send + Sync> Sharer for Shared<M> {
    /// What it could give: its shards' quotas.
    fn weight(&self) -> u64 {
        self.shards.iter().map(Shard::quota_hint).sum()
    }

    fn evict(&self, need: u64) -> u64 {
        let mut left = Leaving::new();
        let mut got = 0;
        let count = self.shards.len() as u64;
        let first = self.turn.fetch_add(1, Ordering::Relaxed) as usize % self.shards.len();
        // The same from each shard, else the first would be emptied before the next gives anything; then what is there.
        for part in [need.div_ceil(count), need] {
            for at in self.shards_from(first) {
                if got < need {
                    got += self.take_from(&mut self.shards[at].lock(), part.min(need - got), &mut left);
                }
            }
        }
        self.own.iter().for_each(|own| own.give(got));
        // Held meanwhile: where the listener panics, they go back to the budget.
        let mut freed = Purse::new(Source { own: None, budget: self.budget.quota() });
        freed.absorb(got);
        self.settle(left);
        freed.spend()
    }
}
