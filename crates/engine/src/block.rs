//! One entry's block: header, key and value in a single allocation, and the counted handle on it.
//!
//! The only file with `unsafe`. A hit is made of dependent cache misses; with key and value behind the header that
//! the reference count lives in, a look-up makes two (the table's line, this block), where a shared buffer stored
//! in the entry makes a third for its own count. Safe Rust has no allocation of a length known only at run time
//! with a typed head, that can be cloned by count and read as a slice, without that third miss.
//!
//! A block never changes after it was made, but for its count: readers need no lock. It is freed by the last
//! handle, on whichever thread that is; the cache's own handle is one like any other.
#![allow(unsafe_code, reason = "one allocation for header, key and value; see above")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

use crate::clock::Time;
use crate::sync::{AtomicU32, Ordering, fence};

/// Above this many handles on one block the process aborts. Half the counter's range, so that threads which pass
/// the check together cannot wrap it: only a program that leaks handles in a loop comes here.
const MAX_HANDLES: u32 = u32::MAX / 2;

/// The last moment there is stands for none.
const NEVER: u64 = u64::MAX;

/// What lies before the key. The key's bytes follow at once, then the value's.
#[repr(C)]
struct Header<M> {
    handles: AtomicU32,
    key_len: u32,
    value_len: usize,
    weight: u64,
    /// In milliseconds of the cache's clock; `NEVER` is half the size of an `Option`.
    expires: u64,
    meta: M,
}

/// A counted handle on one entry: derefs to its value, and knows its key and what was stored beside it.
///
/// It stays valid for as long as it is held, also after the entry left the cache; that memory is then no longer in
/// the cache's weight. Clone and drop cost one atomic operation each and copy nothing.
pub struct Hit<M> {
    /// Points to a live `Header<M>` at the start of a block made by `Hit::new`, of which this handle is counted.
    block: NonNull<Header<M>>,
    owns: PhantomData<Header<M>>,
}

// SAFETY: a handle shares the block as `Arc` does: `&M` from many threads (`Sync`), and the last drop, hence the
// drop of `M`, on any of them (`Send`). All else in the block is plain data, never written after it was made, and
// the count is atomic.
unsafe impl<M: Send + Sync> Send for Hit<M> {}
// SAFETY: as above; `&Hit` gives no more than `Hit` does, since anyone may clone it.
unsafe impl<M: Send + Sync> Sync for Hit<M> {}

impl<M: Copy> Hit<M> {
    /// A handle on a value that is in no cache: for a caller that has to hand out a `Hit` though the cache refused
    /// the value. Costs one allocation and the copy; its weight is 0.
    ///
    /// # Panics
    /// On a key of 4 GiB or more.
    pub fn detached(key: &[u8], value: &[u8], meta: M) -> Self {
        Self::new(key, value, meta, 0, None)
    }

    /// Copies key and value into a new block with one handle.
    pub(crate) fn new(key: &[u8], value: &[u8], meta: M, weight: u64, expires: Option<Time>) -> Self {
        let header = Header {
            handles: AtomicU32::new(1),
            key_len: u32::try_from(key.len()).expect("a key is shorter than 4 GiB"),
            value_len: value.len(),
            weight,
            expires: expires.map_or(NEVER, Time::as_millis),
            meta,
        };
        let layout = Self::layout(key.len(), value.len());
        // SAFETY: the layout is never empty, since the header is not.
        let start = unsafe { alloc(layout) };
        let Some(block) = NonNull::new(start.cast::<Header<M>>()) else { handle_alloc_error(layout) };
        // SAFETY: the allocation holds a header, aligned for it, and behind it `key.len() + value.len()` bytes, by
        // the layout; it is ours alone and overlaps neither slice.
        unsafe {
            block.write(header);
            let text = start.add(size_of::<Header<M>>());
            ptr::copy_nonoverlapping(key.as_ptr(), text, key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), text.add(key.len()), value.len());
        }
        Self { block, owns: PhantomData }
    }

    /// What was stored beside the value.
    pub fn meta(&self) -> M {
        self.header().meta
    }
}

impl<M> Hit<M> {
    /// The entry's key.
    pub fn key(&self) -> &[u8] {
        // SAFETY: the `key_len` bytes behind the header were written by `new`, never change, and live as long as
        // the block, which `&self` keeps. The pointer is the allocation's own, not one made from `&Header`.
        unsafe { slice::from_raw_parts(self.text(), self.key_len()) }
    }

    /// What the entry is charged, in the cache's units.
    pub fn weight(&self) -> u64 {
        self.header().weight
    }

    /// The moment from which the cache no longer serves the entry, by the cache's clock.
    pub fn expires(&self) -> Option<Time> {
        let millis = self.header().expires;
        (millis != NEVER).then_some(Time::from_millis(millis))
    }

    /// The size of a block for these lengths, in bytes.
    pub(crate) fn block_bytes(key_len: usize, value_len: usize) -> usize {
        size_of::<Header<M>>().saturating_add(key_len).saturating_add(value_len)
    }

