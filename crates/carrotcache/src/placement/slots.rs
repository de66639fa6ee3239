//! The slots: 65,536 equal shares of all keys, and which member owns each. The default placement.
//!
//! Capped rendezvous hashing (Thaler and Ravishankar 1998). Each slot ranks the members by a hash of slot and
//! member, and goes to the first in its ranking that has room; a member keeps the slots that rank it best, and has
//! room for the mean and a twentieth. Slots that propose and members that keep their best is the stable matching of
//! Gale and Shapley 1962. Both sides go by the same hash here, so that the matching is unique and one pass in the
//! order of that hash finds it: nobody is ever given a slot and sent away later.
//!
//! Nor is every member hashed with every slot. A member's hash of a slot is the turn at which the slot comes in an
//! order of the member's own, a permutation that can be computed at any turn. So the turns are played one after the
//! other, each member bids for one slot in each, and the play ends when every slot has its ranks: 1.4 million bids
//! for 1000 members in place of 65 million hashes. Playing out whole permutations also spreads the slots more
//! evenly than independent hashes do. Maglev (Eisenbud and others 2016) plays the same way, but its members bid on
//! until they win a slot in each turn: perfect balance, for which one member more moves other members' slots.
//!
//! A pure function of the set of names, in integers only: every node computes the same table from the same list, in
//! whatever order it came. The table is therefore part of the wire between nodes, and held by golden owners. Built
//! aside, in some milliseconds, and never changed: a new list is a new table.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::placement::ranks::{Ranks, TooManyMembers, listed};

/// How many slots there are: a slot is 16 bits of a key's hash.
pub const SLOTS: usize = 1 << 16;

/// A group's name as placement knows it. Hashed once for each group, so that placing a key hashes the key alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupHash(u64);

impl GroupHash {
    /// The hash of the group of this name.
    pub fn of(group: &str) -> Self {
        Self(xxh3_64(group.as_bytes()))
    }
}

/// Of a slot without an owner; there are never so many members.
const NOBODY: u16 = u16::MAX;

/// Which member owns each slot, and who stands in for it. 512 KiB, whatever the number of members.
pub struct Slots {
    table: Box<[Ranks; SLOTS]>,
    /// The owners alone, which each get asks for: a third of the memory, so that it stays near.
    owners: Box<[u16]>,
}

impl Slots {
    /// The table of these members, in any order. Of equal names the last stands for all; the others own nothing.
    ///
    /// Costs some milliseconds of computing at any number of members: not for the path of a get.
    ///
    /// # Errors
    /// When there are more members than can be placed.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, TooManyMembers> {
        let bidders = bidders(&listed(names)?);
        let table = play(&bidders, room(bidders.len()));
        let owner = |ranks: &Ranks| ranks.owner().and_then(|owner| u16::try_from(owner).ok());
        let owners = table.iter().map(|ranks| owner(ranks).unwrap_or(NOBODY)).collect();
        Ok(Self { table, owners })
    }

    /// The slot of a key: the top 16 bits of its hash, seeded by its group. The same in every cluster and release.
    #[inline]
    pub fn slot(group: GroupHash, key: &[u8]) -> u16 {
        (xxh3_64_with_seed(key, group.0) >> 48) as u16
    }

    /// The owner of a slot, as in its ranks.
    #[inline]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let owner = self.owners[usize::from(slot)];
        (owner != NOBODY).then_some(owner.into())
    }

    /// The owner of a slot and its stand-ins: the members next in the slot's ranking, after which come those that
    /// were full.
    #[inline]
    pub fn ranks(&self, slot: u16) -> Ranks {
        self.table[usize::from(slot)]
    }

    /// Which part of the slots each of so many members owns.
    pub(super) fn shares(&self, members: usize) -> Vec<f64> {
        let mut owned = vec![0u32; members];
        for member in self.table.iter().filter_map(|ranks| ranks.owner()) {
            owned[member] += 1;
        }
        owned.into_iter().map(|slots| f64::from(slots) / SLOTS as f64).collect()
    }
}

