//! Who answers for a key: its owner, and who stands in for the owner, as indices into the member list.
//!
//! Six bytes that are copied, so that placing a key allocates nothing. Made by `slots` and `ring`, which keep one
//! for each of their shares; never outlives the member list it counts in.

use std::fmt;

/// How many members a list may have: an index has 16 bits, and one of its values means nobody.
pub const MEMBERS_MAX: usize = u16::MAX as usize;

/// A member list longer than [`MEMBERS_MAX`]. Nothing was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{count} members are more than the {MEMBERS_MAX} that can be placed")]
pub struct TooManyMembers {
    /// How many the list has.
    pub count: usize,
}

/// The owner and up to two stand-ins of a key, all different, as indices into the list that was placed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ranks([u16; Ranks::KEPT]);

impl Ranks {
    /// An owner and two stand-ins. A third would be asked only while three members are down at once, and a load
    /// where the question arose serves as well then.
    pub(super) const KEPT: usize = 3;
    const FREE: u16 = u16::MAX;

    /// No one: the ranks of a list without members.
    pub(super) const NOBODY: Self = Self([Self::FREE; Self::KEPT]);

    /// The member that owns the key; `None` only where there are no members.
    #[inline]
    pub fn owner(self) -> Option<usize> {
        self.iter().next()
    }

    /// Who is asked instead while the owner cannot be reached, in this order; fewer than two in a small cluster.
    pub fn stand_ins(self) -> impl Iterator<Item = usize> {
        self.iter().skip(1)
    }

    /// The owner, then the stand-ins.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().take_while(|&member| member != Self::FREE).map(usize::from)
    }

    /// Gives the first free rank to `member`, which has none yet.
    ///
    /// # Panics
    /// When no rank is free.
    pub(super) fn push(&mut self, member: u16) {
        debug_assert!(member != Self::FREE && !self.contains(member), "{member} after {self:?}");
        self.0[self.len()] = member;
    }

    pub(super) fn contains(self, member: u16) -> bool {
        self.0.contains(&member)
    }

    pub(super) fn len(self) -> usize {
        // Written out, since a table is built by some million calls, also in a build without optimisation.
        match self.0 {
            [Self::FREE, ..] => 0,
            [_, Self::FREE, _] => 1,
            [_, _, Self::FREE] => 2,
            _ => Self::KEPT,
        }
    }
}

impl fmt::Debug for Ranks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The names as a list, unless there are more than can be counted.
pub(super) fn listed<N>(names: impl IntoIterator<Item = N>) -> Result<Vec<N>, TooManyMembers> {
    let names: Vec<N> = names.into_iter().collect();
    if names.len() <= MEMBERS_MAX { Ok(names) } else { Err(TooManyMembers { count: names.len() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_fill_from_the_owner_on() {
        let mut ranks = Ranks::NOBODY;
        assert_eq!(ranks.owner(), None);
        for member in [7, 0, 65534] {
            ranks.push(member);
        }
        assert_eq!(ranks.owner(), Some(7));
        assert_eq!(ranks.stand_ins().collect::<Vec<_>>(), [0, 65534]);
        assert_eq!(format!("{ranks:?}"), "[7, 0, 65534]");
    }

    #[test]
    fn a_list_that_indices_cannot_count_is_refused_with_its_length() {
        assert_eq!(listed(0..65_535).map(|names| names.len()), Ok(65_535));
        let refused = listed(0..65_536).unwrap_err();
        assert_eq!(refused.to_string(), "65536 members are more than the 65535 that can be placed");
    }
}
