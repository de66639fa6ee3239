//! An immutable set of members, and who owns what among them.
//!
//! Pure: a new list makes a new view, built aside and swapped in whole, so a reader never sees half of one.

use std::fmt::Write as _;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::placement::{GroupHash, Layout, Placement, PlacementKind, Ranks, Spot, TooManyMembers};

/// A node as membership sees it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// What placement hashes and users read.
    pub name: Arc<str>,
    /// `host:port`, to connect to.
    pub authority: Arc<str>,
}

/// Who is there, and which share each owns.
#[derive(Debug)]
pub(crate) struct View {
    members: Vec<Member>,
    /// This node's place in `members`; `None`: it is in no list and owns nothing.
    me: Option<usize>,
    placement: Placement,
    hash: u64,
}

/// Where a key belongs in one view.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    view: &'a View,
    ranks: Ranks,
}

/// A member, as one key sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ranked<'a> {
    pub(crate) member: &'a Member,
    /// From 0, the owner's; `None` where the member has none.
    pub(crate) rank: Option<usize>,
    /// It is this node.
    pub(crate) is_me: bool,
}

/// Who has a rank for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner<'a> {
    /// This node.
    Local,
    /// Another.
    Remote(&'a Member),
}

impl View {
    /// The view of these members, in which this node is the one named `me`, if any.
    ///
    /// A name listed twice counts once. Building takes some tens of milliseconds for a thousand members: do it
    /// aside.
    ///
    /// # Errors
    /// When there are more members than can be placed.
    pub(crate) fn new(
        mut members: Vec<Member>,
        me: Option<&str>,
        layout: impl Into<Layout>,
    ) -> Result<Self, TooManyMembers> {
        let layout = layout.into();
        match layout {
            Layout::Slots => members.sort(),
            // The circle's ties fall to the peer that was added last, so the list's order is kept.
            Layout::Ring(_) => {}
        }
        // Of equal names the last counts: it is where Go, which adds a peer again, takes it to be added.
        let mut listed = std::collections::HashSet::new();
        members.reverse();
        members.retain(|member| listed.insert(member.name.clone()));
        members.reverse();
        let names: Vec<&str> = members.iter().map(|member| &*member.name).collect();
        let placement = Placement::new(layout, &names)?;
        let hash = hash_of(layout, &names);
        let me = me.and_then(|me| members.iter().position(|member| &*member.name == me));
        Ok(Self { members, me, placement, hash })
    }

    /// All members, sorted by name where the placement allows it.
    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    /// All members but this node.
    pub(crate) fn others(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().enumerate().filter(|(at, _)| Some(*at) != self.me).map(|(_, member)| member)
    }

    /// Equal in two views exactly if they place every key alike.
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Where `key` of this group belongs. A few nanoseconds.
    pub(crate) fn place(&self, group: GroupHash, key: &[u8]) -> Place<'_> {
        Place { view: self, ranks: self.placement.place(group, key) }
    }

    /// Who owns the key: as its place says, for less.
    pub(crate) fn owner(&self, group: GroupHash, key: &[u8]) -> Owner<'_> {
        self.owner_at(self.placement.owner(group, key))
    }

    /// Whether this node owns the key.
    pub(crate) fn is_local(&self, group: GroupHash, key: &[u8]) -> bool {
        self.owner(group, key) == Owner::Local
    }

    fn owner_at(&self, member: Option<usize>) -> Owner<'_> {
        match member {
            // A view without members leaves every key to the node that asks.
            None => Owner::Local,
            Some(member) if self.me == Some(member) => Owner::Local,
            Some(member) => Owner::Remote(&self.members[member]),
        }
    }

    /// Where `key` of this group falls, whoever owns it.
    pub(crate) fn spot(&self, group: GroupHash, key: &[u8]) -> Spot {
        self.placement.spot(group, key)
    }

    /// How keys are placed.
    pub(crate) fn kind(&self) -> PlacementKind {
        self.placement.kind()
    }

    /// Each member, whether it is this node, and which part of all keys it owns. Walks the table.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (&Member, bool, f64)> {
        let shares = self.placement.shares(self.members.len());
        let members = self.members.iter().enumerate();
        members.zip(shares).map(|((at, member), share)| (member, self.me == Some(at), share))
    }
}

/// A hash of the layout and the names, in the order that placement sees them.
fn hash_of(layout: Layout, names: &[&str]) -> u64 {
    let mut text = layout.to_string();
    for name in names {
        let _ = write!(text, "\n{name}");
    }
    xxh3_64(text.as_bytes())
}

