//! Which keys are hot: gets per minute over a sliding window, in memory that never grows.
//!
//! The seed's rule is that 100 remote fetches a minute make a key worth mirroring. It divided all fetches by all
//! minutes since the first one, so that a key known for ten hours needed 60,000 of them; it kept every key for
//! ever; and it never took its word back. Here a minute is the minute before now, a key that is no longer asked
//! for counts nothing two minutes later, and at most `capacity` keys are counted.
//!
//! Pure: time comes in as the span since some start. One table belongs to one group, under a lock of its own.
//!
//! When a key must make room for another, its count leaves with it. Sketches that hand the count on to the
//! newcomer (Space-Saving) or share it (count-min) never miss a hot key, but under a flood of distinct keys they
//! take cold ones for hot, and mirroring everything is the very flood we mean to stop. The price: a key can be
//! counted too low, when it is crowded out before it is hot.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Which keys of other owners are mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hot {
    /// Those with at least this many gets in the last minute.
    PerMinute(NonZeroU32),
    /// All.
    Always,
    /// None.
    Off,
}

impl Hot {
    /// Whether a key with so many gets a minute is hot.
    pub fn holds(self, per_minute: f64) -> bool {
        match self {
            Self::PerMinute(threshold) => per_minute >= f64::from(threshold.get()),
            Self::Always => true,
            Self::Off => false,
        }
    }
}

/// 100 a minute, as in the seed.
impl Default for Hot {
    fn default() -> Self {
        const SEED: NonZeroU32 = NonZeroU32::new(100).expect("100 is not 0");
        Self::PerMinute(SEED)
    }
}

/// A text that says nothing about hot keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a rule for hot keys: a rate as in 100/min, or always, or off")]
pub struct BadHot(String);

impl FromStr for Hot {
    type Err = BadHot;
    fn from_str(text: &str) -> Result<Self, BadHot> {
        let bad = || BadHot(text.chars().take(40).collect());
        match text.trim() {
            "always" => Ok(Self::Always),
            "off" => Ok(Self::Off),
            rate => {
                let count = rate.strip_suffix("/min").ok_or_else(bad)?;
                count.parse().map(Self::PerMinute).map_err(|_| bad())
            }
        }
    }
}

impl fmt::Display for Hot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerMinute(threshold) => write!(f, "{threshold}/min"),
            Self::Always => f.write_str("always"),
            Self::Off => f.write_str("off"),
        }
    }
}

/// How often keys were asked for lately.
pub(crate) struct HotKeys {
    /// Small sets, each searched from its front; a key's hash says which one is its own.
    sets: Box<[[Tracked; WAYS]]>,
    seed: u64,
}

/// Keys that compete for room with each other: enough that a set full of hot keys is rare, few enough to search.
const WAYS: usize = 8;

impl HotKeys {
    /// A table of at most `capacity` keys, or 8 if that is less, at 24 bytes each.
    ///
    /// `seed` should be random: with a known one a stranger could choose keys that crowd out a certain other.
    pub(crate) fn new(capacity: usize, seed: u64) -> Self {
        let sets = (capacity / WAYS).max(1);
        Self { sets: vec![[Tracked::default(); WAYS]; sets].into_boxed_slice(), seed }
    }

    /// Counts one get of the key, and gives its rate: gets in the last minute, this one included.
    pub(crate) fn record(&mut self, key: &[u8], now: Duration) -> f64 {
        let (hash, now) = (self.hash(key), Minute::of(now));
        let set = &mut self.sets[set_of(hash, self.sets.len())];
        let way = position(set, hash).unwrap_or_else(|| {
            let coldest = coldest(set, now);
            set[coldest] = Tracked { hash, ..Tracked::default() };
            coldest
        });
        set[way].count(now);
        set[way].rate(now)
    }

    /// The key's gets in the last minute; 0 if it is not counted.
    pub(crate) fn rate(&self, key: &[u8], now: Duration) -> f64 {
        let hash = self.hash(key);
        let set = &self.sets[set_of(hash, self.sets.len())];
        position(set, hash).map_or(0.0, |way| set[way].rate(Minute::of(now)))
    }

    /// Never 0, which marks an unused place.
    fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed).max(1)
    }
}

fn set_of(hash: u64, sets: usize) -> usize {
    // Multiply and shift in place of a division; the result is below `sets`, so it fits.
    ((u128::from(hash) * sets as u128) >> 64) as usize
}

fn position(set: &[Tracked; WAYS], hash: u64) -> Option<usize> {
    set.iter().position(|tracked| tracked.hash == hash)
}

