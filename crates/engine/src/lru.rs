//! The entries of one shard in order of last use, in a slab: two lists threaded through one array of slots.
//!
//! Links are slot numbers, not pointers, so that this file is safe code and the order can be read off without
//! touching a single block. One list for the major and one for the minor region; a slot is in exactly one of them
//! or free. Lives in a shard, under its lock. It knows no keys, counts nothing and frees no block.

use std::mem;

use crate::block::Hit;

/// No slot.
const NONE: u32 = u32::MAX;

/// Which of the two lists an entry belongs to, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Region {
    Major = 0,
    Minor = 1,
}

/// An entry's place in an order taken earlier: still the same entry, or known to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    slot: u32,
    stamp: u32,
}

/// 24 bytes: this is the memory an entry costs beside its block and its share of the table.
struct Slot<M> {
    /// `None` when free.
    hit: Option<Hit<M>>,
    /// Half of the key's hash, so that the table grows without touching blocks.
    hash: u32,
    /// The number of the push that filled the slot, times two, plus the region. Tells an entry from a later one in
    /// the same slot, until 2^31 pushes went by.
    stamp: u32,
    hotter: u32,
    /// In a free slot: the next free one.
    colder: u32,
}

#[derive(Clone, Copy)]
struct List {
    hottest: u32,
    coldest: u32,
    len: usize,
    /// The sum of the entries' weights.
    weight: u64,
}

const EMPTY: List = List { hottest: NONE, coldest: NONE, len: 0, weight: 0 };

pub(crate) struct Lru<M> {
    slots: Vec<Slot<M>>,
    /// The first free slot.
    free: u32,
    /// Indexed by `Region`.
    lists: [List; 2],
    pushes: u32,
}

impl<M> Lru<M> {
    /// What one more entry costs here at most: a slot, doubled for the slack of a growing vector.
    pub(crate) const BYTES_PER_ENTRY: usize = 2 * size_of::<Slot<M>>();

    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: NONE, lists: [EMPTY; 2], pushes: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.lists[0].len + self.lists[1].len
    }

    pub(crate) fn weight(&self, region: Region) -> u64 {
        self.lists[region as usize].weight
    }

    pub(crate) fn hash(&self, slot: u32) -> u32 {
        self.slots[slot as usize].hash
    }

    pub(crate) fn hit(&self, slot: u32) -> &Hit<M> {
        self.slots[slot as usize].hit.as_ref().expect("the table names no free slot")
    }

    pub(crate) fn coldest(&self, region: Region) -> Option<u32> {
        let slot = self.lists[region as usize].coldest;
        (slot != NONE).then_some(slot)
    }

    /// Adds an entry as its region's hottest, and says where.
    pub(crate) fn push(&mut self, hit: Hit<M>, hash: u32, region: Region) -> u32 {
        self.pushes = self.pushes.wrapping_add(1);
        let stamp = self.pushes << 1 | region as u32;
        self.lists[region as usize].weight += hit.weight();
        let filled = Slot { hit: Some(hit), hash, stamp, hotter: NONE, colder: NONE };
        let slot = self.free;
        if slot == NONE {
            let last = u32::try_from(self.slots.len()).ok().filter(|&new| new != NONE);
            self.slots.push(filled);
            return self.link(last.expect("a shard has fewer than 2^32 entries"));
        }
        self.free = mem::replace(&mut self.slots[slot as usize], filled).colder;
        self.link(slot)
    }

    /// Makes an entry its region's hottest.
    pub(crate) fn touch(&mut self, slot: u32) {
        if self.slots[slot as usize].hotter != NONE {
            self.unlink(slot);
            self.link(slot);
        }
    }

    /// Takes an entry out; its slot is free from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> (Hit<M>, Region) {
        let region = self.unlink(slot);
        let freed = &mut self.slots[slot as usize];
        freed.colder = self.free;
        self.free = slot;
        let hit = freed.hit.take().expect("a linked slot is filled");
        self.lists[region as usize].weight -= hit.weight();
        (hit, region)
    }

    /// Takes everything out at once, in constant time. Tickets for what was here stay void.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self { pushes: self.pushes, ..Self::new() };
        mem::replace(self, empty)
    }

    /// The entries, in no order.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = (Hit<M>, Region)> {
        self.slots.into_iter().filter_map(|slot| {
            let region = slot.region();
            slot.hit.map(|hit| (hit, region))
        })
    }

    /// The order of a region, hottest first. Reads 24 bytes an entry and no block.
    pub(crate) fn order(&self, region: Region) -> Vec<Ticket> {
        let list = &self.lists[region as usize];
        let mut order = Vec::with_capacity(list.len);
        let mut at = list.hottest;
        while at != NONE {
            let slot = &self.slots[at as usize];
            order.push(Ticket { slot: at, stamp: slot.stamp });
            at = slot.colder;
        }
        order
    }

    /// The entry a ticket was for, if it is still here.
    pub(crate) fn redeem(&self, ticket: Ticket) -> Option<&Hit<M>> {
        let slot = self.slots.get(ticket.slot as usize)?;
        if slot.stamp == ticket.stamp { slot.hit.as_ref() } else { None }
    }

    #[cfg(all(test, not(shuttle)))]
    pub(crate) fn allocation_size(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<M>>()
    }

    fn link(&mut self, slot: u32) -> u32 {
        let list = &mut self.lists[self.slots[slot as usize].region() as usize];
        let colder = mem::replace(&mut list.hottest, slot);
        list.len += 1;
        if colder == NONE {
            list.coldest = slot;
        } else {
            self.slots[colder as usize].hotter = slot;
        }
        let linked = &mut self.slots[slot as usize];
        (linked.hotter, linked.colder) = (NONE, colder);
        slot
    }

    fn unlink(&mut self, slot: u32) -> Region {
        let Slot { hotter, colder, .. } = self.slots[slot as usize];
        let region = self.slots[slot as usize].region();
        let list = &mut self.lists[region as usize];
        list.len -= 1;
        if hotter == NONE {
            list.hottest = colder;
        } else {
            self.slots[hotter as usize].colder = colder;
        }
        if colder == NONE {
            list.coldest = hotter;
        } else {
            self.slots[colder as usize].hotter = hotter;
        }
        region
    }
}

