//! The allocator of `carrot-bench`: the system's, with a count of the bytes asked for, while that is wanted.
//!
//! Only the `memory` workload wants it, in a process of its own; else each call reads one flag that nobody writes, so
//! that no timed run counts anything. The only file here with `unsafe`: `GlobalAlloc` is an unsafe trait. A crate that
//! counts would spare it, but those that we know count always, by atomics that all threads share.
#![allow(unsafe_code, reason = "GlobalAlloc cannot be had without; see above")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static ASKED: AtomicI64 = AtomicI64::new(0);

/// The system's allocator, counted.
#[derive(Debug)]
pub struct Counting;

/// Begins to count, from 0.
///
/// # Panics
/// In a program that has another allocator: nothing would be counted there, and look like a figure.
pub(crate) fn start() {
    COUNTING.store(true, Ordering::SeqCst);
    let before = asked_bytes();
    let probe = std::hint::black_box(Box::new([0_u8; 64]));
    assert!(asked_bytes() > before, "this program does not count what it allocates");
    drop(probe);
    ASKED.store(0, Ordering::SeqCst);
}

/// The bytes asked for and not given back since `start`: the sizes as callers named them, without what the heap adds.
/// What was asked for before and given back since counts against it.
pub(crate) fn asked_bytes() -> i64 {
    ASKED.load(Ordering::SeqCst)
}

fn count(bytes: usize, sign: i64) {
    if COUNTING.load(Ordering::Relaxed) {
        // No allocation is larger than `isize::MAX`.
        ASKED.fetch_add(sign * bytes as i64, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to `System` with the caller's arguments and gives back what it gave, so that the contract
// between caller and `System` is untouched; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller keeps the contract of `alloc`, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above. Passed on, since zeroed pages from the system are not touched, hence not resident.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the block came from `System`, by one of the calls here, with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: as in `dealloc`; the caller answers for the new size.
        unsafe { System.realloc(block, layout, size) }
    }
}