/// The place a newcomer takes: the one with the lowest rate, the first of equals.
///
/// Always the first, so that a flood of keys that come once washes through one place of the set, while the keys
/// in the others, though asked for no more often as yet, have a minute to show a second get.
fn coldest(set: &[Tracked; WAYS], now: Minute) -> usize {
    let rates = set.map(|tracked| tracked.rate(now));
    (1..WAYS).fold(0, |coldest, way| if rates[way] < rates[coldest] { way } else { coldest })
}

/// A moment, as minutes of the clock count it.
#[derive(Clone, Copy)]
struct Minute {
    /// Since the start.
    number: u64,
    /// How much of the minute before is still among the last 60 seconds, from 0 to 1.
    before: f64,
}

impl Minute {
    fn of(now: Duration) -> Self {
        let (seconds, nanos) = (now.as_secs(), f64::from(now.subsec_nanos()));
        let passed = (seconds % 60) as f64 + nanos / 1e9;
        Self { number: seconds / 60, before: 1.0 - passed / 60.0 }
    }
}

/// One key's gets in this minute of the clock and in the one before.
///
/// The last 60 seconds are taken as this minute and as much of the one before as is still among them, as if its
/// gets had come evenly. Two numbers a key in place of a time for each get; a rate that is steady is met exactly.
#[derive(Clone, Copy, Default)]
struct Tracked {
    /// Of the key, which itself is not kept: keys may be long. Two keys of one hash are counted as one, which
    /// happens to one pair in 2⁶⁴ and costs a needless mirror.
    hash: u64,
    /// Which minute since the start `current` counts.
    minute: u64,
    current: u32,
    previous: u32,
}

impl Tracked {
    fn count(&mut self, now: Minute) {
        let (current, previous) = self.at(now.number);
        *self = Self {
            hash: self.hash,
            minute: self.minute.max(now.number),
            current: current.saturating_add(1),
            previous,
        };
    }

    fn rate(&self, now: Minute) -> f64 {
        let (current, previous) = self.at(now.number);
        f64::from(current) + f64::from(previous) * now.before
    }

