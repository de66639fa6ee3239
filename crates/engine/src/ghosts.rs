//! Ghosts: what was evicted lately, without the values; one 32-bit word each.
//!
//! A key that comes back while its ghost is here left too early: which queue it left says which queue is too small
//! (after ARC; Megiddo and Modha 2003), and its count says how often it came back. One shard has one of these, under
//! its lock.
//!
//! The words lie in lines of 16, the youngest first; a ghost comes into that of two lines, which its hash names, whose
//! last word is free or the older. So the lines can be nearly full and lose hardly any but the oldest: a plain hash
//! table at this size loses enough to cost two points on a looping disk trace. 20 bits tell a key among the 32 words it
//! may be in; with 13, a loop's false matches came back each lap.
//!
//! A queue's ghosts reach back over a given weight of evictions. A ghost carries the stamp under which it was made, and
//! for each stamp the weight of its ghosts is kept: the oldest stamp is dropped when they are too heavy together, and
//! what is taken out makes room for older ones at once. Stamps wrap, so dead words are swept before they can seem
//! young.
#![allow(clippy::cast_possible_truncation, reason = "words are put together of parts that fit")]

use crate::prefetch::prefetch;

/// Words in a line.
const WORDS: usize = 16;
type Line = [u32; WORDS];

/// Words for each resident entry: the ghosts of both queues reach over 1.8 times the capacity, and an eighth of the
/// words stays free.
const PER_ENTRY: f64 = 2.1;
/// What that costs in bytes, when the table has just grown by a quarter.
pub(crate) const BYTES_PER_ENTRY: usize = 11;

/// The stamps there are, by seven bits; of these a queue's reach is 32, more where many ghosts were taken out.
const STAMPS: u8 = 128;
const IN_REACH: u64 = 32;
/// A quarter of the stamps is dead, so that there is time to sweep what bears them.
const OLDEST: u8 = STAMPS / 4 * 3;
/// A stamp's turn sweeps this part of the lines: all of them while a quarter of the stamps turns, and some to spare.
const SWEEPS: usize = 28;

/// The largest count that a ghost can carry.
pub(crate) const MAX_COUNT: u8 = 7;

/// Which queue an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Small,
    Main,
}

/// What is known of a key that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ghost {
    pub(crate) from: From,
    pub(crate) count: u8,
    /// The weight that left its queue since, to a 32nd of its reach.
    pub(crate) age: u64,
}

/// The ghosts of one shard.
#[derive(Default)]
pub(crate) struct Ghosts {
    lines: Vec<Line>,
    ages: Box<[Ages; 2]>,
    /// The line to be swept next.
    broom: usize,
}

/// A ghost in 32 bits: fingerprint 20, queue 1, count 3, stamp 8. Zero is none: fingerprints are not.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    fn new(print: u32, from: From, count: u8, stamp: u8) -> Self {
        Self(print << 12 | (from as u32) << 11 | u32::from(count.min(MAX_COUNT)) << 8 | u32::from(stamp))
    }

    fn from(self) -> From {
        if self.0 >> 11 & 1 == 0 { From::Small } else { From::Main }
    }

    fn count(self) -> u8 {
        (self.0 >> 8 & 7) as u8
    }

    fn stamp(self) -> u8 {
        self.0 as u8
    }
}

/// The ages of one queue's ghosts.
struct Ages {
    now: u8,
    oldest: u8,
    /// Put under the present stamp.
    filled: u64,
    /// What a stamp stands for.
    unit: u64,
    /// Of all that is alive, and of each stamp.
    weight: u64,
    of_stamp: [u64; STAMPS as usize],
    /// The weight of a ghost, as a moving average.
    average: f64,
}

impl Default for Ages {
    fn default() -> Self {
        let of_stamp = [0; STAMPS as usize];
        Self { now: 0, oldest: 0, filled: 0, unit: 1, weight: 0, of_stamp, average: 0.0 }
    }
}

impl Ages {
    fn age(&self, stamp: u8) -> u8 {
        self.now.wrapping_sub(stamp) % STAMPS
    }

