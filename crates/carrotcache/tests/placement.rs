//! What users and operators are promised of placement: balance, few moves, one table for one list of members.
//!
//! Member lists are drawn at random, other ones in each run; what builds many tables gets one case a run, of twenty
//! changes to a list, since this also runs unoptimised.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeSet;

use carrotcache::placement::{GroupHash, Layout, Placement, Ring, RingHash, SLOTS, Slots};
use proptest::prelude::*;
use proptest::sample::Index;

/// Changes of a list of which the mean number of moves is taken.
const CHANGES: usize = 10;

/// So many different addresses, drawn at random.
fn members(count: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(any::<[u8; 3]>(), count)
        .prop_map(|hosts| hosts.into_iter().map(|[a, b, c]| format!("http://10.{a}.{b}.{c}:8001")).collect())
}

/// The name of each slot's owner.
fn owners(names: &[String]) -> Vec<&str> {
    let slots = Slots::new(names).unwrap();
    (0..=u16::MAX).map(|slot| names[slots.ranks(slot).owner().unwrap()].as_str()).collect()
}

fn owned(owners: &[&str], name: &str) -> usize {
    owners.iter().filter(|&&owner| owner == name).count()
}

fn moved(before: &[&str], after: &[&str]) -> usize {
    before.iter().zip(after).filter(|(before, after)| before != after).count()
}

/// The list without its member at `index`.
fn without(names: &[String], index: usize) -> Vec<String> {
    let mut rest = names.to_vec();
    rest.remove(index);
    rest
}

/// The fullest of `count` members has at most 1.05 times the mean, rounded up to a slot.
fn check_balance(names: &[String]) {
    let slots = Slots::new(names).unwrap();
    let mut shares = vec![0; names.len()];
    for slot in 0..=u16::MAX {
        shares[slots.ranks(slot).owner().unwrap()] += 1;
    }
    let fullest = shares.iter().max().unwrap();
    assert!(*fullest <= (SLOTS * 105).div_ceil(names.len() * 100), "{fullest} of {} members", names.len());
}

/// Ten joins and ten leaves move, in the mean, at most `times` the slots that must move.
///
/// `spare` are addresses that join; one that is in the list already is no join and is passed over.
fn check_moves(names: &[String], spare: &[String], leavers: &[Index], times: f64) {
    let before = owners(names);
    let joins = spare.iter().filter(|joiner| !names.contains(joiner)).map(|joiner| {
        let mut more = names.to_vec();
        more.push(joiner.clone());
        moved(&before, &owners(&more)) as f64 / (SLOTS as f64 / more.len() as f64)
    });
    check_mean("joins", joins, times);
    let leaves = leavers.iter().map(|leaver| {
        let leaver = leaver.index(names.len());
        let fewer = without(names, leaver);
        moved(&before, &owners(&fewer)) as f64 / owned(&before, &names[leaver]) as f64
    });
    check_mean("leaves", leaves, times);
}

fn check_mean(what: &str, multiples: impl Iterator<Item = f64>, times: f64) {
    let multiples: Vec<f64> = multiples.collect();
    let mean = multiples.iter().sum::<f64>() / multiples.len() as f64;
    assert!(mean <= times, "{what} moved {mean} times the least: {multiples:?}");
}

/// A list of members, others that may join it, and some of them that may leave.
fn changes(count: usize) -> impl Strategy<Value = (Vec<String>, Vec<String>, Vec<Index>)> {
    (members(count), members(CHANGES), prop::collection::vec(any::<Index>(), CHANGES))
}

const HASHES: [RingHash; 2] = [RingHash::Crc32, RingHash::Fnv1];

