//! The wheel alone, beside a list that is looked through each time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const TICK: u64 = 1 << TICK_BITS;
const DAY: u64 = 24 * 60 * 60 * 1000;

impl Wheel {
    /// What it takes beyond its own size, and how many buckets share in that.
    fn allocated(&self) -> (usize, usize) {
        let buckets = self.levels.iter().flat_map(|level| &level.buckets);
        let hints: usize = buckets.clone().map(|bucket| bucket.capacity() * size_of::<Near>()).sum();
        let lists: usize =
            self.levels.iter().map(|level| level.buckets.capacity() * size_of::<Vec<Near>>()).sum();
        (hints + lists + self.far.capacity() * size_of::<Far>(), buckets.count())
    }
}

fn wheel(expiries: impl IntoIterator<Item = u64>) -> Wheel {
    let mut wheel = Wheel::new();
    for (hash, expires) in (0..).zip(expiries) {
        wheel.add(hash, Time::from_millis(expires));
    }
    wheel
}

/// The moments that are given at `now`.
fn given(wheel: &mut Wheel, now: u64, budget: usize) -> Vec<u64> {
    let mut given = Vec::new();
    wheel.advance(Time::from_millis(now), budget, &mut |_, expires| given.push(expires.as_millis()));
    given
}

#[test]
fn a_hint_is_given_at_its_moment_and_not_before() {
    for expires in [1, 15, 255, 256, 2047, 16_383, 16_384, 4_000_000, 10 * DAY, 60 * DAY, 3_000 * DAY] {
        let mut wheel = wheel([expires]);
        assert_eq!(given(&mut wheel, expires - 1, 99), [0; 0]);
        assert_eq!(given(&mut wheel, expires, 99), [expires], "{expires}");
        assert_eq!(wheel.len(), 0);
        assert!(!wheel.is_due(Time::from_millis(u64::MAX - 1)));
    }
}

#[test]
fn what_lies_at_the_edge_of_a_level_comes_neither_early_nor_late() {
    for at in [0, 5, TICK * 77, 40 * DAY] {
        for bit in TICK_BITS..=40 {
            for span in [(1 << bit) - 1, 1 << bit, (1 << bit) + 1] {
                let mut wheel = Wheel::new();
                assert!(given(&mut wheel, at, 9).is_empty());
                wheel.add(7, Time::from_millis(at + span));
                assert!(given(&mut wheel, at + span - 1, 9).is_empty(), "{span} after {at}");
                assert!(!wheel.is_due(Time::from_millis(at + span - 1)), "nothing is left to do");
                assert_eq!(given(&mut wheel, at + span, 9), [at + span], "after {at}");
            }
        }
    }
}

#[test]
fn a_budget_is_kept_and_the_next_call_goes_on() {
    let mut wheel = wheel((0..1000).map(|n| n * 50));
    let now = 20_000;
    let mut all = Vec::new();
    while wheel.is_due(Time::from_millis(now)) {
        let before = wheel.len();
        let some = given(&mut wheel, now, 7);
        assert!(some.len() <= 7 && wheel.len() == before - some.len());
        all.extend(some);
    }
    all.sort_unstable();
    assert_eq!(all, (0..=now / 50).map(|n| n * 50).collect::<Vec<_>>());
}

