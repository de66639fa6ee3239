//! Locks and atomics for what runs under shuttle: std's, or in a shuttle test shuttle's own.
//!
//! The one place where the two are told apart, so that the flight table is tested as the very file that ships:
//! shuttle (a scheduler that tries interleavings) sees only what is locked and loaded through its own types.
//! Whoever wants its interleavings tried names its locks here and nowhere else.

#[cfg(not(all(test, shuttle)))]
use std::sync as origin;

#[cfg(all(test, shuttle))]
use ::shuttle::sync as origin;

pub(crate) use origin::atomic::{AtomicBool, AtomicUsize, Ordering};
pub(crate) use origin::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic under the lock.
///
/// For tables whose every critical section leaves them whole at each point where it can panic: there a poisoned
/// lock would turn one caller's panic into everyone's.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
