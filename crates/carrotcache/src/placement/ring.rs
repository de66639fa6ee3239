//! The ring: the seed's placement, with the same owners as the Go systems of the family.
//!
//! Every member has 50 points on a circle of 32-bit numbers, the CRC-32 (IEEE) of the point's number in decimal and
//! the member's string; a key's place is the CRC-32 of the key, and the next point at or after it is the owner's.
//! As golang/groupcache and carrotCache do it, down to two oddities: where two points coincide the member added last
//! has it, so that the order of the list matters, and the group does not enter the hash. Where we differ: stand-ins,
//! of which they have none, are the next other members on the circle.
//!
//! For clusters with Go peers in them; `slots` spreads better (of a thousand members, this ring's fullest owns
//! 1.5 to 2.5 times its share) and is quicker to ask. Owned by a view, built aside and never changed.

use std::collections::HashSet;

use crate::placement::ranks::{Ranks, TooManyMembers, listed};

/// How many points a member has, as in the family.
pub const POINTS: usize = 50;

/// The points of all members in their order on the circle. 10 bytes a point.
pub struct Ring {
    /// Where the points are, ascending, each place once.
    places: Box<[u32]>,
    /// For each point whose it is, and which members come next.
    ranks: Box<[Ranks]>,
}

impl Ring {
    /// The ring of these members, hashed exactly as they are spelled, in the order in which they were added. Of
    /// equal names the last stands for all; the others own nothing.
    ///
    /// # Errors
    /// When there are more members than can be placed.
    pub fn new<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, TooManyMembers> {
        let points = points(&listed(names)?);
        let members: Vec<u16> = points.iter().map(|&(_, member)| member).collect();
        let wanted = members.iter().collect::<HashSet<_>>().len().min(Ranks::KEPT);
        Ok(Self {
            places: points.iter().map(|&(place, _)| place).collect(),
            ranks: (0..members.len()).map(|first| next_members(&members, first, wanted)).collect(),
        })
    }

    /// A key's place on the circle.
    #[inline]
    pub fn place(key: &[u8]) -> u32 {
        crc32fast::hash(key)
    }

    /// The owner of a place on the circle and its stand-ins. A binary search over the points.
    #[inline]
    pub fn ranks(&self, place: u32) -> Ranks {
        let next = self.places.partition_point(|&point| point < place);
        // Past the last point the circle begins again.
        self.ranks.get(next).or(self.ranks.first()).copied().unwrap_or(Ranks::NOBODY)
    }

    /// Which part of the circle lies before the points of each of so many members.
    pub(super) fn shares(&self, members: usize) -> Vec<f64> {
        const CIRCLE: f64 = (1u64 << 32) as f64;
        let mut shares = vec![0.0; members];
        let mut before = self.places.last().map_or(0.0, |&last| f64::from(last) - CIRCLE);
        for (&place, ranks) in self.places.iter().zip(&self.ranks) {
            if let Some(owner) = ranks.owner() {
                shares[owner] += (f64::from(place) - before) / CIRCLE;
            }
            before = f64::from(place);
        }
        shares
    }
}

/// All points in the circle's order; of those that coincide, the one added last.
fn points<N: AsRef<str>>(names: &[N]) -> Vec<(u32, u16)> {
    let mut points: Vec<(u32, u16)> = names
        .iter()
        .zip(0..)
        .flat_map(|(name, member)| (0..POINTS).map(move |number| (point(number, name.as_ref()), member)))
        .collect();
    points.sort_unstable_by(|(a, i), (b, j)| a.cmp(b).then(j.cmp(i)));
    points.dedup_by_key(|(place, _)| *place);
    points
}

fn point(number: usize, name: &str) -> u32 {
    Ring::place(format!("{number}{name}").as_bytes())
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

    #[test]
    fn the_points_of_the_seeds_example_are_where_the_go_systems_put_them() {
        let ring = Ring::new(SEED).unwrap();
        assert_eq!(ring.places.len(), 3 * POINTS);
        assert_eq!(ring.ranks(90_546_225).owner(), Some(0));
        assert!(ring.places.contains(&90_546_225), "0http://localhost:8001");
        assert_eq!(ring.ranks(2_621_586_750).owner(), Some(2));
        assert!(ring.places.contains(&2_621_586_750), "49http://localhost:8003");
    }

    #[test]
    fn a_place_goes_to_the_point_on_it_or_the_next_and_past_the_last_to_the_first() {
        let ring = Ring::new(SEED).unwrap();
        let [first, second, .., last] = ring.places[..] else { unreachable!("the ring has 150 points") };
        assert_eq!(ring.ranks(first), ring.ranks[0]);
        assert_eq!(ring.ranks(first + 1), ring.ranks[1]);
        assert_eq!(ring.ranks(second), ring.ranks[1]);
        for past_all in [last + 1, u32::MAX, 0] {
            assert_eq!(ring.ranks(past_all), ring.ranks[0]);
        }
    }

    #[test]
    fn where_two_points_coincide_the_member_added_last_has_the_place() {
        let (a, b) = ("http://10.0.32.9:8001", "http://10.0.60.20:8001");
        let place = point(1, a);
        assert_eq!(place, point(38, b));
        for names in [[a, b], [b, a]] {
            let ring = Ring::new(names).unwrap();
            assert_eq!(ring.places.len(), 2 * POINTS - 1);
            assert_eq!(ring.ranks(place).iter().collect::<Vec<_>>(), [1, 0]);
        }
    }

    #[test]
    fn of_equal_names_the_last_stands_for_all() {
        let twice = Ring::new(["a", "b", "a"]).unwrap();
        assert!(twice.ranks.iter().all(|ranks| ranks.iter().count() == 2 && !ranks.contains(0)));
    }

    #[test]
    fn without_members_no_place_has_an_owner() {
        let nobody = Ring::new::<&str>([]).unwrap();
        assert!([0, 1, u32::MAX].into_iter().all(|place| nobody.ranks(place).owner().is_none()));
    }
}