/// One member, and the order in which it bids for the slots.
struct Bidder {
    /// Its index in the list.
    member: u16,
    /// The hash of its name, which picks the permutation.
    order: u64,
}

impl Bidder {
    /// The slot it bids for in this turn; over all turns each slot once.
    ///
    /// A Feistel network of four rounds over two bytes: a permutation whatever its rounds compute, and no table.
    fn slot_at(&self, turn: u16) -> u16 {
        // 2^64 over the golden ratio: multiplied by it, every bit of the hash reaches the top byte.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [mut left, mut right] = turn.to_be_bytes();
        for round in 0..4 {
            let keyed = self.order.rotate_left(16 * round) ^ u64::from(right);
            let [top, ..] = keyed.wrapping_mul(SPREAD).to_be_bytes();
            (left, right) = (right, left ^ top);
        }
        u16::from_be_bytes([left, right])
    }
}

/// The members by name: who bids first within a turn must not depend on the order of the list.
fn bidders<N: AsRef<str>>(names: &[N]) -> Vec<Bidder> {
    let mut listed: Vec<(&str, u16)> = names.iter().map(AsRef::as_ref).zip(0..).collect();
    listed.sort_unstable_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i)));
    listed.dedup_by_key(|(name, _)| *name);
    listed.into_iter().map(|(name, member)| Bidder { member, order: xxh3_64(name.as_bytes()) }).collect()
}

/// How many slots one of so many members may own: 1.05 times the mean, rounded up.
///
/// Less room would move more slots when members come and go; at 1.05 it is 1.0 times the least possible for ten
/// members, 1.4 times for a thousand.
fn room(members: usize) -> usize {
    (SLOTS * 105).div_ceil(members.max(1) * 100)
}

/// Plays the turns until each slot has its ranks. `room` is at least the mean, else some slots would find no owner.
fn play(bidders: &[Bidder], room: usize) -> Box<[Ranks; SLOTS]> {
    let mut table: Box<[Ranks; SLOTS]> =
        vec![Ranks::NOBODY; SLOTS].try_into().expect("the vector has ranks for each slot");
    let mut rooms = vec![room; bidders.len()];
    let wanted = bidders.len().min(Ranks::KEPT);
    let mut unsettled = SLOTS;
    // By the end of the first lap each member has bid for each slot, so that every slot has its owner. Only stand-ins
    // may be missing, where the members before the owner in a slot's ranking were full; the second lap takes them in
    // their order.
    for turn in (0..=u16::MAX).chain(0..=u16::MAX) {
        if unsettled == 0 {
            break;
        }
        for (bidder, room) in bidders.iter().zip(&mut rooms) {
            let ranks = &mut table[usize::from(bidder.slot_at(turn))];
            unsettled -= usize::from(bid(ranks, room, bidder.member, wanted));
        }
    }
    table
}

