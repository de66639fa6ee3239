//! What an entry is charged, and why a cache refuses one.

use std::fmt;

use crate::block::Hit;
use crate::shard::Shard;

/// What a heap adds to a block: a word before it, and room up to the next multiple of 16. So do the common ones.
const HEAP_WORD: usize = 8;
const HEAP_STEP: usize = 16;

/// How an entry is weighed. All entries that share a capacity should be weighed alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Weight {
    /// One unit, whatever its size: the capacity is a number of entries.
    Entry,
    /// The bytes of its key and its value; an entry without any is charged one.
    Payload,
    /// The bytes it really takes: its block as the heap rounds it, its place in the table and in the list, each
    /// counted as if the table and the list had just grown. What those are made of to begin with, some hundred
    /// bytes a shard, is in nobody's weight.
    Real,
    /// This many units; none is charged as one, since a capacity has to bound the number of entries as well.
    Units(u64),
}

impl Weight {
    /// What an entry of these lengths is charged in a `Cache<M>`. Never zero.
    pub fn units<M>(self, key_len: usize, value_len: usize) -> u64 {
        let units = match self {
            Self::Entry => 1,
            Self::Payload => key_len.saturating_add(value_len) as u64,
            Self::Real => real::<M>(key_len, value_len) as u64,
            Self::Units(units) => units,
        };
        units.max(1)
    }
}

fn real<M>(key_len: usize, value_len: usize) -> usize {
    let block = Hit::<M>::block_bytes(key_len, value_len).saturating_add(HEAP_WORD);
    block
        .checked_next_multiple_of(HEAP_STEP)
        .unwrap_or(usize::MAX)
        .saturating_add(Shard::<M>::BYTES_PER_ENTRY)
}

/// Why an entry was not stored. The cache is as it was, save where a variant says otherwise; above all, an older
/// entry of the same key is still there and still served: who knows it to be wrong removes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// It would not fit if the cache, or its region, were empty. Nothing was evicted.
    Oversize {
        /// What it would be charged.
        weight: u64,
        /// The capacity, or the limit of its region.
        limit: u64,
    },
    /// Everything that could be evicted was, and other inserts under way hold the rest of the capacity. Can only
    /// happen to entries that together come near to all of it.
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
    }

    #[test]
    fn the_real_weight_holds_the_payload_the_header_and_the_bookkeeping() {
        let (bare, full) = (Weight::Real.units::<()>(0, 0), Weight::Real.units::<()>(100, 1000));
        assert!((1100..=1100 + 16).contains(&(full - bare)));
        let meta = Weight::Real.units::<[u64; 4]>(0, 0) - bare;
        assert_eq!(meta, 32);
        // A header of 32 bytes in a heap's block of 48; twice a slot of 24; 12 in the table.
        assert_eq!(bare, 48 + 48 + 12);
    }
}
