//! Placement: which member owns a key, and who stands in for it. A pure function of the member list.
//!
//! Two ways, chosen when a cluster is configured: [`Slots`], the default, and [`Ring`], which gives the owners that
//! the Go systems of the family give; which of their rings it is follows from the dialect, see [`Layout`]. Both take names and nothing else, so that nodes with the same list agree
//! without a word; both are built aside, owned by a view and swapped whole with it. Neither reads a clock, keeps a
//! history or looks at load: a choice by load would differ between two callers, and load the key twice.
//!
//! ```
//! use carrotcache::placement::{GroupHash, Placement, PlacementKind};
//!
//! let members = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];
//! let placement = Placement::new(PlacementKind::Ring, members)?;
//! let ranks = placement.place(GroupHash::of("scores"), b"Sam");
//! assert_eq!(ranks.owner().map(|owner| members[owner]), Some("http://localhost:8003"));
//! # Ok::<(), carrotcache::placement::TooManyMembers>(())
//! ```

mod md5;
mod ranks;
mod ring;
mod slots;

use std::fmt;
use std::str::FromStr;

pub use crate::placement::ranks::{MEMBERS_MAX, Ranks, TooManyMembers};
pub use crate::placement::ring::{POINTS, Ring, RingHash};
pub use crate::placement::slots::{GroupHash, SLOTS, Slots};

/// How keys are placed. The same on every node of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PlacementKind {
    /// 65,536 slots, spread evenly: see [`Slots`].
    #[default]
    Slots,
    /// A circle of points, as the family has it: see [`Ring`].
    Ring,
}

/// A text that names no placement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a placement: \"slots\" or \"ring\"")]
pub struct BadPlacement(String);

impl FromStr for PlacementKind {
    type Err = BadPlacement;
    fn from_str(text: &str) -> Result<Self, BadPlacement> {
        match text {
            "slots" => Ok(Self::Slots),
            "ring" => Ok(Self::Ring),
            _ => Err(BadPlacement(text.chars().take(40).collect())),
        }
    }
}

impl fmt::Display for PlacementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slots => "slots",
            Self::Ring => "ring",
        })
    }
}

/// Where a key falls, before anybody owns it. The same on every node of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Spot {
    /// One of the 65,536 slots.
    Slot(u16),
    /// A place on the circle; the next point at or after it is the owner's.
    Place(i64),
}

/// A placement in full: what users choose, and of a ring what it hashes with, which is the dialect's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// By slots.
    Slots,
    /// On a circle.
    Ring(RingHash),
}

/// The ring without a dialect that says otherwise is the seed's.
impl From<PlacementKind> for Layout {
    fn from(kind: PlacementKind) -> Self {
        match kind {
            PlacementKind::Slots => Self::Slots,
            PlacementKind::Ring => Self::Ring(RingHash::default()),
        }
    }
}

/// As it enters the hash of a view, by which nodes find out that they place keys alike.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slots => "slots",
            Self::Ring(RingHash::Crc32) => "ring",
            Self::Ring(RingHash::Fnv1) => "ring-fnv1",
        })
    }
}

/// The owners of all keys under one member list.
pub enum Placement {
    /// By slots.
    Slots(Slots),
    /// By one of the family's circles.
    Ring(Ring),
}

