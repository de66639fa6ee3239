//! Regions: equal pieces of memory at multiples of their size, so that an address tells its region.
//!
//! Uses `unsafe` for an offset into a piece.
#![allow(unsafe_code, reason = "an offset into memory; see above")]

use std::ptr::NonNull;

use crate::pages::{LARGE_PAGE, PageSize, Pages};

/// The size of a region, and what its address is a multiple of.
pub(crate) const REGION: usize = 1 << 20;

/// The regions of one arena, in the order they were made. None goes before all do.
pub(crate) struct Regions {
    page_size: PageSize,
    /// Regions side by side, a 64th of what there was before: so even a very large arena has few pieces, and the system,
    /// which keeps an account of each, a short one.
    pieces: Vec<Pages>,
    /// Their sum.
    bytes: usize,
    /// What of the last piece is in no region yet.
    unused: usize,
}

impl Regions {
    pub(crate) fn new(page_size: PageSize) -> Self {
        Self { page_size, pieces: Vec::new(), bytes: 0, unused: 0 }
    }

    /// A new region: its start.
    pub(crate) fn grow(&mut self) -> NonNull<u8> {
        if self.unused == 0 {
            let bytes = (self.bytes / 64).next_multiple_of(LARGE_PAGE).max(LARGE_PAGE);
            let pages = Pages::new(bytes, LARGE_PAGE).paged(self.page_size);
            self.bytes += bytes;
            self.unused = bytes;
            self.pieces.push(pages);
        }
        self.unused -= REGION;
        self.last()
    }

    /// The start of the last region; there is one.
    pub(crate) fn last(&self) -> NonNull<u8> {
        let pages = self.pieces.last().expect("a region was made");
        // SAFETY: what is unused lies at the end of the piece, and before it a region.
        unsafe { pages.start().add(pages.len() - self.unused - REGION) }
    }

    /// Pages at this address are about to be given back.
    pub(crate) fn thin(&mut self, address: usize) {
        self.pieces.iter_mut().filter(|piece| piece.holds(address)).for_each(Pages::thin);
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn regions_lie_apart_at_multiples_of_their_size_in_ever_larger_pieces() {
        let mut regions = Regions::new(PageSize::Large);
        let mut starts: Vec<usize> = (0..300).map(|_| regions.grow().as_ptr().addr()).collect();
        assert!(starts.iter().all(|start| start % REGION == 0));
        assert_eq!(regions.last().as_ptr().addr(), starts[299]);
        starts.sort_unstable();
        assert!(starts.windows(2).all(|two| two[1] - two[0] >= REGION));
        assert!(regions.pieces.iter().all(|piece| piece.len() >= LARGE_PAGE));
        assert!(regions.pieces.last().is_some_and(|piece| piece.len() > LARGE_PAGE));
        assert_eq!(regions.bytes - regions.unused, 300 * REGION);
    }

    #[test]
    fn a_piece_of_which_pages_were_given_back_is_in_small_pages_from_then_on_and_no_other() {
        let mut regions = Regions::new(PageSize::Large);
        let starts: Vec<usize> = (0..6).map(|_| regions.grow().as_ptr().addr()).collect();
        regions.thin(starts[2] + 5000);
        let sizes: Vec<PageSize> = regions.pieces.iter().map(Pages::page_size).collect();
        assert_eq!(sizes, [PageSize::Large, PageSize::Small, PageSize::Large]);
    }
}
