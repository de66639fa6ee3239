//! A timing wheel: which hashes have something that expired by now.
//!
//! Hierarchical, after Varghese and Lauck (1987): 256 ms a bucket on the lowest level, 64 times as much on each of
//! the next three, 49 days in all. What lies further off waits in a heap rather than going round the last level. The
//! bucket of the present is looked through, so a hint is given when it is due and not a tick later. A hint is a hash
//! and a moment, 8 bytes, and points to nothing: it says "look here", so whoever deletes an entry leaves its hint to
//! run out, and a shard whose wheel holds more than twice the hints it has use for builds it anew. Levels keep only the
//! buckets that hold something, found by a bit each; so a wheel that is not used costs nothing, and time that passes
//! with nothing due costs the same few steps, be it a tick or a century.
//!
//! Lives in one shard, under its lock. Reads no clock and knows no entry.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::clock::Time;

/// A tick is 2^8 ms. Finer ones would want more buckets, each with a list of its own; coarser ones longer lists to look
/// through at present.
const TICK_BITS: u32 = 8;

/// 64 buckets a level, as many as an integer has bits.
const DIGIT_BITS: u32 = 6;
const LEVELS: usize = 4;
const TOP: usize = LEVELS - 1;

/// The last tick there is.
const LAST: u64 = u64::MAX >> TICK_BITS;

// A hint keeps the lower 32 bits of its moment, so the levels must not reach further than those do.
const _: () = assert!(TICK_BITS + DIGIT_BITS * LEVELS as u32 == 32);

pub(crate) struct Wheel {
    levels: [Level; LEVELS],
    /// What was more than the top level away when it was added; the earliest first.
    far: BinaryHeap<Reverse<Far>>,
    /// The tick the wheel stands at. Invariants: no hint is earlier. A hint of level n differs from the cursor in
    /// the n-th digit and in none above it, save on the top level, which goes round; so what stands on a lower level
    /// is earlier. The bucket that the cursor's own digit names is empty above level 0, unless `advance` ran out of
    /// its budget half way through it.
    cursor: u64,
    /// No step is to be made before this moment, in milliseconds.
    next: u64,
    len: usize,
}

impl Wheel {
    /// What a hint takes at most, the room its bucket holds in reserve included: 11 bytes, and 16 in the heap, for
    /// what is more than 49 days off. Not in it: some 80 bytes for each bucket that holds anything, of 256.
    pub(crate) const BYTES_PER_HINT: usize = size_of::<Far>() * 4 / 3;

    pub(crate) fn new() -> Self {
        let levels = [(); LEVELS].map(|()| Level::default());
        Self { levels, far: BinaryHeap::new(), cursor: 0, next: u64::MAX, len: 0 }
    }

