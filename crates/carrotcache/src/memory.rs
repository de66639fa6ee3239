//! The memory of a node: one budget for what all its groups hold and for the values that are on their way.
//!
//! A group's entries are charged by the engine, for what they really take. Everything else that holds a value is
//! charged here, by the value's length, from its first byte to its last: a load's value, a peer's reply, a body that is
//! being received, a copy that is being sent. Entries make room for those; where they cannot, the answer is busy.
//! Without a budget nothing is charged, and each group has its own capacity alone. Not charged is what the user
//! holds: a [`Value`](crate::Value) whose entry has left, and the bytes given to `set`.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use carrot_engine::{Budget, Reserved};

use crate::sync::{Mutex, lock};
use crate::units::ByteSize;

/// What a node may hold, in all its groups and on the way to them. Cheap to clone; all clones are the same memory, of
/// one node or of several. The default is none: each group has its own capacity, and nothing else is charged.
///
/// What is in the user's own hands is never charged: a [`Value`](crate::Value) that is held after its entry has left,
/// and the bytes that are given to [`Group::set`](crate::Group::set). A value that no group keeps is charged until the
/// last of those who got it lets go of it.
#[derive(Clone, Default)]
pub struct Memory(Option<Room>);

#[derive(Clone)]
struct Room {
    budget: Arc<Budget>,
    ports: Arc<Held>,
}

/// Bytes that are held by several, and no more than each of them allows.
#[derive(Debug, Default)]
pub(crate) struct Held(AtomicU64);

/// A memory at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// What entries and values on their way are charged, in bytes.
    pub used_bytes: u64,
    /// What they may be charged together.
    pub capacity_bytes: u64,
}

/// The node's memory has no room, though its groups gave up what they could. Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("memory of {capacity} is reached")]
#[non_exhaustive]
pub struct MemoryFull {
    /// What the node may hold.
    pub capacity: ByteSize,
}

impl Memory {
    /// Memory of this size.
    pub fn new(size: ByteSize) -> Self {
        Self(Some(Room { budget: Arc::new(Budget::new(size.as_u64())), ports: Arc::default() }))
    }

    /// A charge of nothing yet, for one value.
    pub fn charge(&self) -> Charge {
        let charged = self.0.as_ref().and_then(|Room { budget, .. }| {
            // Of nothing there is always room.
            let reserved = budget.reserve(0).ok()?;
            let full = MemoryFull { capacity: ByteSize::bytes(budget.capacity()) };
            Some(Arc::new(Mutex::new(Account { reserved, full, is_refused: false })))
        });
        Charge(charged)
    }

    /// A charge of so many bytes.
    pub(crate) fn charge_of(&self, bytes: u64) -> Result<Charge, MemoryFull> {
        let charge = self.charge();
        charge.grow(bytes)?;
        Ok(charge)
    }

    /// What is held now; `None` where there is no budget.
    pub fn snapshot(&self) -> Option<MemorySnapshot> {
        let budget = &self.0.as_ref()?.budget;
        Some(MemorySnapshot { used_bytes: budget.used(), capacity_bytes: budget.capacity() })
    }

    /// What the caches of a node share.
    pub(crate) fn budget(&self) -> Option<Arc<Budget>> {
        self.0.as_ref().map(|room| room.budget.clone())
    }

    /// What the node's ports hold of it together.
    pub(crate) fn ports(&self) -> Option<Arc<Held>> {
        self.0.as_ref().map(|room| room.ports.clone())
    }
}