impl Placement {
    /// Places these members. Of equal names the last stands for all; the others own nothing.
    ///
    /// Costs some milliseconds of computing: not for the path of a get.
    ///
    /// # Errors
    /// When there are more members than [`MEMBERS_MAX`].
    pub fn new<N: AsRef<str>>(
        layout: impl Into<Layout>,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TooManyMembers> {
        match layout.into() {
            Layout::Slots => Slots::new(names).map(Self::Slots),
            Layout::Ring(hash) => Ring::new(hash, names).map(Self::Ring),
        }
    }

    /// Which of the two it is.
    pub fn kind(&self) -> PlacementKind {
        match self {
            Self::Slots(_) => PlacementKind::Slots,
            Self::Ring(_) => PlacementKind::Ring,
        }
    }

    /// Where a key falls.
    pub fn spot(&self, group: GroupHash, key: &[u8]) -> Spot {
        match self {
            Self::Slots(_) => Spot::Slot(Slots::slot(group, key)),
            Self::Ring(ring) => Spot::Place(ring.place(key)),
        }
    }

    /// Which part of all keys each of the `members` that were placed owns, by index, from 0 to 1.
    ///
    /// Walks the whole table, some ten thousand steps: for a person who asks, not for the path of a get.
    pub(crate) fn shares(&self, members: usize) -> Vec<f64> {
        match self {
            Self::Slots(slots) => slots.shares(members),
            Self::Ring(ring) => ring.shares(members),
        }
    }

    /// The owner of a key, as [`place`](Self::place) has it; from a smaller table, where there is one.
    #[inline]
    pub fn owner(&self, group: GroupHash, key: &[u8]) -> Option<usize> {
        match self {
            Self::Slots(slots) => slots.owner(Slots::slot(group, key)),
            Self::Ring(ring) => ring.ranks(ring.place(key)).owner(),
        }
    }

    /// The owner of a key and its stand-ins, as indices into the names. One hash of the key; no allocation.
    #[inline]
    pub fn place(&self, group: GroupHash, key: &[u8]) -> Ranks {
        match self {
            Self::Slots(slots) => slots.ranks(Slots::slot(group, key)),
            Self::Ring(ring) => ring.ranks(ring.place(key)),
        }
    }
}

/// The kind alone: a table is no reading matter.
impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slots(_) => "Placement::Slots",
            Self::Ring(_) => "Placement::Ring",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUTS: [Layout; 3] = [Layout::Slots, Layout::Ring(RingHash::Crc32), Layout::Ring(RingHash::Fnv1)];

    #[test]
    fn kinds_read_back_as_printed_and_others_are_refused_by_name() {
        for kind in [PlacementKind::Slots, PlacementKind::Ring] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let line = "Ring".parse::<PlacementKind>().unwrap_err().to_string();
        assert_eq!(line, "\"Ring\" is not a placement: \"slots\" or \"ring\"");
    }

    #[test]
    fn shares_add_up_to_all_keys_and_of_equal_names_the_last_has_them() {
        for kind in LAYOUTS {
            let shares = Placement::new(kind, ["a", "b", "a", "c"]).unwrap().shares(4);
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{kind}: {shares:?}");
            assert!(shares[0] == 0.0 && shares[1..].iter().all(|share| *share > 0.1), "{kind}: {shares:?}");
            assert_eq!(Placement::new(kind, ["a"]).unwrap().shares(1), [1.0], "{kind}");
            assert!(Placement::new::<&str>(kind, []).unwrap().shares(0).is_empty(), "{kind}");
        }
    }

    #[test]
    fn a_share_is_the_part_of_keys_that_a_member_is_given() {
        let names = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];
        for kind in LAYOUTS {
            let placement = Placement::new(kind, names).unwrap();
            let mut owned = [0.0; 3];
            for n in 0..20_000 {
                // The bytes that differ come first: FNV-1 puts keys that differ at their end alone beside each other.
                let key = format!("{n} key of a member");
                owned[placement.place(GroupHash::of("g"), key.as_bytes()).owner().unwrap()] += 1.0 / 20_000.0;
            }
            for (owned, share) in owned.into_iter().zip(placement.shares(3)) {
                // Five standard deviations of such a count are less than 0.018.
                assert!((owned - share).abs() < 0.02, "{kind}: {owned} of the keys, {share} of the space");
            }
        }
    }

    #[test]
    fn the_group_moves_a_key_among_slots_but_not_on_a_ring() {
        let names = ["a", "b", "c"];
        let [slots, crc, fnv] = LAYOUTS.map(|layout| Placement::new(layout, names).unwrap());
        let groups: Vec<GroupHash> = (0..20).map(|i| GroupHash::of(&format!("group-{i}"))).collect();
        let owners = |placement: &Placement| {
            groups
                .iter()
                .map(|&group| placement.place(group, b"Tom").owner())
                .collect::<std::collections::HashSet<_>>()
        };
        assert_eq!(owners(&slots).len(), 3);
        assert_eq!((owners(&crc).len(), owners(&fnv).len()), (1, 1));
    }
}
