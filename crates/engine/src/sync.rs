//! Locks, atomics and waiting threads: the standard library's, or shuttle's when a test explores interleavings.
//!
//! The only file that says `cfg(shuttle)` outside the tests. `RUSTFLAGS="--cfg shuttle"` on the crate's own unit
//! tests swaps the types below, so that shuttle schedules the product's own files and not a model of them. The
//! clock stays on the standard library: its manual kind has nothing to interleave, and shuttle knows no time.
//!
//! Blocks and tables lie in memory that the engine lays out itself and that begins as zeros. Shuttle's atomics cannot
//! stand there, being larger than a word; so for these there are the `Raw` ones: the standard library's, before each
//! of whose operations shuttle may let another thread run.

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
pub(crate) use imp::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::atomic::{AtomicU8 as RawU8, AtomicU32 as RawU32, AtomicU64 as RawU64, fence};

#[cfg(all(test, shuttle))]
pub(crate) use raw::{RawU8, RawU32, RawU64, fence};

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

/// A moment in which another thread may get on: for a loop that waits for one.
pub(crate) fn relax() {
    #[cfg(not(all(test, shuttle)))]
    std::hint::spin_loop();
    #[cfg(all(test, shuttle))]
    shuttle::thread::yield_now();
}

#[cfg(all(test, shuttle))]
mod raw {
    use std::sync::atomic::{self as std_atomic, Ordering};

    /// Shuttle may switch here, as at its own atomics: it is one of these. Not a yield, which puts a thread behind all
    /// others: one that is stopped for long between two operations is what has to be tried.
    fn switch() {
        let _ = shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }

    pub(crate) fn fence(order: Ordering) {
        std_atomic::fence(order);
    }

    macro_rules! raw {
        ($name:ident, $atomic:ident, $value:ty) => {
            #[repr(transparent)]
            pub(crate) struct $name(std_atomic::$atomic);

            #[allow(dead_code, reason = "each type has all, whichever are in use")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    Self(std_atomic::$atomic::new(value))
                }
                pub(crate) fn load(&self, order: Ordering) -> $value {
                    switch();
                    self.0.load(order)
                }
                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    switch();
                    self.0.store(value, order);
                }
                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    switch();
                    self.0.fetch_add(value, order)
                }
                pub(crate) fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    switch();
                    self.0.fetch_sub(value, order)
                }
                pub(crate) fn compare_exchange(
                    &self,
                    old: $value,
                    new: $value,
                    ok: Ordering,
                    err: Ordering,
                ) -> Result<$value, $value> {
                    switch();
                    self.0.compare_exchange(old, new, ok, err)
                }
                pub(crate) fn compare_exchange_weak(
                    &self,
                    old: $value,
                    new: $value,
                    ok: Ordering,
                    err: Ordering,
                ) -> Result<$value, $value> {
                    self.compare_exchange(old, new, ok, err)
                }
            }
        };
    }

    raw!(RawU8, AtomicU8, u8);
    raw!(RawU32, AtomicU32, u32);
    raw!(RawU64, AtomicU64, u64);
}
