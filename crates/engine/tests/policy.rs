//! What the default policy does with patterns that others fail on, under many seeds of the hash.
//!
//! The traces are made here. The bounds are not tight: they tell a policy that works from one that was broken, and
//! leave room for tuning.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use carrot_engine::{Cache, Clock, Policy, Weight};

/// A fixed, well-mixed sequence (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, sides: u64) -> u64 {
        self.roll() % sides
    }

    /// A number under `sides`, the small ones more often: their logarithm is even.
    fn skewed(&mut self, sides: u64) -> u64 {
        let unit = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        (sides as f64).powf(unit) as u64 % sides
    }
}

struct Subject(Cache<()>);

impl Subject {
    fn new(entries: u64, policy: Policy, seed: u64) -> Self {
        let cache = Cache::builder().entries(entries).policy(policy).seed(seed).clock(Clock::manual());
        Self(cache.build())
    }

    /// Reads a key through; whether it was there.
    fn read(&self, key: u64) -> bool {
        let key = key.to_le_bytes();
        if self.0.get(&key).is_some() {
            return true;
        }
        self.0.insert_if(&key, b"", (), Weight::Entry, None, || true).unwrap();
        false
    }

    /// The part of these reads that are hits.
    fn hits(&self, keys: impl Iterator<Item = u64>) -> f64 {
        let (mut hits, mut reads) = (0, 0);
        for key in keys {
            hits += u32::from(self.read(key));
            reads += 1;
        }
        f64::from(hits) / f64::from(reads)
    }
}

#[test]
fn a_loop_over_ten_times_the_capacity_finds_a_part_of_it_resident_under_every_seed() {
    for seed in 0..30 {
        let subject = Subject::new(300, Policy::Default, seed);
        subject.hits((0..3000).cycle().take(12_000));
        let hits = subject.hits((0..3000).cycle().take(12_000));
        assert!((0.05..=0.1).contains(&hits), "{hits} with seed {seed}: at best a tenth");
    }
    let lru = Subject::new(300, Policy::Lru, 1);
    assert_eq!(lru.hits((0..3000).cycle().take(9000)), 0.0, "this is what the trap looks like");
}

#[test]
fn a_scan_does_not_wash_out_what_is_hot() {
    for seed in 0..10 {
        let subject = Subject::new(1000, Policy::Default, seed);
        let mut dice = Dice(seed);
        subject.hits((0..40_000).map(|_| dice.below(500)));
        // Keys that are asked for once, three times the capacity, among some of the usual requests.
        let mut hot_hits = 0;
        for n in 0..3000 {
            subject.read(1_000_000 + n);
            hot_hits += u32::from(subject.read(dice.below(500)));
        }
        assert!(hot_hits > 2700, "{hot_hits} of 3000 with seed {seed}");
        // And at once, with no other request in between.
        (0..3000).for_each(|n| _ = subject.read(2_000_000 + n));
        let left = (0..500_u64).filter(|key| subject.0.peek(&key.to_le_bytes()).is_some()).count();
        assert!(left > 400, "{left} of 500 with seed {seed}");
    }
}

#[test]
fn keys_that_are_used_again_soon_and_then_never_are_served_nearly_as_an_lru_serves_them() {
    for seed in 0..5 {
        let (subject, lru) =
            (Subject::new(1000, Policy::Default, seed), Subject::new(1000, Policy::Lru, seed));
        // A window of 800 keys that moves on: half the requests are new keys, half go back in it.
        let trace = |rounds: std::ops::Range<u64>| {
            let mut dice = Dice(seed);
            rounds.flat_map(move |n| [1000 + n, 1000 + n - dice.below(800)])
        };
        subject.hits(trace(0..10_000));
        lru.hits(trace(0..10_000));
        let (ours, theirs) = (subject.hits(trace(10_000..30_000)), lru.hits(trace(10_000..30_000)));
        assert!(ours > 0.75 * theirs, "{ours} of {theirs} with seed {seed}");
    }
}

#[test]
fn what_is_asked_for_often_is_kept_when_requests_are_skewed() {
    for seed in 0..5 {
        let (subject, lru) =
            (Subject::new(1000, Policy::Default, seed), Subject::new(1000, Policy::Lru, seed));
        let trace = |salt: u64| {
            let mut dice = Dice(seed + salt);
            (0..30_000).map(move |_| dice.skewed(50_000))
        };
        subject.hits(trace(0));
        lru.hits(trace(0));
        let (ours, theirs) = (subject.hits(trace(100)), lru.hits(trace(100)));
        assert!(ours > theirs, "{ours} of {theirs} with seed {seed}");
    }
}

#[test]
fn ghost_hits_say_what_a_tenth_more_room_would_bring() {
    for seed in 0..5 {
        let of = |entries: u64| {
            let subject = Subject::new(entries, Policy::Default, seed);
            let mut dice = Dice(seed);
            let hits = subject.hits((0..200_000).map(|_| dice.skewed(20_000)));
            let stats = subject.0.stats();
            assert!(stats.admissions > 0 && stats.admissions <= stats.inserts + stats.hits);
            (hits, stats.ghost_hits as f64 / 200_000.0)
        };
        let ((hits, promised), (more, _)) = (of(2000), of(2200));
        let brought = more - hits;
        assert!(brought > 0.0 && promised > 0.0);
        assert!((0.2..=5.0).contains(&(promised / brought)), "{promised} was said, {brought} it is");
    }
    let lru = Subject::new(100, Policy::Lru, 1);
    lru.hits((0..200).cycle().take(1000));
    assert_eq!((lru.0.stats().ghost_hits, lru.0.stats().admissions), (0, 0));
}