    /// Hints that were added and not yet given.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all hints, and gives back their room. What was past stays past.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn clear(&mut self) {
        *self = Self { cursor: self.cursor, ..Self::new() };
    }

    /// Has this hash looked at once `expires` is past. What is past already is given by the next `advance`, with a
    /// moment that is past as well.
    pub(crate) fn add(&mut self, hash: u32, expires: Time) {
        self.len += 1;
        let step = self.place(hash, expires.as_millis().max(self.start()));
        self.next = self.next.min(step);
    }

    /// Whether `advance` would do anything: one comparison, for the way of every insert.
    pub(crate) fn is_due(&self, now: Time) -> bool {
        now.as_millis() >= self.next
    }

    /// Gives hints whose moment is past, each once, none before its moment, and at most `budget` of them.
    ///
    /// A hint that has to go down a level counts as one given: so a call costs what its budget says, and a hint
    /// five steps in its life. Where the budget is spent, `is_due` stays true and the next call goes on; else all
    /// has been given that is past. A clock that went back gives nothing.
    pub(crate) fn advance(&mut self, now: Time, budget: usize, due: &mut impl FnMut(u32, Time)) {
        let end = now.as_millis() >> TICK_BITS;
        let mut left = budget;
        loop {
            self.draw_near(&mut left);
            if left == 0 {
                break;
            }
            let Some((level, start)) = self.earliest() else { if self.jump(end) { continue } else { break } };
            // On a higher level the cursor must not enter a bucket that is still to be dealt out.
            if start > end {
                self.move_to(end);
                break;
            }
            self.move_to(start);
            match level {
                0 if start == end => {
                    self.give_until(now.as_millis(), &mut left, due);
                    break;
                }
                0 => self.give(&mut left, due),
                _ => self.cascade(level, &mut left),
            }
        }
        self.draw_near(&mut left);
        self.next = self.next_step();
    }

    /// The cursor's first moment.
    fn start(&self) -> u64 {
        self.cursor << TICK_BITS
    }

    fn move_to(&mut self, tick: u64) {
        self.cursor = self.cursor.max(tick.min(LAST));
    }

    /// Puts a hint where it belongs as the cursor stands, and gives the moment at which it is to be touched again.
    fn place(&mut self, hash: u32, expires: u64) -> u64 {
        let tick = expires >> TICK_BITS;
        if let Some(level) = self.level(tick) {
            self.levels[level].push(digit(tick, level), Near { hash, low: expires as u32 });
            return if level == 0 { expires } else { entry(level, tick) };
        }
        if self.far.len() == self.far.capacity() {
            self.far.reserve_exact(headroom(self.far.len()));
        }
        self.far.push(Reverse(Far { high: (expires >> 32) as u32, low: expires as u32, hash }));
        entry(TOP, tick)
    }

    /// The level for a tick that is not before the cursor; none if it is too far off.
    fn level(&self, tick: u64) -> Option<usize> {
        let differ = tick ^ self.cursor;
        let level = (differ | 1).ilog2() / DIGIT_BITS;
        if (level as usize) < TOP {
            return Some(level as usize);
        }
        // The top level has no digit above it that must be the same: it is enough that it does not go all round.
        let shift = DIGIT_BITS * TOP as u32;
        ((tick >> shift) - (self.cursor >> shift) < 1 << DIGIT_BITS).then_some(TOP)
    }

    /// The bucket that comes next, by its level and its first tick.
    fn earliest(&self) -> Option<(usize, u64)> {
        let ahead = |level: usize| self.levels[level].ahead(digit(self.cursor, level));
        // One that was left half way down comes before all, since the hints still in it may be the earliest.
        let level = (1..LEVELS)
            .rev()
            .find(|&level| ahead(level) == Some(0))
            .or_else(|| (0..LEVELS).find(|&level| ahead(level).is_some()))?;
        let shift = DIGIT_BITS * level as u32;
        Some((level, ((self.cursor >> shift) + ahead(level)?) << shift))
    }

    /// Gives the bucket the cursor stands at.
    fn give(&mut self, left: &mut usize, due: &mut impl FnMut(u32, Time)) {
        let index = digit(self.cursor, 0);
        while *left > 0
            && let Some(hint) = self.levels[0].pop(index)
        {
            *left -= 1;
            self.len -= 1;
            due(hint.hash, Time::from_millis(self.whole(hint)));
        }
    }

    /// Gives of the bucket the cursor stands at what is past.
    fn give_until(&mut self, now: u64, left: &mut usize, due: &mut impl FnMut(u32, Time)) {
        let (index, start) = (digit(self.cursor, 0), self.start());
        let mut at = 0;
        while *left > 0
            && let Some(&hint) = self.levels[0].of(index).get(at)
        {
            if whole(start, hint) > now {
                at += 1;
                continue;
            }
            self.levels[0].pop_at(index, at);
            *left -= 1;
            self.len -= 1;
            due(hint.hash, Time::from_millis(whole(start, hint)));
        }
    }

    /// Deals the bucket that the cursor has entered out to the levels below.
    fn cascade(&mut self, level: usize, left: &mut usize) {
        let index = digit(self.cursor, level);
        while *left > 0
            && let Some(hint) = self.levels[level].pop(index)
        {
            *left -= 1;
            self.place(hint.hash, self.whole(hint));
        }
    }

    /// Takes what the levels reach by now out of the heap.
    fn draw_near(&mut self, left: &mut usize) {
        while *left > 0
            && let Some(&Reverse(far)) = self.far.peek()
            && self.level(far.tick()).is_some()
        {
            *left -= 1;
            self.far.pop();
            if is_roomy(self.far.len(), self.far.capacity()) {
                self.far.shrink_to(self.far.len() + headroom(self.far.len()) / 2);
            }
            self.place(far.hash, far.expires());
        }
    }

    /// With nothing on any level: moves on to what is first in the heap, if that comes before `end`, else to `end`.
    fn jump(&mut self, end: u64) -> bool {
        let first = self.far.peek().map(|Reverse(far)| far.tick()).filter(|&tick| tick <= end);
        self.move_to(first.unwrap_or(end));
        first.is_some()
    }

    /// When the first thing is to be done, as the wheel stands.
    fn next_step(&self) -> u64 {
        let near = self.earliest().map_or(u64::MAX, |(level, tick)| match level {
            0 => self.levels[0]
                .of(digit(tick, 0))
                .iter()
                .map(|hint| self.whole(*hint))
                .min()
                .unwrap_or(u64::MAX),
            _ => entry(level, tick),
        });
        let far = self.far.peek().map_or(u64::MAX, |Reverse(far)| entry(TOP, far.tick()));
        near.min(far)
    }

    fn whole(&self, hint: Near) -> u64 {
        whole(self.start(), hint)
    }
}

