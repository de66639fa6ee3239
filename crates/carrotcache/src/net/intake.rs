//! How many bytes of bodies a port holds at once, over all of its connections.
//!
//! A value is held whole until it is where it belongs, and thousands of connections may bring one each: their sum is
//! bounded here, and who would exceed it is told to come again. Counted as bytes come and not as they are announced, so
//! that whoever announces much and sends nothing keeps nobody out. Charged to the node's memory as well, if that has a
//! size: bodies take room from entries then, but no more than a part, lest slow senders keep loads from having any.
//! Owned by the port; never waits, and holds no byte itself.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::{Charge, Memory, MemoryFull};
use crate::stats::Refusal;

/// A port's bodies take at most a quarter of the memory: there are two such ports, and the rest is for what is kept and
/// for loads.
const SHARE: u64 = 4;

/// The bytes that are held, and how many may be.
///
/// For any port that takes bodies beside the cache's own; each has its own.
#[derive(Debug)]
pub struct Intake {
    held: AtomicU64,
    most: u64,
    memory: Memory,
}

/// What one request holds of it, until it is dropped.
pub type Share<'a> = Held<&'a Intake>;

/// The same of who may go anywhere, such as a task.
pub type OwnShare = Held<Arc<Intake>>;

/// A part of what an intake holds.
#[derive(Debug)]
pub struct Held<I: Deref<Target = Intake>> {
    intake: I,
    bytes: u64,
    charge: Charge,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoom {
    /// Bodies hold as much as they may together.
    #[error("bodies of {most} bytes together are being received")]
    Full {
        /// What may be held, in bytes.
        most: u64,
    },
    /// The node's memory has no room.
    #[error(transparent)]
    Memory(#[from] MemoryFull),
}
use NoRoom::Full;

impl NoRoom {
    /// What a refusal for it counts as.
    pub fn cause(self) -> Refusal {
        match self {
            Self::Full { .. } => Refusal::InFlight,
            Self::Memory(_) => Refusal::Memory,
        }
    }
}

impl Intake {
    /// Room for so many bytes.
    pub fn new(most: u64) -> Self {
        Self { held: AtomicU64::new(0), most, memory: Memory::default() }
    }

    /// The same room, with what is held charged to this memory, where that has a size. It is at most a quarter of it then,
    /// save that the bound leaves room for one body of `largest` bytes.
    #[must_use]
    pub fn charged_to(mut self, memory: Memory, largest: u64) -> Self {
        if let Some(size) = memory.snapshot() {
            self.most = self.most.min((size.capacity_bytes / SHARE).max(largest));
        }
        self.memory = memory;
        self
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share<'_> {
        Held { intake: self, bytes: 0, charge: self.memory.charge() }
    }

    /// The same, for who may go anywhere.
    pub fn own_share(self: &Arc<Self>) -> OwnShare {
        Held { intake: self.clone(), bytes: 0, charge: self.memory.charge() }
    }
}

impl<I: Deref<Target = Intake>> Held<I> {
    /// Holds so many bytes more. Costs one atomic operation, or a few with a memory; entries may leave for it then.
    ///
    /// # Errors
    /// When all shares together would then hold too many, or memory has no room; this one holds what it held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let most = self.intake.most;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        let grown = self.intake.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| Full { most })?;
        if let Err(full) = self.charge.grow(bytes) {
            self.intake.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full.into());
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Holds nothing any more.
    pub fn release(&mut self) {
        self.charge.release();
        self.intake.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl<I: Deref<Target = Intake>> Drop for Held<I> {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::ByteSize;

    #[test]
    fn shares_are_charged_to_the_memory_and_end_with_it() {
        let memory = Memory::new(ByteSize::bytes(8));
        let used = || memory.snapshot().unwrap().used_bytes;
        let intake = Intake::new(10).charged_to(memory.clone(), 20);
        let (mut first, mut second) = (intake.share(), intake.share());
        first.grow(6).unwrap();
        let refused = second.grow(3).unwrap_err();
        assert_eq!(
            (refused.cause(), refused.to_string().as_str()),
            (Refusal::Memory, "memory of 8B is reached")
        );
        assert_eq!(second.grow(5).unwrap_err().cause(), Refusal::InFlight);
        // What was refused is held nowhere.
        second.grow(2).unwrap();
        assert_eq!(used(), 8);
        first.release();
        assert_eq!(used(), 2);
        second.grow(6).unwrap();
        drop(second);
        assert_eq!(used(), 0);
    }

    #[test]
    fn bodies_leave_most_of_the_memory_to_others() {
        let most = |memory: Memory, largest| Intake::new(1000).charged_to(memory, largest).most;
        let memory = |bytes| Memory::new(ByteSize::bytes(bytes));
        assert_eq!(most(memory(8000), 10), 1000);
        assert_eq!(most(memory(400), 10), 100);
        assert_eq!(most(memory(400), 300), 300);
        assert_eq!(most(Memory::default(), 10), 1000);
    }

    #[test]
    fn shares_together_hold_no_more_than_there_is_and_give_it_back() {
        let intake = Intake::new(10);
        let (mut first, mut second) = (intake.share(), intake.share());
        first.grow(6).unwrap();
        second.grow(4).unwrap();
        assert_eq!(first.grow(1), Err(Full { most: 10 }));
        assert_eq!(first.grow(u64::MAX), Err(Full { most: 10 }));
        drop(second);
        first.grow(4).unwrap();
        assert_eq!(intake.share().grow(1), Err(Full { most: 10 }));
        drop(first);
        let mut third = intake.share();
        third.grow(10).unwrap();
        third.release();
        intake.share().grow(10).unwrap();
    }
}
