//! How many bytes of values a port holds at once on their way, in or out, over all of its connections.
//!
//! A value is held whole until it is where it belongs, and thousands of connections may bring one each, or not take
//! theirs: their sum is bounded here, and who would exceed it is told to come again. Counted as bytes come and not as
//! they are announced, so that whoever announces much and sends nothing keeps nobody out. Charged to the node's memory as
//! well, if that has a size: they take room from entries then, but no more than a part, lest slow senders and readers keep
//! loads from having any. Owned by the port; never waits, and holds no byte itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Limits;
use crate::memory::{Charge, Memory, MemoryFull};
use crate::stats::Refusal;

/// At most a quarter of the memory is taken: there are several such ports, and the rest is for what is kept and for loads.
const SHARE: u64 = 4;

/// The bytes that are held, and how many may be.
///
/// For any port that takes or gives values beside the cache's own; each has its own. Clones are the same.
#[derive(Clone, Debug)]
pub struct Intake {
    held: Arc<AtomicU64>,
    most: u64,
    memory: Memory,
}

/// What one request holds of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    held: Arc<AtomicU64>,
    most: u64,
    bytes: u64,
    charge: Charge,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoRoom {
    /// They hold as much as they may together.
    #[error("values of {most} bytes together are on their way")]
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
        Self { held: Arc::default(), most, memory: Memory::default() }
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

    /// As much as a node's limits allow bodies to hold, and one of `largest` bytes at least.
    pub(crate) fn within(limits: &Limits, largest: u64) -> Self {
        Self::new(limits.bodies.as_u64().max(largest)).charged_to(limits.memory.clone(), largest)
    }

    /// What is charged for them.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many bytes may be held together.
    pub(crate) fn most(&self) -> u64 {
        self.most
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share {
        Share { held: self.held.clone(), most: self.most, bytes: 0, charge: self.memory.charge() }
    }
}

impl Share {
    /// Holds so many bytes more. Costs one atomic operation, or a few with a memory; entries may leave for it then.
    ///
    /// # Errors
    /// When all shares together would then hold too many, or memory has no room; this one holds what it held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoRoom> {
        let most = self.most;
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        let grown = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| Full { most })?;
        if let Err(full) = self.charge.grow(bytes) {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
            return Err(full.into());
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Holds nothing any more.
    pub fn release(&mut self) {
        self.charge.release();
        self.held.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
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
