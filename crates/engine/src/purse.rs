//! Units on their way from the budget into a shard's quota, or from one shard's quota into another's.

use crate::budget::Quota;

/// What a cache may take from: its own capacity, where it has one inside a shared budget, and the budget.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) own: Option<&'a Quota>,
    pub(crate) budget: &'a Quota,
}

impl Source<'_> {
    /// Takes what is free of `units`.
    fn take_free(&self, units: u64) -> u64 {
        let Some(own) = self.own else { return self.budget.take_free(units) };
        let within = own.take_free(units);
        let taken = self.budget.take_free(within);
        own.give(within - taken);
        taken
    }

    /// Takes units that were freed for this cache by another sharer, and are taken from the budget still: as many as
    /// its own capacity allows. The rest is given to the budget.
    fn adopt(&self, units: u64) -> u64 {
        let adopted = self.own.map_or(units, |own| if own.try_take(units) { units } else { 0 });
        self.budget.give(units - adopted);
        adopted
    }

    pub(crate) fn give(&self, units: u64) {
        if units > 0 {
            self.budget.give(units);
            self.own.iter().for_each(|own| own.give(units));
        }
    }
}

/// Units that are taken and belong to no shard. What is left is given back when it is dropped, so that no return and no
/// panic loses any.
pub(crate) struct Purse<'a> {
    source: Source<'a>,
    units: u64,
}

impl<'a> Purse<'a> {
    pub(crate) fn new(source: Source<'a>) -> Self {
        Self { source, units: 0 }
    }

    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// Takes what is free of `units`, and says whether that is all.
    pub(crate) fn take_free(&mut self, units: u64) -> bool {
        let taken = self.source.take_free(units);
        self.units += taken;
        taken == units
    }

    /// Holds units that came out of a shard's quota.
    pub(crate) fn absorb(&mut self, units: u64) {
        self.units += units;
    }

    /// Holds units that another sharer freed.
    pub(crate) fn adopt(&mut self, units: u64) {
        self.units += self.source.adopt(units);
    }

    /// All that is held goes into a shard's quota.
    pub(crate) fn spend(&mut self) -> u64 {
        std::mem::take(&mut self.units)
    }
}

impl Drop for Purse<'_> {
    fn drop(&mut self) {
        self.source.give(self.units);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_purse_takes_the_same_from_both_and_gives_back_what_it_did_not_spend() {
        let (own, budget) = (Quota::new(10), Quota::new(8));
        let source = Source { own: Some(&own), budget: &budget };
        let mut purse = Purse::new(source);
        assert!(purse.take_free(6));
        assert!(!purse.take_free(3), "the budget has no more than 8");
        assert_eq!((own.used(), budget.used(), purse.units()), (8, 8, 8));
        assert_eq!(purse.spend(), 8);
        own.give(4);
        budget.give(4);
        assert!(purse.take_free(2));
        drop(purse);
        assert_eq!((own.used(), budget.used()), (4, 4));
    }

    #[test]
    fn what_another_sharer_freed_is_kept_only_within_the_own_capacity() {
        let (own, budget) = (Quota::new(5), Quota::new(100));
        assert!(budget.try_take(10));
        let mut purse = Purse::new(Source { own: Some(&own), budget: &budget });
        purse.adopt(4);
        purse.adopt(3);
        assert_eq!((purse.units(), own.used(), budget.used()), (4, 4, 7));
    }
}
