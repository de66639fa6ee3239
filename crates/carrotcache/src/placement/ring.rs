//! The rings: the placements of the Go systems of the family, with the same owners.
//!
//! Every member has 50 points on a circle of numbers, each the hash of the point's number in decimal and the member's
//! string; a key's place is a hash of the key, and the next point at or after it is the owner's. [`RingHash`] says
//! which hashes. As golang/groupcache, carrotCache, mailgun's fork and groupcache-go do it, down to three oddities:
//! where two points coincide the member added last has it, so that the order of the list matters; the group does not
//! enter the hash; and numbers are compared as Go's `int`, so that a 64-bit hash with its highest bit set comes before
//! all without. (groupcache-go leaves open whose a shared point is; here it is no other than in mailgun's.) Where we
//! differ: stand-ins, of which they have none, are the next other members on the circle.
//!
//! For clusters with Go peers in them; `slots` spreads better (of a thousand members, the CRC-32 ring's fullest owns
//! 1.5 to 2.5 times its share) and is quicker to ask. Owned by a view, built aside and never changed.

use std::collections::HashSet;

use crate::placement::md5;
use crate::placement::ranks::{Ranks, TooManyMembers, listed};

/// How many points a member has, as in the family.
pub const POINTS: usize = 50;

/// What a ring hashes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RingHash {
    /// CRC-32 (IEEE), of points and of keys: golang/groupcache and carrotCache.
    #[default]
    Crc32,
    /// 64-bit FNV-1, of a point's MD5 in hex and of the key itself: mailgun's fork and groupcache-go.
    ///
    /// Keys that differ in their last byte alone are close together on it, and mostly have one owner: for such peers
    /// only.
    Fnv1,
}

impl RingHash {
    /// A key's place on the circle.
    #[inline]
    pub fn place(self, key: &[u8]) -> i64 {
        match self {
            Self::Crc32 => i64::from(crc32fast::hash(key)),
            Self::Fnv1 => fnv1(key).cast_signed(),
        }
    }

    /// How many places there are on the circle.
    fn circle(self) -> f64 {
        match self {
            Self::Crc32 => 2f64.powi(32),
            Self::Fnv1 => 2f64.powi(64),
        }
    }

    /// The place of a member's point.
    fn point(self, number: usize, name: &str) -> i64 {
        let text = format!("{number}{name}");
        match self {
            Self::Crc32 => self.place(text.as_bytes()),
            Self::Fnv1 => self.place(md5::hex(text.as_bytes()).as_bytes()),
        }
    }
}

/// FNV-1 with 64 bits: multiplies first. (FNV-1a, which is the more usual one, multiplies last.)
fn fnv1(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, &byte| hash.wrapping_mul(PRIME) ^ u64::from(byte))
}

/// The points of all members in their order on the circle. 14 bytes a point.
pub struct Ring {
    hash: RingHash,
    /// Where the points are, ascending, each place once.
    places: Box<[i64]>,
    /// For each point whose it is, and which members come next.
    ranks: Box<[Ranks]>,
}

impl Ring {
    /// The ring of these members, hashed exactly as they are spelled, in the order in which they were added. Of
    /// equal names the last stands for all; the others own nothing.
    ///
    /// # Errors
    /// When there are more members than can be placed.
    pub fn new<N: AsRef<str>>(
        hash: RingHash,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self, TooManyMembers> {
        let points = points(hash, &listed(names)?);
        let members: Vec<u16> = points.iter().map(|&(_, member)| member).collect();
        let wanted = members.iter().collect::<HashSet<_>>().len().min(Ranks::KEPT);
        Ok(Self {
            hash,
            places: points.iter().map(|&(place, _)| place).collect(),
            ranks: (0..members.len()).map(|first| next_members(&members, first, wanted)).collect(),
        })
    }

    /// A key's place on the circle.
    #[inline]
    pub fn place(&self, key: &[u8]) -> i64 {
        self.hash.place(key)
    }

    /// The owner of a place on the circle and its stand-ins. A binary search over the points.
    #[inline]
    pub fn ranks(&self, place: i64) -> Ranks {
        let next = self.places.partition_point(|&point| point < place);
        // Past the last point the circle begins again.
        self.ranks.get(next).or(self.ranks.first()).copied().unwrap_or(Ranks::NOBODY)
    }

    /// Which part of the circle lies before the points of each of so many members.
    pub(super) fn shares(&self, members: usize) -> Vec<f64> {
        let circle = self.hash.circle();
        let mut shares = vec![0.0; members];
        let mut before = self.places.last().map_or(0.0, |&last| last as f64 - circle);
        for (&place, ranks) in self.places.iter().zip(&self.ranks) {
            if let Some(owner) = ranks.owner() {
                shares[owner] += (place as f64 - before) / circle;
            }
            before = place as f64;
        }
        shares
    }
}

/// All points in the circle's order; of those that coincide, the one added last.
fn points<N: AsRef<str>>(hash: RingHash, names: &[N]) -> Vec<(i64, u16)> {
    let mut points: Vec<(i64, u16)> = names
        .iter()
        .zip(0..)
        .flat_map(|(name, member)| (0..POINTS).map(move |number| (hash.point(number, name.as_ref()), member)))
        .collect();
    points.sort_unstable_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i)));
    points.dedup_by_key(|(place, _)| *place);
    points
}