    fn is_alive(&self, stamp: u8) -> bool {
        self.age(stamp) <= self.age(self.oldest)
    }

    /// One more ghost: its stamp, and whether another stamp's turn has come.
    fn add(&mut self, weight: u64, reach: u64) -> (u8, bool) {
        let step = if self.average == 0.0 { 1.0 } else { 64.0 };
        self.average += (weight as f64 - self.average) / step;
        self.unit = (reach / IN_REACH).max(1);
        let stamp = self.now;
        self.of_stamp[usize::from(stamp)] += weight;
        self.weight += weight;
        self.filled += weight;
        let turned = self.filled >= self.unit;
        if turned {
            self.filled = 0;
            self.now = (self.now + 1) % STAMPS;
            if self.age(self.oldest) > OLDEST {
                self.forget_oldest();
            }
        }
        while self.weight > reach && self.oldest != self.now {
            self.forget_oldest();
        }
        (stamp, turned)
    }

    fn forget_oldest(&mut self) {
        self.weight -= std::mem::take(&mut self.of_stamp[usize::from(self.oldest)]);
        self.oldest = (self.oldest + 1) % STAMPS;
    }

    /// One ghost less, of about this weight: the word does not say it. Older ones have its room now.
    fn remove(&mut self, stamp: u8, weight: u64) {
        let left = &mut self.of_stamp[usize::from(stamp)];
        let gone = weight.min(*left);
        *left -= gone;
        self.weight -= gone;
    }

    /// About how many ghosts are alive.
    fn count(&self) -> f64 {
        if self.weight == 0 { 0.0 } else { self.weight as f64 / self.average }
    }
}

impl Ghosts {
    /// About how many ghosts of this queue there are.
    pub(crate) fn count(&self, from: From) -> f64 {
        self.ages[from as usize].count()
    }

    /// Takes out the ghost of a key that comes back with this weight.
    pub(crate) fn take(&mut self, hash: u64, weight: u64) -> Option<Ghost> {
        if self.lines.is_empty() {
            return None;
        }
        let (print, at) = self.places(hash);
        let (line, slot) = at.into_iter().find_map(|line| Some((line, self.find_in(line, print)?)))?;
        let word = Word(self.lines[line][slot]);
        self.lines[line].copy_within(slot + 1.., slot);
        self.lines[line][WORDS - 1] = 0;
        let ages = &mut self.ages[word.from() as usize];
        ages.remove(word.stamp(), weight);
        let age = u64::from(ages.age(word.stamp())) * ages.unit;
        Some(Ghost { from: word.from(), count: word.count(), age })
    }

    /// Remembers an evicted key. `reach` is the weight of evictions that its queue's ghosts go back; `residents` is how
    /// many entries the shard holds.
    pub(crate) fn put(
        &mut self,
        hash: u64,
        from: From,
        count: u8,
        weight: u64,
        reach: u64,
        residents: usize,
    ) {
        self.make_room(residents);
        let (stamp, turned) = self.ages[from as usize].add(weight, reach.max(1));
        if turned {
            self.sweep();
        }
        let (print, lines) = self.places(hash);
        let line = self.roomier(lines);
        let last = Word(self.lines[line][WORDS - 1]);
        if self.is_alive(last) {
            let ages = &mut self.ages[last.from() as usize];
            ages.remove(last.stamp(), ages.average as u64);
        }
        self.lines[line].copy_within(..WORDS - 1, 1);
        self.lines[line][0] = Word::new(print, from, count, stamp).0;
    }

