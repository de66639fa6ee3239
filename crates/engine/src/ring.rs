//! A queue of entries: addresses in the order they came, in segments, with holes where one left from the middle.
//!
//! Each entry knows its place, so that one which is removed leaves a hole at once and its block is free; a list would
//! cost two links an entry, and a miss for each neighbour. Holes are passed over, and closed when they are too many.
//! One shard has a few of these, under its lock. Addresses are numbers here: a ring reads no block.

use std::collections::VecDeque;

/// Addresses in a segment: 2 KiB, so that what is half empty at the two ends is little.
const SEGMENT: u32 = 256;
/// Up to this many holes are nothing to close.
const FEW: usize = 64;
/// The bytes that an entry takes here at most: its address, and its part of the holes.
pub(crate) const BYTES_PER_ENTRY: usize = 10;

/// Entries come at the head and leave at the tail. Places are counted on for ever, and wrap.
#[derive(Default)]
pub(crate) struct Ring {
    segments: VecDeque<Box<[u64; SEGMENT as usize]>>,
    /// The place at which the first segment begins: a multiple of `SEGMENT`.
    base: u32,
    /// The place of the oldest entry, if there is one.
    tail: u32,
    /// Where the next one comes.
    head: u32,
    /// Entries, holes not counted.
    len: usize,
}

impl Ring {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts an address at the head, and gives its place. Addresses are not zero.
    pub(crate) fn push(&mut self, address: u64) -> u32 {
        let place = self.head;
        if place.wrapping_sub(self.base) == self.room() {
            self.segments.push_back(Box::new([0; SEGMENT as usize]));
        }
        *self.slot(place) = address;
        self.head = place.wrapping_add(1);
        self.len += 1;
        place
    }

    /// Puts another address in the same place.
    pub(crate) fn set(&mut self, place: u32, address: u64) {
        debug_assert!(*self.slot(place) != 0, "an entry is at its place");
        *self.slot(place) = address;
    }

    /// Leaves a hole.
    pub(crate) fn remove(&mut self, place: u32) {
        let slot = self.slot(place);
        debug_assert!(*slot != 0, "an entry is at its place");
        *slot = 0;
        self.len -= 1;
        self.skip();
    }

    /// The oldest.
    pub(crate) fn oldest(&self) -> Option<u64> {
        (self.len > 0).then(|| self.at(self.tail))
    }

    /// Takes the oldest out.
    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn pop(&mut self) -> Option<u64> {
        let address = self.oldest()?;
        self.remove(self.tail);
        Some(address)
    }

    /// The one that is `ahead` places from the oldest, unless there is a hole.
    pub(crate) fn ahead(&self, ahead: u32) -> Option<u64> {
        let place = self.tail.wrapping_add(ahead);
        let address = if self.head.wrapping_sub(self.tail) > ahead { self.at(place) } else { 0 };
        (address != 0).then_some(address)
    }

