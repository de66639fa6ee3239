//! Locks, atomics and waiting threads: the standard library's, or shuttle's when a test explores interleavings.
//!
//! The only file that says `cfg(shuttle)` outside the tests. `RUSTFLAGS="--cfg shuttle"` on the crate's own unit
//! tests swaps the types below, so that shuttle schedules the product's own files and not a model of them. The
//! clock stays on the standard library: its manual kind has nothing to interleave, and shuttle knows no time.

use std::sync::PoisonError;

#[cfg(not(all(test, shuttle)))]
use std::sync as imp;
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::thread;

#[cfg(all(test, shuttle))]
use shuttle::sync as imp;
#[cfg(all(test, shuttle))]
pub(crate) use shuttle::thread;

pub(crate) use imp::MutexGuard;
pub(crate) use imp::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// A mutex that does not know poison.
///
/// What runs under the engine's locks and is not ours, `keep` alone, runs before anything is changed; so a panic
/// there leaves whole data behind, and the next caller may have it.
#[derive(Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