/// A hint's whole moment: the first after `start` with these lower bits.
fn whole(start: u64, hint: Near) -> u64 {
    start + u64::from(hint.low.wrapping_sub(start as u32))
}

/// The moment at which the cursor enters a tick's bucket on a level.
fn entry(level: usize, tick: u64) -> u64 {
    let shift = DIGIT_BITS * level as u32;
    tick >> shift << shift << TICK_BITS
}

/// The number of a tick's bucket on a level.
fn digit(tick: u64, level: usize) -> u32 {
    (tick >> (DIGIT_BITS * level as u32)) as u32 & ((1 << DIGIT_BITS) - 1)
}

/// How much room to add to this many: a quarter, since doubling would cost more bytes than a hint has.
fn headroom(len: usize) -> usize {
    len / 4 + 2
}

/// Whether more than a quarter of the room is free. Between two shrinks, or a growth and a shrink, an eighth of what
/// is there comes or goes, so each costs no more than a few moves.
fn is_roomy(len: usize, capacity: usize) -> bool {
    capacity > len + len / 3 + 4
}

/// Room for one more.
fn widen<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(headroom(list.len()));
    }
}

/// Gives back what is too much.
fn tighten<T>(list: &mut Vec<T>) {
    if list.is_empty() {
        *list = Vec::new();
    } else if is_roomy(list.len(), list.capacity()) {
        list.shrink_to(list.len() + headroom(list.len()) / 2);
    }
}

/// A hint on a level.
#[derive(Clone, Copy)]
struct Near {
    hash: u32,
    /// The moment's lower half; the upper one follows from the cursor.
    low: u32,
}

/// A hint in the heap, in the order of their moments. Two halves, since a whole would make 16 bytes of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Far {
    high: u32,
    low: u32,
    hash: u32,
}

impl Far {
    fn expires(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    fn tick(self) -> u64 {
        self.expires() >> TICK_BITS
    }
}

/// One level: the buckets that hold something.
#[derive(Default)]
struct Level {
    /// A bit for each bucket that holds something.
    held: u64,
    /// Those buckets, by their numbers.
    buckets: Vec<Vec<Near>>,
}

impl Level {
    /// How far on from the cursor's digit the next bucket is that holds something.
    fn ahead(&self, from: u32) -> Option<u64> {
        (self.held != 0).then(|| u64::from(self.held.rotate_right(from).trailing_zeros()))
    }

    /// Where the bucket of this number stands, or would stand.
    fn place(&self, index: u32) -> usize {
        (self.held & ((1 << index) - 1)).count_ones() as usize
    }

    fn holds(&self, index: u32) -> bool {
        self.held >> index & 1 == 1
    }

    fn push(&mut self, index: u32, hint: Near) {
        let place = self.place(index);
        if !self.holds(index) {
            self.held |= 1 << index;
            widen(&mut self.buckets);
            self.buckets.insert(place, Vec::new());
        }
        let bucket = &mut self.buckets[place];
        widen(bucket);
        bucket.push(hint);
    }

    /// What a bucket holds.
    fn of(&self, index: u32) -> &[Near] {
        if self.holds(index) { &self.buckets[self.place(index)] } else { &[] }
    }

    fn pop(&mut self, index: u32) -> Option<Near> {
        self.pop_at(index, self.of(index).len().checked_sub(1)?)
    }

    fn pop_at(&mut self, index: u32, at: usize) -> Option<Near> {
        let place = self.place(index);
        let bucket = &mut self.buckets[place];
        let hint = Some(bucket.swap_remove(at));
        if bucket.is_empty() {
            self.held ^= 1 << index;
            self.buckets.remove(place);
            tighten(&mut self.buckets);
        } else {
            tighten(bucket);
        }
        hint
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