    /// What `current` and `previous` are in that minute. A time before the last one counted is taken for it.
    fn at(&self, minute: u64) -> (u32, u32) {
        match minute.saturating_sub(self.minute) {
            0 => (self.current, self.previous),
            1 => (0, self.current),
            _ => (0, 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SEED: u64 = 7;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// Records a key at a steady rate over a span, and gives the highest rate that was estimated on the way.
    fn steady(keys: &mut HotKeys, key: &str, per_minute: f64, from: f64, to: f64) -> f64 {
        let gap = 60.0 / per_minute;
        let gets = ((to - from) / gap) as usize;
        (0..gets).map(|n| keys.record(key.as_bytes(), secs(from + n as f64 * gap))).fold(0.0, f64::max)
    }

    /// Numbers that look random, the same in each run.
    fn scrambled(n: u64) -> u64 {
        xxh3_64_with_seed(&n.to_le_bytes(), SEED)
    }

    #[test]
    fn rules_are_read_and_printed_alike_and_anything_else_is_refused() {
        for text in ["100/min", "1/min", "always", "off"] {
            assert_eq!(text.parse::<Hot>().unwrap().to_string(), text);
        }
        for text in ["", "100", "0/min", "-1/min", "1.5/min", "100/s", "100 /min", "owner", "99999999999/min"]
        {
            assert!(text.parse::<Hot>().is_err(), "{text}");
        }
        assert_eq!(Hot::default().to_string(), "100/min");
    }

    #[test]
    fn a_rule_holds_from_its_rate_on() {
        let hot = Hot::default();
        assert!(hot.holds(100.0) && hot.holds(1e9) && !hot.holds(99.9) && !hot.holds(0.0));
        assert!(Hot::Always.holds(0.0) && !Hot::Off.holds(1e9));
    }

    #[test]
    fn the_hundredth_get_within_a_minute_makes_a_key_hot() {
        let mut keys = HotKeys::new(64, SEED);
        let rates: Vec<f64> = (0..100).map(|n| keys.record(b"Tom", secs(f64::from(n) * 0.1))).collect();
        assert_eq!((rates[0], rates[98], rates[99]), (1.0, 99.0, 100.0));
        assert_eq!(keys.rate(b"Jack", secs(10.0)), 0.0);
    }

    #[test]
    fn a_million_distinct_keys_take_no_more_room_than_the_first() {
        let mut keys = HotKeys::new(1024, SEED);
        let room = std::mem::size_of_val(&*keys.sets);
        for n in 0..1_000_000u64 {
            keys.record(&n.to_le_bytes(), Duration::from_micros(n * 100));
        }
        assert_eq!(std::mem::size_of_val(&*keys.sets), room);
        assert_eq!(room, 1024 * 24);
    }

    #[test]
    fn a_flood_of_distinct_keys_makes_none_of_them_hot() {
        let mut keys = HotKeys::new(64, SEED);
        let highest = (0..100_000u64)
            .map(|n| keys.record(&n.to_le_bytes(), Duration::from_micros(n * 100)))
            .fold(0.0, f64::max);
        assert_eq!(highest, 1.0, "a newcomer inherits nothing");
    }

    #[test]
    fn the_hottest_keys_stay_through_a_flood() {
        // 20 keys at 300 a minute, among 100 times as many gets of keys that come once.
        let mut keys = HotKeys::new(1024, SEED);
        let hot: Vec<String> = (0..20).map(|n| format!("hot{n}")).collect();
        for key in &hot {
            steady(&mut keys, key, 300.0, 0.0, 60.0);
        }
        let mut now = 60.0;
        for n in 0..600_000u64 {
            now += 60.0 / 600_000.0;
            keys.record(&n.to_le_bytes(), secs(now));
            if n % 100 == 0 {
                let key = &hot[scrambled(n) as usize % hot.len()];
                keys.record(key.as_bytes(), secs(now));
            }
        }
        let still =
            hot.iter().filter(|key| Hot::default().holds(keys.rate(key.as_bytes(), secs(now)))).count();
        assert_eq!(still, hot.len());
    }

    #[test]
    fn a_key_that_grows_hot_in_the_middle_of_a_flood_is_found() {
        // A hundredth of the gets go to one key that nobody knew before.
        let mut keys = HotKeys::new(256, SEED);
        let mut highest: f64 = 0.0;
        for n in 0..200_000u64 {
            let now = secs(n as f64 * 120.0 / 200_000.0);
            if scrambled(n).is_multiple_of(100) {
                highest = highest.max(keys.record(b"Tom", now));
            } else {
                keys.record(&n.to_le_bytes(), now);
            }
        }
        assert!(Hot::default().holds(highest), "{highest}");
    }

    #[test]
    fn a_clock_that_steps_back_is_taken_for_one_that_stands() {
        let mut keys = HotKeys::new(64, SEED);
        keys.record(b"Tom", secs(600.0));
        assert_eq!(keys.record(b"Tom", secs(100.0)), 2.0);
        assert_eq!(keys.rate(b"Tom", secs(600.0)), 2.0);
    }

    proptest! {
        #[test]
        fn a_steady_rate_is_hot_within_a_minute_however_long_ago_the_key_was_first_seen(
            start in 0.0..100_000.0, asleep in 0.0..100_000.0, per_minute in 150.0..1000.0,
        ) {
            let mut keys = HotKeys::new(64, SEED);
            keys.record(b"Tom", secs(start));
            let from = start + asleep;
            prop_assert!(Hot::default().holds(steady(&mut keys, "Tom", per_minute, from, from + 61.0)));
        }

        #[test]
        fn half_the_rate_is_never_hot_and_is_estimated_to_one_get(start in 0.0..100_000.0) {
            let mut keys = HotKeys::new(64, SEED);
            let highest = steady(&mut keys, "Tom", 50.0, start, start + 600.0);
            prop_assert!((49.0..=51.0).contains(&highest), "{}", highest);
        }

        #[test]
        fn a_key_that_stops_counts_nothing_two_minutes_later(
            // Asked for less than twice a minute, the last get may be too long ago to count.
            start in 0.0..100_000.0, per_minute in 2.0..10_000.0,
        ) {
            let mut keys = HotKeys::new(64, SEED);
            steady(&mut keys, "Tom", per_minute, start, start + 90.0);
            prop_assert!(keys.rate(b"Tom", secs(start + 90.0)) > 0.0);
            prop_assert_eq!(keys.rate(b"Tom", secs(start + 210.0)), 0.0);
        }

        #[test]
        fn while_all_keys_fit_no_estimate_is_over_the_gets_of_two_minutes_nor_under_those_of_this_one(
            gets in prop::collection::vec((0u8..8, 0u16..20_000), 1..400),
        ) {
            let mut keys = HotKeys::new(8, SEED);
            let mut seen: Vec<(u8, Duration)> = Vec::new();
            let mut now = Duration::ZERO;
            for (key, pause_ms) in gets {
                now += Duration::from_millis(pause_ms.into());
                seen.push((key, now));
                let rate = keys.record(&[key], now);
                let minute = |at: &Duration| at.as_secs() / 60;
                let since = |from: u64| seen.iter().filter(|(k, t)| *k == key && minute(t) >= from).count();
                let this = minute(&now);
                prop_assert!(rate >= since(this) as f64);
                prop_assert!(rate <= since(this.saturating_sub(1)) as f64);
            }
        }
    }
}