    /// A key's fingerprint and its two lines, each from other bits of its hash.
    fn places(&self, hash: u64) -> (u32, [usize; 2]) {
        let count = self.lines.len() as u64;
        let scaled = |bits: u64| (((bits >> 32) * count) >> 32) as usize;
        // The shard and the table use the same hash; a product mixes it anew.
        let mixed = hash.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let other = (mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (((other & 0xF_FFFF) as u32).max(1), [scaled(mixed), scaled(other)])
    }

    fn is_alive(&self, word: Word) -> bool {
        word.0 != 0 && self.ages[word.from() as usize].is_alive(word.stamp())
    }

    /// The place of a living ghost with this fingerprint.
    fn find_in(&self, line: usize, print: u32) -> Option<usize> {
        let mut alike = 0_u16;
        for (slot, &word) in self.lines[line].iter().enumerate() {
            alike |= u16::from(word >> 12 == print) << slot;
        }
        // Nearly always there is none.
        while alike != 0 {
            let slot = alike.trailing_zeros() as usize;
            if self.is_alive(Word(self.lines[line][slot])) {
                return Some(slot);
            }
            alike &= alike - 1;
        }
        None
    }

    /// Has a key's lines fetched.
    pub(crate) fn prefetch(&self, hash: u64) {
        if !self.lines.is_empty() {
            let (_, lines) = self.places(hash);
            lines.into_iter().for_each(|line| prefetch(self.lines[line].as_ptr().cast()));
        }
    }

    /// Of two lines the one to put a ghost in: whose last word is no ghost any more, else the older one for its queue.
    fn roomier(&self, [one, other]: [usize; 2]) -> usize {
        let age = |line: usize| {
            let word = Word(self.lines[line][WORDS - 1]);
            let ages = &self.ages[word.from() as usize];
            let is_alive = word.0 != 0 && ages.is_alive(word.stamp());
            let part =
                (u32::from(ages.age(word.stamp())) + 1) * 1024 / (u32::from(ages.age(ages.oldest)) + 1);
            if is_alive { part } else { u32::MAX }
        };
        if age(one) >= age(other) { one } else { other }
    }

    /// Clears the dead words of some lines.
    fn sweep(&mut self) {
        for _ in 0..self.lines.len().div_ceil(SWEEPS) {
            self.broom = if self.broom + 1 < self.lines.len() { self.broom + 1 } else { 0 };
            let mut kept = [0; WORDS];
            let alive = self.lines[self.broom].into_iter().filter(|&word| self.is_alive(Word(word)));
            kept.iter_mut().zip(alive).for_each(|(slot, word)| *slot = word);
            self.lines[self.broom] = kept;
        }
    }

    /// Fits the lines to the number of entries. The first time it is made to measure; later it grows by a quarter and
    /// shrinks to the half.
    fn make_room(&mut self, residents: usize) {
        let wanted = ((residents as f64 * PER_ENTRY) as usize).div_ceil(WORDS).max(1);
        let count = self.lines.len();
        if count == 0 {
            self.lines = vec![[0; WORDS]; wanted];
        } else if wanted > count + count / 8 {
            self.resize(wanted.max(count + count / 4));
        } else if wanted < count / 4 {
            self.resize(wanted * 2);
        }
    }

    /// A line's hashes lie side by side, so a new line has its ghosts from the old ones that it overlaps. Which they
    /// are a word does not say, so all are copied, as far as there is room, and those that belong elsewhere grow old.
    fn resize(&mut self, count: usize) {
        let old = std::mem::take(&mut self.lines);
        self.lines = (0..count)
            .map(|at| {
                let first = at * old.len() / count;
                let last = ((at + 1) * old.len()).div_ceil(count).max(first + 1);
                let mut alive: Vec<u32> = old[first..last.min(old.len())]
                    .iter()
                    .flatten()
                    .copied()
                    .filter(|&word| self.is_alive(Word(word)))
                    .collect();
                alive.sort_by_key(|&word| self.ages[Word(word).from() as usize].age(Word(word).stamp()));
                let mut line = [0; WORDS];
                line.iter_mut().zip(alive).for_each(|(slot, word)| *slot = word);
                line
            })
            .collect();
        self.broom = 0;
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn hash(n: u64) -> u64 {
        let mixed = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed ^ mixed >> 31).wrapping_mul(0x94D0_49BB_1331_11EB)
    }

    #[test]
    fn a_ghost_is_found_once_with_its_queue_and_its_count() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.take(hash(1), 1), None);
        ghosts.put(hash(1), From::Small, 3, 1, 100, 100);
        ghosts.put(hash(2), From::Main, 9, 1, 100, 100);
        assert_eq!(ghosts.take(hash(2), 1), Some(Ghost { from: From::Main, count: MAX_COUNT, age: 0 }));
        assert_eq!(ghosts.take(hash(2), 1), None);
        assert_eq!(ghosts.take(hash(1), 1).unwrap().count, 3);
        assert!(ghosts.count(From::Small) == 0.0 && ghosts.count(From::Main) == 0.0);
    }

    #[test]
    fn nearly_all_ghosts_within_the_reach_are_found_and_hardly_any_beyond() {
        const CAPACITY: u64 = 5000;
        let mut ghosts = Ghosts::default();
        let (small, main) = (CAPACITY * 3 / 2, CAPACITY * 5 / 16);
        for n in 0..10 * CAPACITY {
            ghosts.put(hash(n), From::Small, 1, 1, small, CAPACITY as usize);
            if n % 2 == 0 {
                ghosts.put(hash(n + 1_000_000), From::Main, 1, 1, main, CAPACITY as usize);
            }
        }
        let found = |ghosts: &mut Ghosts, from: u64, to: u64| {
            (from..to).filter(|&n| ghosts.take(hash(10 * CAPACITY - 1 - n), 1).is_some()).count() as u64
        };
        let beyond = found(&mut ghosts, small + small / 8, 8 * CAPACITY);
        let within = found(&mut ghosts, 0, small - small / 16);
        assert!(within >= (small - small / 16) * 99 / 100, "{within} of {small}");
        assert!(beyond < 20, "{beyond}: by chance, 32 words of 20 bits each");
    }

    #[test]
    fn what_is_taken_makes_room_for_older_ones() {
        let mut ghosts = Ghosts::default();
        (0..1000).for_each(|n| ghosts.put(hash(n), From::Small, 1, 1, 1000, 1000));
        assert!((500..1000).all(|n| ghosts.take(hash(n), 1).is_some()));
        (1000..1400).for_each(|n| ghosts.put(hash(n), From::Small, 1, 1, 1000, 1000));
        let old = (0..500).filter(|&n| ghosts.take(hash(n), 1).is_some()).count();
        assert!(old >= 450, "{old} of the oldest 500 are within a reach of 1000 still");
    }

    #[test]
    fn the_dead_do_not_come_alive_when_stamps_wrap() {
        let mut ghosts = Ghosts::default();
        for round in 0..40_u64 {
            for n in 0..1000 {
                ghosts.put(hash(round * 1000 + n), From::Small, 1, 1, 1000, 1000);
            }
            if round >= 2 {
                let risen = (0..(round - 1) * 1000).filter(|&n| ghosts.take(hash(n), 1).is_some()).count();
                assert!(risen <= 5, "{risen} in round {round}");
            }
        }
    }

    #[test]
    fn few_are_lost_when_the_table_grows_or_shrinks() {
        for (before, after) in [(1000, 1300), (1000, 3000), (4000, 900)] {
            let mut ghosts = Ghosts::default();
            (0..800).for_each(|n| ghosts.put(hash(n), From::Small, 1, 1, 2000, before));
            ghosts.put(hash(800), From::Small, 1, 1, 2000, after);
            let found = (0..=800).filter(|&n| ghosts.take(hash(n), 1).is_some()).count();
            assert!(found >= 760, "{found} of 801 from {before} to {after}");
        }
    }

    #[test]
    fn the_words_of_an_entry_are_no_more_than_it_is_charged_for() {
        let mut ghosts = Ghosts::default();
        for residents in 100..5000 {
            ghosts.put(hash(residents as u64), From::Small, 1, 1, 1000, residents);
            assert!(ghosts.lines.len() * size_of::<Line>() <= residents * BYTES_PER_ENTRY + 64);
        }
    }

    #[test]
    fn age_is_the_weight_that_went_since() {
        let mut ghosts = Ghosts::default();
        (0..100).for_each(|n| ghosts.put(hash(n), From::Small, 1, 10, 3200, 1000));
        let age = ghosts.take(hash(40), 10).unwrap().age;
        assert!((500..=600).contains(&age), "{age}: 59 ghosts of 10, in stamps of 100");
        assert!((85.0..=100.0).contains(&ghosts.count(From::Small)));
    }
}