/// A place on either circle for each of 65,536 even steps.
fn places(hash: RingHash) -> impl Iterator<Item = i64> {
    (0..=u16::MAX).map(move |step| match hash {
        RingHash::Crc32 => i64::from(step) << 16,
        RingHash::Fnv1 => i64::MIN.wrapping_add(i64::from(step) << 48),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn the_fullest_member_has_a_twentieth_over_the_mean_at_most(
        few in members(3), ten in members(10), hundred in members(100), any in (1..300usize).prop_flat_map(members),
    ) {
        for names in [few, ten, hundred, any] {
            check_balance(&names);
        }
    }

    #[test]
    fn the_order_of_the_list_does_not_change_who_owns_a_slot(
        (names, shuffled) in (2..40usize).prop_flat_map(members)
            .prop_flat_map(|names| (Just(names.clone()), Just(names).prop_shuffle())),
    ) {
        let [one, other] = [&names, &shuffled].map(|names| Slots::new(names).unwrap());
        for slot in 0..=u16::MAX {
            let one = one.ranks(slot).iter().map(|member| &names[member]);
            let other = other.ranks(slot).iter().map(|member| &shuffled[member]);
            prop_assert!(one.eq(other), "slot {}", slot);
        }
    }

    #[test]
    fn a_key_has_an_owner_and_two_stand_ins_or_as_many_as_there_are_members(
        names in (0..8usize).prop_flat_map(members), group in "[a-z]{1,8}", key in any::<Vec<u8>>(),
    ) {
        for layout in HASHES.map(Layout::Ring).into_iter().chain([Layout::Slots]) {
            let ranks = Placement::new(layout, &names).unwrap().place(GroupHash::of(&group), &key);
            let different: BTreeSet<usize> = ranks.iter().collect();
            prop_assert_eq!(different.len(), names.len().min(3));
            prop_assert!(different.iter().all(|&member| member < names.len()));
            prop_assert_eq!(ranks.owner().into_iter().chain(ranks.stand_ins()).collect::<Vec<_>>(),
                ranks.iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_leave_moves_only_the_leavers_keys_on_the_ring_and_each_to_its_stand_in(
        names in (2..30usize).prop_flat_map(members), leaver in any::<Index>(),
    ) {
        let leaver = leaver.index(names.len());
        let rest = without(&names, leaver);
        for hash in HASHES {
            let [before, after] = [&names, &rest].map(|names| Ring::new(hash, names).unwrap());
            let heirs = places(hash).map(|place| {
                let heir = before.ranks(place).iter().find(|&member| member != leaver).unwrap();
                names[heir].as_str()
            });
            let owners = places(hash).map(|place| rest[after.ranks(place).owner().unwrap()].as_str());
            prop_assert!(heirs.eq(owners));
        }
    }

    #[test]
    fn a_leavers_slots_are_spread_over_the_others_and_most_go_to_their_stand_in(
        names in members(10), leaver in any::<Index>(),
    ) {
        let leaver = leaver.index(names.len());
        let rest = without(&names, leaver);
        let [before, after] = [&names, &rest].map(|names| Slots::new(names).unwrap());
        let left: Vec<u16> =
            (0..=u16::MAX).filter(|&slot| before.ranks(slot).owner() == Some(leaver)).collect();
        let mut heirs = vec![0; names.len()];
        let mut as_ranked = 0;
        for &slot in &left {
            let stand_in = before.ranks(slot).stand_ins().next().unwrap();
            heirs[stand_in] += 1;
            as_ranked += usize::from(rest[after.ranks(slot).owner().unwrap()] == names[stand_in]);
        }
        prop_assert_eq!(heirs[leaver], 0);
        let most = heirs.iter().max().unwrap();
        prop_assert!(most * 9 <= left.len() * 13 / 10, "{:?}", heirs);
        prop_assert!(as_ranked * 10 >= left.len() * 9, "{} of {}", as_ranked, left.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1, ..ProptestConfig::default() })]

    #[test]
    fn a_join_or_a_leave_among_few_moves_hardly_more_slots_than_it_must(
        sizes in [changes(3), changes(10), changes(100)],
    ) {
        for (names, spare, leavers) in sizes {
            check_moves(&names, &spare, &leavers, 1.1);
        }
    }

    #[test]
    fn a_thousand_members_share_evenly_and_their_changes_move_little((names, spare, leavers) in changes(1000)) {
        check_balance(&names);
        check_moves(&names, &spare, &leavers, 1.7);
    }
}
