//! Compaction: entries of a chunk that is mostly empty are moved to fuller ones, and its pages go back.
//!
//! Blocks of one size may lie sparse after many of them left, as when the sizes of values change with the time of day.
//! Nothing that is in use is moved: an entry that anybody holds stays where it is until another time.
//!
//! Uses `unsafe` to look at blocks by their addresses.
#![allow(unsafe_code, reason = "looks at blocks; see above")]

use crate::block::try_hold;
use crate::cache::Shared;

impl<M> Shared<M> {
    /// Empties up to so many chunks, while blocks lie sparse. Takes the lock of a shard for each entry, for the time of a
    /// copy; no lock is held at the call.
    pub(crate) fn compact(&self, chunks: u64) {
        for _ in 0..chunks {
            let Some(drained) = self.arena.sparse().and_then(|class| self.arena.drain(class)) else { return };
            for &block in &drained.blocks {
                // SAFETY: a block of this cache's arena, hence of `M`.
                let held = unsafe { try_hold::<M>(block.as_ptr().expose_provenance() as u64) };
                if let Some(hit) = held {
                    let hash = self.keys.hash(hit.key());
                    let gone = self.shard(hash).lock().relocate(hash, hit, &self.arena);
                    // Here, without the lock: it may be the last handle, on a value of the user's.
                    drop(gone);
                }
            }
        }
    }
}
