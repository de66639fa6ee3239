//! How many bytes of values a port holds at once on their way, in or out, over all of its connections.
//!
//! A value is held whole until it is where it belongs, and thousands of connections may bring one each, or not take
//! theirs: their sum is bounded here, and who would exceed it is told to come again. Counted as bytes come and not as
//! they are announced, so that whoever announces much and sends nothing keeps nobody out. Charged to the node's memory as
//! well, if that has a size: they take room from entries then, but no more than a part, each and all together, lest slow
//! senders and readers keep loads from having any. Owned by the port; never waits, and holds no byte itself.

use std::sync::Arc;

use crate::limits::Limits;
use crate::memory::{Charge, Held, Memory, MemoryFull};
use crate::stats::Refusal;

/// Parts of a memory, of which one of them takes one at most.
const PARTS: u64 = 4;
/// And all that are charged to it: the last is for what is kept and for loads, whatever ports there are.
const PARTS_OF_ALL: u64 = 3;

/// The bytes that are held, and how many may be.
///
/// For any port that takes or gives values beside the cache's own; each has its own. Clones are the same.
#[derive(Clone, Debug)]
pub struct Intake {
    own: Bound,
    /// Of all that are charged to the same memory.
    all: Option<Bound>,
    memory: Memory,
}

/// What is held, and how much of it leaves no room for more.
#[derive(Clone, Debug)]
struct Bound {
    held: Arc<Held>,
    most: u64,
}

/// What one request holds of it, until it is dropped.
#[derive(Debug)]
pub struct Share {
    own: Bound,
    all: Option<Bound>,
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
        Self { own: Bound { held: Arc::default(), most }, all: None, memory: Memory::default() }
    }

    /// The same room, with what is held charged to this memory, where that has a size. It is at most a quarter of it then,
    /// and three with all others that are charged to it, save that either bound leaves room for one body of `largest` bytes.
    #[must_use]
    pub fn charged_to(mut self, memory: Memory, largest: u64) -> Self {
        if let Some(size) = memory.snapshot() {
            self.own.most = self.own.most.min((size.capacity_bytes / PARTS).max(largest));
            let most = (size.capacity_bytes / PARTS * PARTS_OF_ALL).max(largest);
            self.all = memory.ports().map(|held| Bound { held, most });
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
        self.own.most
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share {
        Share { own: self.own.clone(), all: self.all.clone(), bytes: 0, charge: self.memory.charge() }
    }
}

impl Share {
    /// Holds so many bytes more. Costs one atomic operation, or a few with a memory; entries may leave for it then.
    ///
    /// # Errors
    /// When all shares together would then hold too many, or memory has no room; this one holds what it held.
    pub fn grow(&mut self, bytes: u64) -> Result<(), NoRoom> {
        self.own.take(bytes)?;
        if let Err(none) = self.take_of_all(bytes) {
            self.own.held.give(bytes);
            return Err(none);
        }
        self.bytes += bytes;
        Ok(())
    }

    fn take_of_all(&self, bytes: u64) -> Result<(), NoRoom> {
        let Some(all) = &self.all else { return Ok(()) };
        all.take(bytes)?;
        self.charge.grow(bytes).map_err(|full| {
            all.held.give(bytes);
            full.into()
        })
    }

    /// Holds nothing any more.
    pub fn release(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.charge.release();
        if let Some(all) = &self.all {
            all.held.give(bytes);
        }
        self.own.held.give(bytes);
    }
}

impl Bound {
    fn take(&self, bytes: u64) -> Result<(), NoRoom> {
        let most = self.most;
        if self.held.take(bytes, most) { Ok(()) } else { Err(Full { most }) }
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
        let most = |memory: Memory, largest| Intake::new(1000).charged_to(memory, largest).most();
        let memory = |bytes| Memory::new(ByteSize::bytes(bytes));
        assert_eq!(most(memory(8000), 10), 1000);
        assert_eq!(most(memory(400), 10), 100);
        assert_eq!(most(memory(400), 300), 300);
        assert_eq!(most(Memory::default(), 10), 1000);
    }

    #[test]
    fn ports_together_leave_a_quarter_of_the_memory_to_others() {
        let memory = Memory::new(ByteSize::bytes(400));
        let port = |largest| Intake::new(1000).charged_to(memory.clone(), largest);
        let ports = [port(1), port(1), port(1), port(1), port(350)];
        let mut shares = ports.each_ref().map(Intake::share);
        for (share, bytes) in shares.iter_mut().zip([100, 100, 60]) {
            share.grow(bytes).unwrap();
        }
        assert_eq!(shares[3].grow(41), Err(Full { most: 300 }));
        // What was refused is held nowhere.
        shares[3].grow(40).unwrap();
        assert_eq!(memory.snapshot().unwrap().used_bytes, 300);
        // One body of the largest has room, if there is nothing beside it.
        assert_eq!(shares[4].grow(350), Err(Full { most: 350 }));
        shares[..4].iter_mut().for_each(Share::release);
        shares[4].grow(350).unwrap();
        assert_eq!(shares[0].grow(1), Err(Full { most: 300 }));
        drop(shares);
        ports[0].share().grow(100).unwrap();
        assert_eq!(memory.snapshot().unwrap().used_bytes, 0);
    }

    #[test]
    fn what_memory_refuses_is_held_by_no_port() {
        let memory = Memory::new(ByteSize::bytes(400));
        let (others, port) = (memory.charge(), Intake::new(1000).charged_to(memory.clone(), 1));
        others.grow(350).unwrap();
        let mut shares = [port.share(), port.share()];
        // As often as would fill what all ports may hold.
        for _ in 0..5 {
            assert_eq!(shares[0].grow(60).unwrap_err().cause(), Refusal::Memory);
        }
        others.release();
        shares[0].grow(100).unwrap();
        assert_eq!(shares[1].grow(1), Err(Full { most: 100 }));
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