    fn layout(key_len: usize, value_len: usize) -> Layout {
        Layout::from_size_align(Self::block_bytes(key_len, value_len), align_of::<Header<M>>())
            .expect("two slices that are in memory, and a header, fit the address space")
    }

    fn header(&self) -> &Header<M> {
        // SAFETY: `block` points to a live header, by the field's invariant; it is never written again.
        unsafe { self.block.as_ref() }
    }

    fn key_len(&self) -> usize {
        self.header().key_len as usize
    }

    /// The first byte behind the header: the key's.
    fn text(&self) -> *const u8 {
        // SAFETY: the block is at least a header long, so this is inside it or one past its end.
        unsafe { self.block.as_ptr().cast::<u8>().add(size_of::<Header<M>>()) }
    }
}

/// The value.
impl<M> Deref for Hit<M> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: behind the `key_len` bytes of the key lie the `value_len` bytes that `new` wrote; else as `key`.
        unsafe { slice::from_raw_parts(self.text().add(self.key_len()), self.header().value_len) }
    }
}

impl<M> AsRef<[u8]> for Hit<M> {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<M> Clone for Hit<M> {
    fn clone(&self) -> Self {
        // Relaxed, as in `Arc`: who clones has a handle already, so nothing is learned through the count.
        if self.header().handles.fetch_add(1, Ordering::Relaxed) > MAX_HANDLES {
            std::process::abort();
        }
        Self { block: self.block, owns: PhantomData }
    }
}

impl<M> Drop for Hit<M> {
    fn drop(&mut self) {
        // Release here and acquire below: every use of the block, on any thread, comes before it is freed.
        if self.header().handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let layout = Self::layout(self.key_len(), self.header().value_len);
        // SAFETY: this was the last handle, so nobody refers to the block any more; it was allocated by `new` with
        // this layout, since the lengths never change.
        unsafe {
            ptr::drop_in_place(self.block.as_ptr());
            dealloc(self.block.as_ptr().cast(), layout);
        }
    }
}

impl<M> fmt::Debug for Hit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hit({}: {} bytes)", self.key().escape_ascii(), self.len())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn check<M: Copy + PartialEq + fmt::Debug>(key: &[u8], value: &[u8], meta: M) {
        let expires = Some(Time::from_millis(9));
        let hit = Hit::new(key, value, meta, 7, expires);
        assert_eq!(
            (hit.key(), &*hit, hit.meta(), hit.weight(), hit.expires()),
            (key, value, meta, 7, expires)
        );
        let other = hit.clone();
        drop(hit);
        assert_eq!((other.key(), &*other), (key, value));
    }

    #[test]
    fn key_value_and_meta_are_what_was_put_in_at_every_length_and_alignment() {
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[repr(align(64))]
        struct Wide(u8);

        let bytes: Vec<u8> = (0..=255).collect();
        for key in 0..20 {
            for value in [0, 1, 7, 8, 15, 16, 255] {
                check(&bytes[..key], &bytes[..value], ());
                check(&bytes[..key], &bytes[..value], 3_u8);
                check(&bytes[..key], &bytes[..value], [u64::MAX; 4]);
                check(&bytes[..key], &bytes[..value], Wide(9));
            }
        }
    }

    #[test]
    fn a_clone_is_the_same_bytes_and_not_a_copy_of_them() {
        let hit = Hit::detached(b"key", b"value", ());
        let other = hit.clone();
        assert_eq!(hit.as_ptr(), other.as_ptr());
        assert_eq!(hit.weight(), 0);
        assert_eq!(hit.expires(), None);
    }

    #[test]
    fn handles_cross_threads_and_the_last_one_frees() {
        let hit = Hit::detached(b"key", &[7; 1000], 1_u64);
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let mine = hit.clone();
                std::thread::spawn(move || {
                    for _ in 0..1000 {
                        assert_eq!(mine.clone()[999], 7);
                    }
                })
            })
            .collect();
        drop(hit);
        for thread in threads {
            thread.join().unwrap();
        }
    }

    /// Runs itself once more as a child, since it is the process that ends.
    #[test]
    fn a_block_with_too_many_handles_ends_the_process_rather_than_wrap_its_count() {
        const CHILD: &str = "CARROT_ENGINE_TEST_CHILD";
        if std::env::var_os(CHILD).is_some() {
            let hit = Hit::detached(b"key", b"value", ());
            hit.header().handles.store(MAX_HANDLES + 1, Ordering::Relaxed);
            std::mem::forget(hit.clone());
            hit.header().handles.store(1, Ordering::Relaxed);
            return;
        }
        let this = "block::tests::a_block_with_too_many_handles_ends_the_process_rather_than_wrap_its_count";
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        let outcome = child.args(["--exact", this, "--nocapture"]).env(CHILD, "1").output().unwrap();
        assert!(String::from_utf8_lossy(&outcome.stdout).contains("running 1 test"));
        assert_eq!(outcome.status.code(), None, "killed by a signal, not failed");
    }

    #[test]
    fn a_key_is_shown_escaped() {
        assert_eq!(format!("{:?}", Hit::detached(b"a\n\xff", b"xy", ())), r"Hit(a\n\xff: 2 bytes)");
    }
}