impl Held {
    /// Gives whether it holds these too now: not if it were more than `most` then.
    pub(crate) fn take(&self, bytes: u64, most: u64) -> bool {
        let more = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Holds what was taken no more.
    pub(crate) fn give(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl From<ByteSize> for Memory {
    fn from(size: ByteSize) -> Self {
        Self::new(size)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(Room { budget, .. }) => write!(f, "Memory({budget:?})"),
            None => f.write_str("Memory(none)"),
        }
    }
}

/// What one value on its way is charged to the node's memory; given back when the last clone is dropped.
///
/// All clones are one charge, so that whoever reads the value on another thread can go on charging it there.
#[derive(Clone, Default)]
pub struct Charge(Option<Arc<Mutex<Account>>>);

struct Account {
    reserved: Reserved,
    full: MemoryFull,
    is_refused: bool,
}

impl Charge {
    /// Charges so many bytes more. To be asked before they are taken in.
    ///
    /// # Errors
    /// When the memory has no room for them; what was charged before stays so.
    pub fn grow(&self, bytes: u64) -> Result<(), MemoryFull> {
        self.with(|account| account.grow(bytes))
    }

    /// Charges just so many bytes from now on.
    pub(crate) fn cover(&self, bytes: u64) -> Result<(), MemoryFull> {
        self.with(|account| {
            account.reserved.shrink_to(bytes);
            account.grow(bytes - account.reserved.units())
        })
    }

    /// Charges nothing from now on.
    pub(crate) fn release(&self) {
        if let Some(account) = &self.0 {
            lock(account).reserved.shrink_to(0);
        }
    }

    /// What it was refused with, if it ever was.
    pub(crate) fn refused(&self) -> Option<MemoryFull> {
        let account = lock(self.0.as_ref()?);
        account.is_refused.then_some(account.full)
    }

    /// The value, with its charge for as long as anyone holds a part of it.
    pub(crate) fn around(self, value: Bytes) -> Bytes {
        if self.0.is_none() { value } else { Bytes::from_owner(Charged { value, _charge: self }) }
    }

    // The lock is this value's alone. An eviction runs under it, whose listener is a store's, which only counts.
    fn with(&self, change: impl FnOnce(&mut Account) -> Result<(), MemoryFull>) -> Result<(), MemoryFull> {
        self.0.as_ref().map_or(Ok(()), |account| change(&mut lock(account)))
    }
}

impl Account {
    fn grow(&mut self, bytes: u64) -> Result<(), MemoryFull> {
        self.reserved.grow(bytes).map_err(|_| {
            self.is_refused = true;
            self.full
        })
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_ref().map_or(0, |account| lock(account).reserved.units());
        write!(f, "Charge({bytes} bytes)")
    }
}

/// A value and its charge, as the owner of the value's bytes.
struct Charged {
    value: Bytes,
    _charge: Charge,
}

impl AsRef<[u8]> for Charged {
    fn as_ref(&self) -> &[u8] {
        &self.value
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn used(memory: &Memory) -> u64 {
        memory.snapshot().unwrap().used_bytes
    }

    #[test]
    fn a_charge_is_as_large_as_its_value_and_lives_as_long() {
        let memory = Memory::new(ByteSize::bytes(100));
        let charge = memory.charge();
        charge.grow(30).unwrap();
        charge.clone().grow(30).unwrap();
        assert_eq!((used(&memory), charge.refused()), (60, None));
        charge.cover(70).unwrap();
        charge.cover(5).unwrap();
        assert_eq!(used(&memory), 5);
        let value = charge.around(Bytes::from_static(b"value"));
        let part = value.slice(1..2);
        drop(value);
        assert_eq!((used(&memory), &*part), (5, &b"a"[..]));
        drop(part);
        assert_eq!(used(&memory), 0);
    }

    #[test]
    fn what_there_is_no_room_for_is_refused_and_leaves_what_was_charged() {
        let memory = Memory::new(ByteSize::kib(1));
        let (first, second) = (memory.charge(), memory.charge());
        first.grow(1000).unwrap();
        let full = second.grow(25).unwrap_err();
        assert_eq!((full.to_string(), second.refused()), ("memory of 1KiB is reached".into(), Some(full)));
        assert_eq!(second.cover(u64::MAX), Err(full));
        second.grow(24).unwrap();
        assert_eq!((used(&memory), first.refused()), (1024, None));
        first.release();
        assert_eq!(used(&memory), 24);
        assert_eq!(format!("{memory:?} {second:?}"), "Memory(Budget(24 of 1024)) Charge(24 bytes)");
    }

    #[test]
    fn without_a_memory_nothing_is_charged() {
        let memory = Memory::default();
        let charge = memory.charge();
        charge.grow(u64::MAX).unwrap();
        charge.grow(u64::MAX).unwrap();
        assert_eq!((memory.snapshot(), charge.refused()), (None, None));
        assert_eq!(&*charge.around(Bytes::from_static(b"v")), b"v");
    }
}
