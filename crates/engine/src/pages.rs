//! Memory in whole pages, from the heap and now and then back to the system while its address stays ours.
//!
//! Uses `unsafe`, since this is where the engine meets the allocator and the system. Readers without a lock may look
//! at a block or a table for a moment after it was freed; so such memory keeps its address and its kind for as long as
//! the cache lives, and what goes back to the system are its pages. They read as zeros afterwards, and a zero is
//! what a free block and an empty table begin with anyway: nothing rests on the system's having done it.
#![allow(unsafe_code, reason = "memory by address; see above")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// What the system gives and takes at once. A machine with larger pages gives back less, and no more.
pub(crate) const PAGE: usize = 4096;

/// A large page, on most processors that have such.
pub(crate) const LARGE_PAGE: usize = 2 << 20;

/// Which pages memory is to be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageSize {
    /// None is resident for what lies beside it.
    Small,
    /// A large one is resident as a whole; but a processor that looks at random into much memory spends a good part of
    /// each look on finding a small one.
    Large,
}

impl PageSize {
    fn advice(self) -> Advice {
        match self {
            Self::Small => Advice::SmallPages,
            Self::Large => Advice::LargePages,
        }
    }
}

/// A piece of memory that is freed with its owner. What is in it at first is anything.
pub(crate) struct Pages {
    start: NonNull<u8>,
    layout: Layout,
    page_size: PageSize,
}

// SAFETY: a piece of memory and no more; who writes where in it is for the owner to order.
unsafe impl Send for Pages {}
// SAFETY: as above; `&Pages` gives only the address.
unsafe impl Sync for Pages {}

impl Pages {
    /// `bytes` of memory at a multiple of `align`, a power of two. Never zero bytes.
    pub(crate) fn new(bytes: usize, align: usize) -> Self {
        let layout =
            Layout::from_size_align(bytes.max(1), align).expect("a size that fits the address space");
        // SAFETY: the layout is not empty.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // Tables keep tags above that. No system gives such addresses unasked; one that did would have them cut off.
        assert!(start.as_ptr().addr() >> 48 == 0, "an address of 48 bits");
        Self { start, layout, page_size: PageSize::Small }
    }

    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.size()
    }

    pub(crate) fn holds(&self, address: usize) -> bool {
        (self.start.addr().get()..self.start.addr().get() + self.len()).contains(&address)
    }

    /// Asks that this memory be in pages of this size, as far as whole ones fit in it.
    pub(crate) fn paged(mut self, size: PageSize) -> Self {
        self.page_size = size;
        advise(self.start, self.len(), size.advice());
        self
    }

    #[cfg(test)]
    pub(crate) fn page_size(&self) -> PageSize {
        self.page_size
    }

    /// A part is about to be given back, and is to stay so rather than be filled up to a large page again. What else is
    /// in large pages stays in them.
    pub(crate) fn thin(&mut self) {
        if self.page_size == PageSize::Large {
            self.page_size = PageSize::Small;
            advise(self.start, self.len(), Advice::SmallPages);
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        unpoison(self.start, self.layout.size());
        // SAFETY: allocated by `new` with this layout, and freed once. That nobody uses it is the owner's to see to.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

/// Tells AddressSanitizer that this memory is not to be looked at for now: the heap's word is all it has otherwise, to
/// which a whole region is in use. Of no effect unless `scripts/asan` builds this.
#[cfg(carrot_asan)]
pub(crate) fn poison(start: NonNull<u8>, bytes: usize) {
    // SAFETY: marks bytes in the sanitizer's own memory.
    unsafe { __asan_poison_memory_region(start.as_ptr().cast(), bytes) };
}

/// The contrary of `poison`.
#[cfg(carrot_asan)]
pub(crate) fn unpoison(start: NonNull<u8>, bytes: usize) {
    // SAFETY: as above.
    unsafe { __asan_unpoison_memory_region(start.as_ptr().cast(), bytes) };
}

#[cfg(carrot_asan)]
// SAFETY: the sanitizer's interface, whose runtime is linked in by the flag that comes with this `cfg`.
unsafe extern "C" {
    fn __asan_poison_memory_region(start: *const std::ffi::c_void, bytes: usize);
    fn __asan_unpoison_memory_region(start: *const std::ffi::c_void, bytes: usize);
}

#[cfg(not(carrot_asan))]
pub(crate) fn poison(_start: NonNull<u8>, _bytes: usize) {}

#[cfg(not(carrot_asan))]
pub(crate) fn unpoison(_start: NonNull<u8>, _bytes: usize) {}

/// Gives the whole pages inside this range back to the system. What was in them is lost: zeros or what was there.
///
/// # Safety
/// The range is inside one `Pages`, and nobody relies on what is in it, but for words that are zero already.
pub(crate) unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
    let first = start.as_ptr().addr().next_multiple_of(PAGE);
    let end = (start.as_ptr().addr() + bytes) / PAGE * PAGE;
    if first < end {
        // SAFETY: `first` is inside the range, so the offset is inside the allocation.
        let first_byte = unsafe { start.add(first - start.as_ptr().addr()) };
        advise(first_byte, end - first, Advice::DontNeed);
    }
}

#[derive(Clone, Copy)]
enum Advice {
    DontNeed,
    SmallPages,
    LargePages,
}

/// Tells the system. It may not know the advice: then memory stays resident, and nothing else is different.
#[cfg(all(target_os = "linux", not(miri)))]
fn advise(start: NonNull<u8>, bytes: usize, advice: Advice) {
    let advice = match advice {
        Advice::DontNeed => libc::MADV_DONTNEED,
        Advice::SmallPages => libc::MADV_NOHUGEPAGE,
        Advice::LargePages => libc::MADV_HUGEPAGE,
    };
    // SAFETY: the range is memory of ours, by the callers; no advice touches any other.
    let _ = unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
}

/// Elsewhere `MADV_DONTNEED` means other things or is not there; the memory stays.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn advise(_start: NonNull<u8>, _bytes: usize, _advice: Advice) {}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn pages_are_aligned_and_what_is_given_back_can_be_written_again() {
        let pages = Pages::new(1 << 20, 1 << 20).paged(PageSize::Small);
        assert_eq!(pages.start().as_ptr().addr() % (1 << 20), 0);
        // SAFETY: inside the piece, which is ours alone.
        unsafe {
            pages.start().write_bytes(7, pages.len());
            give_back(pages.start().add(100), 3 * PAGE);
            assert_eq!(
                (pages.start().read(), pages.start().add(PAGE - 1).read()),
                (7, 7),
                "not a whole page"
            );
            assert_eq!(pages.start().add(3 * PAGE + 200).read(), 7);
            let inside = pages.start().add(PAGE);
            assert!(matches!(inside.read(), 0 | 7));
            inside.write(9);
            assert_eq!(inside.read(), 9);
        }
    }
}