    /// All of them, the newest first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = u64> + '_ {
        let places = self.head.wrapping_sub(self.tail);
        let slots = (0..places).rev().map(|offset| self.at(self.tail.wrapping_add(offset)));
        slots.filter(|&address| address != 0)
    }

    /// Whether there are too many holes: more than `quarters` of the entries.
    pub(crate) fn is_holed(&self, quarters: usize) -> bool {
        let holes = self.head.wrapping_sub(self.tail) as usize - self.len;
        holes > (self.len / 4 * quarters).max(FEW)
    }

    /// Closes the holes: tells of each address and the place it has now, oldest first.
    pub(crate) fn close(&mut self, mut moved: impl FnMut(u64, u32)) {
        let old = std::mem::take(self);
        for offset in 0..old.head.wrapping_sub(old.tail) {
            let address = old.at(old.tail.wrapping_add(offset));
            if address != 0 {
                let place = self.push(address);
                moved(address, place);
            }
        }
    }

    fn room(&self) -> u32 {
        self.segments.len() as u32 * SEGMENT
    }

    fn at(&self, place: u32) -> u64 {
        let offset = place.wrapping_sub(self.base);
        self.segments[(offset / SEGMENT) as usize][(offset % SEGMENT) as usize]
    }

    fn slot(&mut self, place: u32) -> &mut u64 {
        let offset = place.wrapping_sub(self.base);
        &mut self.segments[(offset / SEGMENT) as usize][(offset % SEGMENT) as usize]
    }

    /// Moves the tail to an entry, or to the head; segments that lie behind it go to the head, or are freed.
    fn skip(&mut self) {
        while self.tail != self.head && self.at(self.tail) == 0 {
            self.tail = self.tail.wrapping_add(1);
            if self.tail.wrapping_sub(self.base) == SEGMENT {
                let emptied = self.segments.pop_front();
                self.base = self.tail;
                // One in reserve: a queue that is pushed and popped in turn allocates nothing.
                if self.segments.len() < 2 || self.room() == self.head.wrapping_sub(self.base) {
                    self.segments.extend(emptied);
                }
            }
        }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_first_also_over_holes_and_segments() {
        let mut ring = Ring::default();
        let mut places = VecDeque::new();
        let mut popped = Vec::new();
        for n in 1..=5000_u64 {
            places.push_back((n, ring.push(n)));
            if n % 3 == 0 {
                let (_, place) = places.remove(places.len() / 2).unwrap();
                ring.remove(place);
            }
            if n % 4 == 0 {
                popped.push(ring.pop().unwrap());
                assert_eq!(*popped.last().unwrap(), places.pop_front().unwrap().0);
            }
            assert_eq!(ring.len(), places.len());
            assert_eq!(ring.oldest(), places.front().map(|&(n, _)| n));
        }
        let left: Vec<u64> = places.iter().rev().map(|&(n, _)| n).collect();
        assert_eq!(ring.newest_first().collect::<Vec<_>>(), left);
    }

    #[test]
    fn places_wrap_round_after_four_thousand_million() {
        let start = u32::MAX / SEGMENT * SEGMENT;
        let mut ring = Ring { base: start, tail: start, head: start, ..Ring::default() };
        let places: Vec<u32> = (1..=1000).map(|n| ring.push(n)).collect();
        assert!(places.last() < places.first());
        ring.remove(places[500]);
        assert!((1..=1000).filter(|&n| n != 501).all(|n| ring.pop() == Some(n)));
        assert!(ring.pop().is_none());
        assert_eq!(ring.len(), 0);
    }

    #[test]
    fn closing_holes_keeps_the_order_and_tells_the_new_places() {
        let mut ring = Ring::default();
        let places: Vec<u32> = (1..=1000).map(|n| ring.push(n)).collect();
        places.iter().step_by(2).for_each(|&place| ring.remove(place));
        assert!(ring.is_holed(1));
        let mut told = Vec::new();
        ring.close(|address, place| told.push((address, place)));
        assert!(!ring.is_holed(1));
        assert!(told.iter().all(|&(address, place)| ring.at(place) == address));
        assert_eq!(
            told.iter().map(|told| told.0).collect::<Vec<_>>(),
            (2..=1000).step_by(2).collect::<Vec<_>>()
        );
        ring.set(told[3].1, 7777);
        assert!(ring.newest_first().any(|address| address == 7777));
    }

    #[test]
    fn a_queue_in_steady_use_keeps_few_segments() {
        let mut ring = Ring::default();
        (1..=1000).for_each(|n| _ = ring.push(n));
        for n in 1001..=100_000 {
            ring.push(n);
            ring.pop();
        }
        assert!(ring.segments.len() <= 1000 / SEGMENT as usize + 3);
        while ring.pop().is_some() {}
        assert_eq!((ring.len(), ring.oldest()), (0, None));
    }
}