impl<'a> Place<'a> {
    /// Who owns the key. A view without members leaves every key to the node that asks.
    pub(crate) fn owner(self) -> Owner<'a> {
        self.view.owner_at(self.ranks.owner())
    }

    /// Who is asked when the owner cannot be reached.
    pub(crate) fn stand_in(self) -> Option<Owner<'a>> {
        self.rank(1)
    }

    /// Whether this node owns the key.
    pub(crate) fn is_local(self) -> bool {
        self.owner() == Owner::Local
    }

    /// All members: those with a rank for the key by rank, the others in the view's order.
    pub(crate) fn everyone(self) -> Vec<Ranked<'a>> {
        let view = self.view;
        let ranked = |at: usize, rank| Ranked { member: &view.members[at], rank, is_me: view.me == Some(at) };
        let first = self.ranks.iter().enumerate().map(|(rank, at)| ranked(at, Some(rank)));
        let has_rank = |at: &usize| self.ranks.iter().any(|ranked| ranked == *at);
        let others = (0..view.members.len()).filter(|at| !has_rank(at)).map(|at| ranked(at, None));
        first.chain(others).collect()
    }

    fn rank(self, rank: usize) -> Option<Owner<'a>> {
        let member = self.ranks.iter().nth(rank)?;
        Some(if self.view.me == Some(member) {
            Owner::Local
        } else {
            Owner::Remote(&self.view.members[member])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::{PlacementKind, RingHash};

    fn members(names: &[&str]) -> Vec<Member> {
        names.iter().map(|name| Member { name: (*name).into(), authority: (*name).into() }).collect()
    }

    fn group() -> GroupHash {
        GroupHash::of("scores")
    }

    #[test]
    fn every_member_of_one_view_names_the_same_owner() {
        let names = ["a:1", "b:1", "c:1"];
        let views: Vec<View> = names
            .iter()
            .map(|me| View::new(members(&names), Some(me), PlacementKind::Slots).unwrap())
            .collect();
        for key in ["Tom", "Jack", "Sam", "Lily", "Pity"] {
            let local: Vec<bool> =
                views.iter().map(|view| view.place(group(), key.as_bytes()).is_local()).collect();
            assert_eq!(local.iter().filter(|local| **local).count(), 1, "{key}: {local:?}");
        }
    }

    #[test]
    fn the_others_are_all_but_this_node() {
        let names = |me| {
            let view = View::new(members(&["a", "b", "c"]), me, PlacementKind::Slots).unwrap();
            view.others().map(|member| member.name.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(Some("b")), ["a", "c"]);
        assert_eq!(names(None), ["a", "b", "c"]);
    }

    #[test]
    fn a_stand_in_is_never_the_owner() {
        let view = View::new(members(&["a:1", "b:1", "c:1"]), Some("a:1"), PlacementKind::Slots).unwrap();
        for n in 0..100u32 {
            let place = view.place(group(), &n.to_le_bytes());
            assert_ne!(place.stand_in(), Some(place.owner()));
        }
    }

    #[test]
    fn everyone_is_named_once_by_rank_and_then_in_the_views_order() {
        let names = ["a:1", "b:1", "c:1", "d:1", "e:1"];
        for kind in [PlacementKind::Slots, PlacementKind::Ring] {
            let view = View::new(members(&names), Some("c:1"), kind).unwrap();
            for n in 0..100u32 {
                let place = view.place(group(), &n.to_le_bytes());
                let everyone = place.everyone();
                let ranks: Vec<_> = everyone.iter().map(|ranked| ranked.rank).collect();
                assert_eq!(ranks, [Some(0), Some(1), Some(2), None, None]);
                assert_eq!(everyone[0].is_me, place.is_local());
                assert!(everyone[3].member < everyone[4].member);
                let mut names_seen: Vec<_> = everyone.iter().map(|ranked| &*ranked.member.name).collect();
                names_seen.sort_unstable();
                assert_eq!(names_seen, names);
                assert!(everyone.iter().all(|ranked| ranked.is_me == (&*ranked.member.name == "c:1")));
            }
        }
    }

    #[test]
    fn a_node_in_no_list_owns_nothing_and_one_without_a_list_owns_all() {
        let stranger = View::new(members(&["a:1", "b:1"]), Some("c:1"), PlacementKind::Slots).unwrap();
        let alone = View::new(members(&["c:1"]), Some("c:1"), PlacementKind::Slots).unwrap();
        for n in 0..100u32 {
            assert!(!stranger.place(group(), &n.to_le_bytes()).is_local());
            assert!(alone.place(group(), &n.to_le_bytes()).is_local());
            assert_eq!(alone.place(group(), &n.to_le_bytes()).stand_in(), None);
        }
    }

    #[test]
    fn the_hash_tells_lists_and_placements_apart_and_not_the_order_of_a_list() {
        fn hash(names: &[&str], layout: impl Into<Layout>) -> u64 {
            View::new(members(names), None, layout).unwrap().hash()
        }
        assert_eq!(hash(&["a", "b", "a"], PlacementKind::Slots), hash(&["b", "a"], PlacementKind::Slots));
        assert_ne!(hash(&["a", "b"], PlacementKind::Slots), hash(&["a", "c"], PlacementKind::Slots));
        assert_ne!(hash(&["a", "b"], PlacementKind::Slots), hash(&["a", "b"], PlacementKind::Ring));
        assert_ne!(hash(&["a", "b"], PlacementKind::Ring), hash(&["b", "a"], PlacementKind::Ring));
        assert_eq!(
            hash(&["a", "b", "a"], PlacementKind::Ring),
            hash(&["b", "a"], PlacementKind::Ring),
            "as in Go, a peer that is added again is the one added last"
        );
        assert_ne!(hash(&["a", "b"], PlacementKind::Ring), hash(&["a", "b"], Layout::Ring(RingHash::Fnv1)));
        assert_eq!(
            hash(&["a", "b"], PlacementKind::Ring),
            xxh3_64(b"ring\na\nb"),
            "it is part of the wire, and two releases must give the same"
        );
    }
}