#[test]
fn no_budget_gives_nothing_and_loses_nothing() {
    let mut wheel = wheel([5]);
    assert!(given(&mut wheel, 1000, 0).is_empty());
    assert!(wheel.is_due(Time::from_millis(1000)));
    assert_eq!(given(&mut wheel, 1000, 1), [5]);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_gives_nothing_twice() {
    let mut wheel = wheel([100, 5_000]);
    assert_eq!(given(&mut wheel, 1_000, 9), [100]);
    assert!(given(&mut wheel, 1_000, 9).is_empty());
    assert!(given(&mut wheel, 10, 9).is_empty());
    assert_eq!(given(&mut wheel, 6_000, 9), [5_000]);
}

#[test]
fn a_jump_of_years_gives_what_is_due_and_keeps_the_rest() {
    let year = 365 * DAY;
    let mut wheel = wheel([1, 3 * DAY, year, 100 * year, 200 * year]);
    assert_eq!(given(&mut wheel, 100 * year, 99), [1, 3 * DAY, year, 100 * year]);
    assert_eq!(wheel.len(), 1);
    assert_eq!(given(&mut wheel, 300 * year, 99), [200 * year]);
}

#[test]
fn at_the_end_of_time_everything_is_due_also_what_is_added_then() {
    let mut wheel = wheel([u64::MAX, u64::MAX - 1, u64::MAX - TICK, 3]);
    assert_eq!(given(&mut wheel, u64::MAX - 1, 99), [3, u64::MAX - TICK, u64::MAX - 1]);
    assert_eq!(given(&mut wheel, u64::MAX, 99), [u64::MAX]);
    wheel.add(1, Time::from_millis(7));
    wheel.add(1, Time::from_millis(u64::MAX));
    assert_eq!(given(&mut wheel, u64::MAX, 99).len(), 2);
}

#[test]
fn what_is_past_when_it_is_added_is_given_next() {
    let mut wheel = Wheel::new();
    assert!(given(&mut wheel, 10_000, 9).is_empty());
    wheel.add(1, Time::from_millis(3));
    let some = given(&mut wheel, 10_000, 9);
    assert!(matches!(some[..], [at] if at <= 10_000));
}

#[test]
fn a_cleared_wheel_holds_nothing_and_takes_hints_again() {
    let mut wheel = wheel([100, 100 * DAY]);
    wheel.clear();
    assert_eq!((wheel.len(), wheel.allocated()), (0, (0, 0)));
    assert!(given(&mut wheel, 200 * DAY, 9).is_empty());
    wheel.add(1, Time::from_millis(201 * DAY));
    assert_eq!(given(&mut wheel, 202 * DAY, 9), [201 * DAY]);
}

/// What a bucket may take for itself: its place in the list of its level, which is a third wider than it must be, and
/// room for a few hints.
const BYTES_PER_BUCKET: usize = size_of::<Vec<Near>>() * 4 / 3 + 6 * size_of::<Near>();

fn check_bytes(wheel: &Wheel) {
    let (bytes, buckets) = wheel.allocated();
    // The few places that the list of each level, and the heap, begin with.
    let most =
        wheel.len() * Wheel::BYTES_PER_HINT + buckets * BYTES_PER_BUCKET + 5 * 6 * size_of::<Vec<Near>>();
    assert!(bytes <= most, "{bytes} bytes for {} hints in {buckets} buckets", wheel.len());
}

#[test]
fn hints_take_no_more_than_is_said_while_they_come_and_while_they_go() {
    assert_eq!(Wheel::BYTES_PER_HINT, 16);
    for (span, step) in [(60_000, 16), (30 * DAY, 3_600_000), (4_000 * DAY, DAY)] {
        let mut wheel = Wheel::new();
        for n in 0..20_000_u64 {
            wheel.add(n as u32, Time::from_millis(n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % span));
            check_bytes(&wheel);
        }
        let mut now = 0;
        while wheel.len() > 0 {
            now += step;
            given(&mut wheel, now, 100);
            check_bytes(&wheel);
        }
        assert_eq!(wheel.allocated().1, 0);
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// So long after now.
    Add(u64),
    AddAt(u64),
    /// So much later, with so much budget.
    Advance(u64, usize),
    Clear,
}

fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..40_u64,
        0..5_000_u64,
        0..600_000_u64,
        0..3 * DAY,
        0..200 * DAY,
        // The edges of the levels, from both sides.
        (0..62_u32, 0..3_u64).prop_map(|(bit, off)| (1_u64 << bit) + off - 1),
        Just(u64::MAX),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => span().prop_map(Op::Add),
        1 => any::<u64>().prop_map(Op::AddAt),
        4 => (0..5_000_u64, 0..20_usize).prop_map(|(by, budget)| Op::Advance(by, budget)),
        2 => (span(), 0..50_usize).prop_map(|(by, budget)| Op::Advance(by.min(1000 * DAY), budget)),
        1 => Just(Op::Advance(u64::MAX / 4, 1000)),
        1 => Just(Op::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn the_wheel_gives_what_a_list_would(ops in prop::collection::vec(op(), 1..80)) {
        let mut wheel = Wheel::new();
        // By a number of its own that stands for its hash: its moment, and when it was added.
        let mut model: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
        let (mut now, mut number) = (0_u64, 0);
        for op in ops {
            match op {
                Op::Add(_) | Op::AddAt(_) => {
                    let expires = match op { Op::Add(after) => now.saturating_add(after), Op::AddAt(at) => at, _ => 0 };
                    number += 1;
                    wheel.add(number, Time::from_millis(expires));
                    model.insert(number, (expires, now));
                }
                Op::Clear => {
                    wheel.clear();
                    model.clear();
                }
                Op::Advance(by, budget) => {
                    now = now.saturating_add(by);
                    let mut seen = 0;
                    let was_due = wheel.is_due(Time::from_millis(now));
                    wheel.advance(Time::from_millis(now), budget, &mut |hash, at| {
                        seen += 1;
                        let (expires, added) = model.remove(&hash).expect("given once, and only what was added");
                        assert!(expires <= now, "given before its moment");
                        let at = at.as_millis();
                        assert!(at == expires || (expires <= added && at > expires && at <= now));
                    });
                    prop_assert!(seen <= budget);
                    prop_assert!(was_due || seen == 0);
                    let is_due = wheel.is_due(Time::from_millis(now));
                    prop_assert!(!is_due || budget < 80 * 4 || now == u64::MAX, "due with budget left");
                    if !is_due {
                        let late = model.values().find(|&&(expires, added)| {
                            expires.max(added) <= now
                        });
                        prop_assert_eq!(late, None);
                    }
                }
            }
            prop_assert_eq!(wheel.len(), model.len());
            check_bytes(&wheel);
        }
        // Whatever is left comes at the end of time, in finitely many calls.
        let mut calls = 0;
        while wheel.is_due(Time::from_millis(u64::MAX)) && wheel.len() > 0 {
            wheel.advance(Time::from_millis(u64::MAX), 3, &mut |hash, _| assert!(model.remove(&hash).is_some()));
            calls += 1;
            prop_assert!(calls <= 80 * 5);
        }
        prop_assert_eq!(model.len(), 0);
    }
}