/// One bid for the slot of these ranks; whether it was the last that the slot wanted.
fn bid(ranks: &mut Ranks, room: &mut usize, member: u16, wanted: usize) -> bool {
    let before = ranks.len();
    if before == wanted || ranks.contains(member) {
        return false;
    }
    if before == 0 {
        if *room == 0 {
            return false;
        }
        *room -= 1;
    }
    ranks.push(member);
    before + 1 == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("http://10.0.0.{i}:8001")).collect()
    }

    /// The same table by the book: slots propose down their whole ranking, a full member sends its worst away.
    fn by_deferred_acceptance(names: &[String], room: usize) -> Vec<Vec<usize>> {
        let rankings = rankings(names);
        let mut owners = vec![usize::MAX; SLOTS];
        let mut kept = vec![std::collections::BTreeSet::new(); names.len()];
        let mut asked = vec![0; SLOTS];
        let mut free: Vec<usize> = (0..SLOTS).collect();
        while let Some(slot) = free.pop() {
            let (turn, _, member) = rankings[slot][asked[slot]];
            owners[slot] = member;
            asked[slot] += 1;
            kept[member].insert((turn, slot));
            if kept[member].len() > room {
                free.push(kept[member].pop_last().unwrap().1);
            }
        }
        (0..SLOTS)
            .map(|slot| {
                let after = &rankings[slot][asked[slot]..];
                let refused = &rankings[slot][..asked[slot] - 1];
                let stand_ins = after.iter().chain(refused).map(|&(_, _, member)| member);
                std::iter::once(owners[slot]).chain(stand_ins).take(3).collect()
            })
            .collect()
    }

    /// For each slot its members, the best first: by turn, then by name.
    fn rankings(names: &[String]) -> Vec<Vec<(u16, &str, usize)>> {
        let mut rankings = vec![Vec::new(); SLOTS];
        for bidder in bidders(names) {
            let member = usize::from(bidder.member);
            for turn in 0..=u16::MAX {
                rankings[usize::from(bidder.slot_at(turn))].push((turn, names[member].as_str(), member));
            }
        }
        for ranking in &mut rankings {
            ranking.sort_unstable();
        }
        rankings
    }

    #[test]
    fn the_owners_alone_are_those_of_the_ranks() {
        for names in [&[][..], &["a"], &["a", "b", "a"], &["a", "b", "c", "d"]] {
            let slots = Slots::new(names).unwrap();
            for slot in 0..=u16::MAX {
                assert_eq!(slots.owner(slot), slots.ranks(slot).owner(), "{names:?}, slot {slot}");
            }
        }
    }

    #[test]
    fn the_play_gives_the_table_that_deferred_acceptance_gives() {
        for count in [1, 2, 3, 4, 9, 40] {
            let names = names(count);
            // Without any room to spare some slots are refused by all members but one, which else hardly happens.
            for room in [room(count), SLOTS.div_ceil(count)] {
                let table = play(&bidders(&names), room);
                let expected = by_deferred_acceptance(&names, room);
                for (slot, (ranks, expected)) in table.iter().zip(&expected).enumerate() {
                    let found: Vec<usize> = ranks.iter().collect();
                    assert_eq!(&found, expected, "slot {slot} of {count} members with room for {room}");
                }
            }
        }
    }

    #[test]
    fn a_member_bids_for_each_slot_once() {
        for order in [0, 1, u64::MAX, xxh3_64(b"a")] {
            let bidder = Bidder { member: 0, order };
            let bids: std::collections::HashSet<u16> =
                (0..=u16::MAX).map(|turn| bidder.slot_at(turn)).collect();
            assert_eq!(bids.len(), SLOTS, "{order}");
        }
    }

    #[test]
    fn room_is_a_twentieth_over_the_mean_rounded_up() {
        let rooms = [1, 3, 10, 100, 1000, 65_535].map(room);
        assert_eq!(rooms, [68_813, 22_938, 6_882, 689, 69, 2]);
    }

    #[test]
    fn of_equal_names_the_last_stands_for_all() {
        let twice = Slots::new(["a", "b", "a"]).unwrap();
        let once = Slots::new(["b", "a"]).unwrap();
        for slot in 0..=u16::MAX {
            let expected: Vec<usize> = once.ranks(slot).iter().map(|member| member + 1).collect();
            assert_eq!(twice.ranks(slot).iter().collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn without_members_no_slot_has_an_owner() {
        let nobody = Slots::new::<&str>([]).unwrap();
        assert!((0..=u16::MAX).all(|slot| nobody.ranks(slot).owner().is_none()));
    }

    #[test]
    fn more_members_than_slots_can_serve_well_are_still_placed() {
        let names: Vec<String> = (0..65_535).map(|i| i.to_string()).collect();
        let slots = Slots::new(&names).unwrap();
        assert!((0..=u16::MAX).all(|slot| slots.ranks(slot).iter().count() == 3));
    }
}
