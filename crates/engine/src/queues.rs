//! The queues of one shard: which entry stands in which, in what order, and what they weigh together.
//!
//! Three rings of addresses: `small` and `main` for major entries (an LRU needs `main` alone), and `minor` for the
//! minor region. Each entry's own header says its queue and its place. Who leaves is the policy's business.
//!
//! Uses `unsafe` once, to read the entries that the addresses stand for: what is in a queue is in the shard's table.
#![allow(unsafe_code, reason = "addresses of entries; see above")]

use std::marker::PhantomData;

use crate::block::{Hit, Lent};
use crate::prefetch::prefetch;
use crate::ring::Ring;

/// Where an entry waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// What came lately.
    Small,
    /// What was found worth keeping; with an LRU all major entries.
    Main,
    /// The minor region.
    Minor,
}

/// What a header's rank says: the queue, how often the entry's key proved useful (0 to 15), and when that was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    pub(crate) queue: Queue,
    pub(crate) frequency: u8,
    /// Modulo 4.
    pub(crate) epoch: u8,
}

impl Rank {
    pub(crate) fn of<M>(entry: &Hit<M>) -> Self {
        let rank = entry.rank();
        let queue = match rank & 3 {
            0 => Queue::Small,
            1 => Queue::Main,
            _ => Queue::Minor,
        };
        Self { queue, frequency: rank >> 2 & 15, epoch: rank >> 6 }
    }

    pub(crate) fn write<M>(self, entry: &Hit<M>) {
        entry.set_rank(self.queue as u8 | self.frequency << 2 | self.epoch << 6);
    }
}

/// Entries of one shard, under its lock; all of them are in its table.
pub(crate) struct Queues<M> {
    rings: [Ring; 3],
    weights: [u64; 3],
    of: PhantomData<M>,
}

impl<M> Queues<M> {
    pub(crate) fn new() -> Self {
        Self { rings: Default::default(), weights: [0; 3], of: PhantomData }
    }

    pub(crate) fn len(&self, queue: Queue) -> usize {
        self.rings[queue as usize].len()
    }

    pub(crate) fn weight(&self, queue: Queue) -> u64 {
        self.weights[queue as usize]
    }

    /// What all entries weigh.
    pub(crate) fn total(&self) -> u64 {
        self.weights.iter().sum()
    }

    /// The entry that came into this queue first.
    pub(crate) fn oldest(&self, queue: Queue) -> Option<Lent<'_, M>> {
        self.rings[queue as usize].oldest().map(|address| self.entry(address))
    }

    /// The entry that came into this queue after the first.
    pub(crate) fn second_oldest(&self, queue: Queue) -> Option<Lent<'_, M>> {
        self.rings[queue as usize].ahead(1).map(|address| self.entry(address))
    }

    /// Has the header fetched of the entry that is `ahead` of the oldest: an eviction reads them one by one.
    pub(crate) fn prefetch(&self, queue: Queue, ahead: u32) {
        let soon = self.rings[queue as usize].ahead(ahead);
        soon.inspect(|&address| prefetch(std::ptr::without_provenance(address as usize)));
    }

    /// Puts an entry that is in no queue at the head of one; the rest of its rank is kept.
    pub(crate) fn push(&mut self, queue: Queue, entry: &Hit<M>) {
        Rank { queue, ..Rank::of(entry) }.write(entry);
        entry.set_place(self.rings[queue as usize].push(entry.address()));
        self.weights[queue as usize] += entry.weight();
    }

    /// Takes an entry out of its queue.
    pub(crate) fn remove(&mut self, entry: &Hit<M>) {
        let queue = Rank::of(entry).queue;
        self.rings[queue as usize].remove(entry.place());
        self.weights[queue as usize] -= entry.weight();
    }

    /// Takes the entry at this address out of its queue.
    pub(crate) fn remove_at(&mut self, address: u64) {
        // SAFETY: as in `entry`; it leaves the table after this.
        let entry = unsafe { Lent::at(address) };
        self.remove(&entry);
    }

    /// Puts a queue's oldest entry at the head of another, or of the same.
    pub(crate) fn requeue_oldest(&mut self, from: Queue, to: Queue) {
        let Some(address) = self.rings[from as usize].oldest() else { return };
        self.requeue(address, to);
    }

    /// Puts the entry at this address, which is in a queue, at the head of this one.
    pub(crate) fn requeue(&mut self, address: u64, to: Queue) {
        // SAFETY: as in `entry`; the entry stays in the table while it changes its queue.
        let entry = unsafe { Lent::at(address) };
        self.remove(&entry);
        self.push(to, &entry);
    }

    /// Puts a new entry in the place, the rank and the hits of an old one, which is in no queue afterwards.
    pub(crate) fn replace(&mut self, old: &Hit<M>, new: &Hit<M>) {
        let queue = Rank::of(old).queue;
        new.set_rank(old.rank());
        new.set_hits(old.hits());
        new.set_place(old.place());
        self.rings[queue as usize].set(old.place(), new.address());
        self.weights[queue as usize] += new.weight();
        self.weights[queue as usize] -= old.weight();
    }

    /// The entry was moved to another block, which is a copy of the old one.
    pub(crate) fn moved(&mut self, entry: &Hit<M>) {
        self.rings[Rank::of(entry).queue as usize].set(entry.place(), entry.address());
    }

    /// Closes the holes of queues that have too many: `spare` times a quarter of their entries.
    pub(crate) fn close_holes(&mut self, spare: usize) {
        for ring in &mut self.rings {
            if ring.is_holed(spare) {
                // SAFETY: as in `entry`.
                ring.close(|address, place| unsafe { Lent::<'_, M>::at(address) }.set_place(place));
            }
        }
    }

    /// Forgets all entries.
    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// The entries of a queue, the newest first.
    pub(crate) fn newest_first(&self, queue: Queue) -> impl Iterator<Item = Lent<'_, M>> {
        self.rings[queue as usize].newest_first().map(|address| self.entry(address))
    }

    /// The entry at this address, which is in a queue.
    pub(crate) fn entry(&self, address: u64) -> Lent<'_, M> {
        // SAFETY: an entry leaves its queue before it leaves the table, under one lock; so it is in the table for as
        // long as the queue it was found in is not changed.
        unsafe { Lent::at(address) }
    }
}