/// The first `wanted` different members at or after a point. There are so many, so the walk ends within one round.
fn next_members(members: &[u16], first: usize, wanted: usize) -> Ranks {
    let mut ranks = Ranks::NOBODY;
    for &member in members[first..].iter().chain(members) {
        if ranks.len() == wanted {
            break;
        }
        if !ranks.contains(member) {
            ranks.push(member);
        }
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [&str; 3] = ["http://localhost:8001", "http://localhost:8002", "http://localhost:8003"];
    const BOTH: [RingHash; 2] = [RingHash::Crc32, RingHash::Fnv1];

    #[test]
    fn the_points_of_the_seeds_example_are_where_the_go_systems_put_them() {
        let ring = Ring::new(RingHash::Crc32, SEED).unwrap();
        assert_eq!(ring.places.len(), 3 * POINTS);
        assert_eq!(ring.ranks(90_546_225).owner(), Some(0));
        assert!(ring.places.contains(&90_546_225), "0http://localhost:8001");
        assert_eq!(ring.ranks(2_621_586_750).owner(), Some(2));
        assert!(ring.places.contains(&2_621_586_750), "49http://localhost:8003");
    }

    #[test]
    fn a_place_goes_to_the_point_on_it_or_the_next_and_past_the_last_to_the_first() {
        let ring = Ring::new(RingHash::Crc32, SEED).unwrap();
        let [first, second, .., last] = ring.places[..] else { unreachable!("the ring has 150 points") };
        assert_eq!(ring.ranks(first), ring.ranks[0]);
        assert_eq!(ring.ranks(first + 1), ring.ranks[1]);
        assert_eq!(ring.ranks(second), ring.ranks[1]);
        for past_all in [last + 1, i64::from(u32::MAX), 0] {
            assert_eq!(ring.ranks(past_all), ring.ranks[0]);
        }
    }

    #[test]
    fn where_two_points_coincide_the_member_added_last_has_the_place() {
        let (a, b) = ("http://10.0.32.9:8001", "http://10.0.60.20:8001");
        let place = RingHash::Crc32.point(1, a);
        assert_eq!(place, RingHash::Crc32.point(38, b));
        for names in [[a, b], [b, a]] {
            let ring = Ring::new(RingHash::Crc32, names).unwrap();
            assert_eq!(ring.places.len(), 2 * POINTS - 1);
            assert_eq!(ring.ranks(place).iter().collect::<Vec<_>>(), [1, 0]);
        }
    }

    #[test]
    fn of_equal_names_the_last_stands_for_all() {
        for hash in BOTH {
            let twice = Ring::new(hash, ["a", "b", "a"]).unwrap();
            assert!(twice.ranks.iter().all(|ranks| ranks.iter().count() == 2 && !ranks.contains(0)));
        }
    }

    #[test]
    fn without_members_no_place_has_an_owner() {
        for hash in BOTH {
            let nobody = Ring::new::<&str>(hash, []).unwrap();
            assert!(
                [i64::MIN, 0, 1, i64::MAX].into_iter().all(|place| nobody.ranks(place).owner().is_none())
            );
        }
    }

    /// The vectors of the FNV authors' test suite.
    #[test]
    fn fnv_1_hashes_as_its_authors_say() {
        for (text, hash) in
            [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_bd4c_8601_b7be), ("foobar", 0x340d_8765_a4dd_a9c2)]
        {
            assert_eq!(fnv1(text.as_bytes()), hash, "{text}");
        }
    }

    #[test]
    fn a_64_bit_hash_with_its_highest_bit_set_comes_before_all_without() {
        let ring = Ring::new(RingHash::Fnv1, SEED).unwrap();
        assert_eq!(ring.place(b"Tom"), -2_868_855_529_921_514_793);
        assert!(ring.places[0] < 0 && ring.places[3 * POINTS - 1] > 0);
        assert_eq!(ring.ranks(i64::MIN), ring.ranks[0]);
        assert_eq!(ring.ranks(i64::MAX), ring.ranks[0], "past the last point the circle begins again");
    }
}
