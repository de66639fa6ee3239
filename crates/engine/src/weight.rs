//! What an entry is charged, and why a cache refuses one.

use std::fmt;

use crate::block::{Charge, Hit, MAX_KEY, MAX_VALUE, taken};
use crate::wheel::Wheel;
use crate::{ghosts, ring, table};

/// What an entry takes beside its block, at most: its word in the table, its place in a queue, its share of the ghosts.
const BOOKKEEPING: usize = table::BYTES_PER_ENTRY + ring::BYTES_PER_ENTRY + ghosts::BYTES_PER_ENTRY;

/// How an entry is weighed. All entries that share a capacity should be weighed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weight {
    /// One unit, whatever its size: the capacity is a number of entries.
    Entry,
    /// The bytes of its key and its value; an entry without any is charged one.
    Payload,
    /// The bytes it really takes: its block or its pages, as they are rounded, its places in the table and the queues,
    /// its share of the ghosts, each counted as if it had just grown. An entry that expires is charged its hint in the
    /// timing wheel as well. What an empty cache begins with, some hundred bytes a shard, is in nobody's weight.
    Real,
    /// This many units; none is charged as one, since a capacity has to bound the number of entries as well.
    Units(u64),
}

impl Weight {
    /// What an entry of these lengths is charged in a `Cache<M>`, if it does not expire. Never zero.
    pub fn units<M>(self, key_len: usize, value_len: usize) -> u64 {
        self.units_of::<M>(key_len, value_len, false)
    }

    pub(crate) fn units_of<M>(self, key_len: usize, value_len: usize, expires: bool) -> u64 {
        units::<M>(self.charge(), key_len, value_len, expires, false)
    }

    /// As `units_of`, of an entry whose value is a Rust value of this size, in a cache with no meta.
    pub(crate) fn units_of_value(self, key_len: usize, value_len: usize, expires: bool) -> u64 {
        units::<()>(self.charge(), key_len, value_len, expires, true)
    }

    /// As the block says it.
    pub(crate) fn charge(self) -> Charge {
        match self {
            // Told units take eight bytes in the block, and these need none.
            Self::Entry | Self::Units(0 | 1) => Charge::Entry,
            Self::Payload => Charge::Payload,
            Self::Real => Charge::Real,
            Self::Units(units) => Charge::Units(units),
        }
    }
}

fn units<M>(charge: Charge, key_len: usize, value_len: usize, expires: bool, is_value: bool) -> u64 {
    match charge {
        Charge::Entry => 1,
        Charge::Payload => (key_len.saturating_add(value_len) as u64).max(1),
        Charge::Real => real::<M>(key_len, value_len, expires, is_value),
        Charge::Units(units) => units,
    }
}

/// Apart, so that the others are the few instructions that they are.
#[inline(never)]
fn real<M>(key_len: usize, value_len: usize, expires: bool, is_value: bool) -> u64 {
    if key_len > MAX_KEY || value_len > MAX_VALUE {
        return u64::MAX;
    }
    let hint = if expires { Wheel::BYTES_PER_HINT } else { 0 };
    (taken::<M>(key_len, value_len, is_value) + BOOKKEEPING + hint) as u64
}

impl<M> Hit<M> {
    /// What the entry is charged, in the cache's units.
    pub fn weight(&self) -> u64 {
        let (key_len, value_len) = (self.key_len(), self.value_len());
        units::<M>(self.charge(), key_len, value_len, self.expires().is_some(), self.is_value())
    }
}

/// Why an entry was not stored. The cache is as it was, save where a variant says otherwise; above all, an older
/// entry of the same key is still there and still served: who knows it to be wrong removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It is more than an eighth of the capacity (by `Weight::Real`: its value is), or than its region's limit; or its
    /// key is 64 KiB or longer, or its value 4 GiB. Nothing was evicted.
    Oversize {
        /// What it would be charged.
        weight: u64,
        /// The most that one entry may be charged.
        limit: u64,
    },
    /// Everything that could be evicted was, and other inserts or reservations under way hold the rest of the capacity.
    NoRoom,
    /// `keep` said no.
    Unwanted,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversize { weight, limit } => {
                write!(f, "entry of weight {weight} is over the limit of {limit}")
            }
            Self::NoRoom => f.write_str("other inserts hold all the room there is"),
            Self::Unwanted => f.write_str("the entry is no longer wanted"),
        }
    }
}

impl std::error::Error for Refused {}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_weighing_counts_what_it_says_and_nothing_weighs_nothing() {
        assert_eq!(Weight::Entry.units::<()>(3, 1000), 1);
        assert_eq!(Weight::Payload.units::<()>(3, 1000), 1003);
        assert_eq!(Weight::Payload.units::<()>(0, 0), 1);
        assert_eq!(Weight::Units(9).units::<()>(3, 1000), 9);
        assert_eq!(Weight::Units(0).units::<()>(3, 1000), 1);
        assert_eq!(Weight::Payload.units::<()>(usize::MAX, 2), u64::MAX);
        assert_eq!(Weight::Real.units::<()>(1 << 16, 0), u64::MAX);
    }

    #[test]
    fn the_real_weight_holds_the_payload_the_header_and_the_bookkeeping() {
        let (bare, full) = (Weight::Real.units::<()>(0, 0), Weight::Real.units::<()>(100, 1000));
        assert!((1100..=1100 + 70).contains(&(full - bare)), "classes of 64 bytes there");
        let meta = Weight::Real.units::<[u64; 4]>(0, 0) - bare;
        assert_eq!(meta, 32);
        // A header of 24 bytes in a block of 32; 14 in the table, 10 in a queue, 11 for ghosts.
        assert_eq!(bare, 32 + 14 + 10 + 11);
        // A block of 32 or 48 for the header and the address, and 25 pages.
        assert_eq!(Weight::Real.units::<()>(100, 100_000), 32 + 25 * 4096 + 35);
    }
}