impl<M> Slot<M> {
    fn region(&self) -> Region {
        if self.stamp & 1 == 0 { Region::Major } else { Region::Minor }
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn push(lru: &mut Lru<()>, key: u8, region: Region) -> u32 {
        lru.push(Hit::new(&[key], b"", (), u64::from(key), None), u32::from(key), region)
    }

    fn keys(lru: &Lru<()>, region: Region) -> Vec<u8> {
        lru.order(region).into_iter().map(|ticket| lru.redeem(ticket).unwrap().key()[0]).collect()
    }

    #[test]
    fn the_last_used_is_first_and_the_coldest_is_last() {
        let mut lru = Lru::new();
        let slots: Vec<u32> = (1..=4).map(|key| push(&mut lru, key, Region::Major)).collect();
        assert_eq!(keys(&lru, Region::Major), [4, 3, 2, 1]);
        for (touched, expect) in [(0, [1, 4, 3, 2]), (0, [1, 4, 3, 2]), (2, [3, 1, 4, 2]), (1, [2, 3, 1, 4])]
        {
            lru.touch(slots[touched]);
            assert_eq!(keys(&lru, Region::Major), expect);
        }
        assert_eq!(lru.coldest(Region::Major), Some(slots[3]));
    }

    #[test]
    fn the_two_regions_keep_apart_in_order_and_in_weight() {
        let mut lru = Lru::new();
        for key in 1..=6 {
            push(&mut lru, key, if key % 2 == 0 { Region::Minor } else { Region::Major });
        }
        assert_eq!(keys(&lru, Region::Major), [5, 3, 1]);
        assert_eq!(keys(&lru, Region::Minor), [6, 4, 2]);
        assert_eq!((lru.weight(Region::Major), lru.weight(Region::Minor), lru.len()), (9, 12, 6));
        let coldest = lru.coldest(Region::Minor).unwrap();
        assert_eq!(lru.remove(coldest).1, Region::Minor);
        assert_eq!((lru.weight(Region::Minor), lru.len()), (10, 5));
    }

    #[test]
    fn slots_are_used_again_and_an_old_ticket_does_not_show_the_new_entry() {
        let mut lru = Lru::new();
        let first = push(&mut lru, 1, Region::Major);
        let ticket = lru.order(Region::Major)[0];
        lru.remove(first);
        assert!(lru.redeem(ticket).is_none());
        assert_eq!(push(&mut lru, 2, Region::Major), first);
        assert!(lru.redeem(ticket).is_none());
        assert_eq!(lru.slots.len(), 1);
    }

    #[test]
    fn taking_all_leaves_nothing_and_voids_the_tickets() {
        let mut lru = Lru::new();
        push(&mut lru, 1, Region::Major);
        push(&mut lru, 2, Region::Minor);
        let tickets = [lru.order(Region::Major)[0], lru.order(Region::Minor)[0]];
        let mut taken: Vec<u8> = lru.take().into_entries().map(|(hit, _)| hit.key()[0]).collect();
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
        assert_eq!((lru.len(), lru.weight(Region::Major), lru.coldest(Region::Minor)), (0, 0, None));
        push(&mut lru, 3, Region::Major);
        assert!(tickets.iter().all(|&ticket| lru.redeem(ticket).is_none()));
    }

    #[test]
    fn a_slot_is_24_bytes() {
        assert_eq!(size_of::<Slot<[u64; 9]>>(), 24);
    }
}
