//! Room for what is too large for a block: runs of whole pages, best fit, their pages given back when they are freed.
//!
//! Since a free run is not resident, what fragments here is addresses and not memory: what stays in memory of the
//! bodies is what they take, to the page. Only who holds a body reads it, so a run may become part of any other.
//! Uses `unsafe` to give pages back; under the arena's lock.
#![allow(unsafe_code, reason = "gives pages back; see above")]

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;

use crate::pages::{LARGE_PAGE, PAGE, PageSize, Pages, give_back, poison, unpoison};

/// What is asked of the heap at once, at least, and a 64th of what there is: addresses are plenty, and the fewer
/// pieces the fewer seams.
const PIECE: usize = 4 << 20;

/// The runs of one arena: those of texts, or those of tables.
pub(crate) struct Spans {
    page_size: PageSize,
    /// By address.
    pieces: BTreeMap<usize, Pages>,
    /// Their sum.
    bytes: usize,
    /// Free runs: length by address. Two never touch inside a piece.
    free: BTreeMap<usize, usize>,
    /// The same, by length and then address.
    by_length: BTreeSet<(usize, usize)>,
    in_use: u64,
}

impl Spans {
    /// None yet; they will be in pages of this size.
    pub(crate) fn new(page_size: PageSize) -> Self {
        let (pieces, free, by_length) = Default::default();
        Self { page_size, pieces, bytes: 0, free, by_length, in_use: 0 }
    }

    /// What a body of this length takes, in bytes.
    pub(crate) const fn taken(bytes: usize) -> usize {
        bytes.saturating_add(PAGE - 1) / PAGE * PAGE
    }

    /// A run for `bytes`, which belongs to the caller until `free`.
    pub(crate) fn alloc(&mut self, bytes: usize) -> NonNull<u8> {
        let length = Self::taken(bytes);
        self.in_use += length as u64;
        let (found, start) = match self.by_length.range((length, 0)..).next() {
            Some(&run) => run,
            None => self.grow(length),
        };
        self.remove_free(start, found);
        if found > length {
            self.add_free(start + length, found - length);
        }
        let run = self.address(start);
        unpoison(run, length);
        run
    }

    /// Takes a run back.
    ///
    /// # Safety
    /// `start` came from `alloc(bytes)` of these spans, and nobody uses the run any more.
    pub(crate) unsafe fn free(&mut self, start: NonNull<u8>, bytes: usize) {
        let mut length = Self::taken(bytes);
        self.in_use -= length as u64;
        // SAFETY: the run is the caller's, whole pages inside one piece, and what is in it is lost to nobody.
        unsafe { give_back(start, length) };
        poison(start, length);
        let mut start = start.as_ptr().addr();
        let (piece, piece_length) = self.piece(start);
        if let Some((&before, &before_length)) = self.free.range(piece..start).next_back()
            && before + before_length == start
        {
            self.remove_free(before, before_length);
            start = before;
            length += before_length;
        }
        let end = start + length;
        if end < piece + piece_length
            && let Some(&after_length) = self.free.get(&end)
        {
            self.remove_free(end, after_length);
            length += after_length;
        }
        if length == piece_length {
            self.pieces.remove(&piece);
            self.bytes -= piece_length;
        } else {
            self.add_free(start, length);
        }
    }

    /// Gives a run's pages back while it stays the caller's.
    ///
    /// # Safety
    /// The run is of these spans, and nobody relies on what is in it, but for words that are zero already.
    pub(crate) unsafe fn empty(&mut self, start: NonNull<u8>, bytes: usize) {
        let (piece, _) = self.piece(start.as_ptr().addr());
        self.pieces.get_mut(&piece).into_iter().for_each(Pages::thin);
        // SAFETY: by the caller.
        unsafe { give_back(start, bytes) };
    }

    /// What the runs in use take, in bytes.
    pub(crate) fn in_use(&self) -> u64 {
        self.in_use
    }

    /// A new piece with room for `length`, as one free run.
    fn grow(&mut self, length: usize) -> (usize, usize) {
        let bytes = length.max(PIECE).max((self.bytes / 64).next_multiple_of(PAGE));
        let pages = Pages::new(bytes, LARGE_PAGE).paged(self.page_size);
        self.bytes += bytes;
        let (start, length) = (pages.start().as_ptr().addr(), pages.len());
        self.pieces.insert(start, pages);
        self.add_free(start, length);
        (length, start)
    }

    /// The piece that this address is in: its start and its length.
    fn piece(&self, address: usize) -> (usize, usize) {
        let found = self.pieces.range(..=address).next_back();
        let (&start, pages) = found.expect("a run lies in a piece");
        (start, pages.len())
    }

    fn address(&self, start: usize) -> NonNull<u8> {
        let (piece, _) = self.piece(start);
        // SAFETY: a run lies inside its piece.
        unsafe { self.pieces[&piece].start().add(start - piece) }
    }

    fn add_free(&mut self, start: usize, length: usize) {
        self.free.insert(start, length);
        self.by_length.insert((length, start));
    }

    fn remove_free(&mut self, start: usize, length: usize) {
        self.free.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    fn free(spans: &mut Spans, run: (NonNull<u8>, usize)) {
        // SAFETY: the tests give back each run once.
        unsafe { spans.free(run.0, run.1) };
    }

    #[test]
    fn runs_do_not_overlap_and_hold_what_is_written() {
        let mut spans = Spans::new(PageSize::Small);
        let mut runs = Vec::new();
        for n in 1..200_usize {
            let bytes = n * 997;
            let start = spans.alloc(bytes);
            // SAFETY: the run is ours.
            unsafe { start.write_bytes(n as u8, bytes) };
            runs.push((start, bytes, n as u8));
            if n % 3 == 0 {
                let (start, bytes, _) = runs.swap_remove(n * 7 % runs.len());
                free(&mut spans, (start, bytes));
            }
        }
        for (start, bytes, fill) in runs {
            // SAFETY: as above.
            let run = unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes) };
            assert!(run.iter().all(|&byte| byte == fill));
            free(&mut spans, (start, bytes));
        }
        assert!(spans.pieces.is_empty() && spans.free.is_empty() && spans.by_length.is_empty());
    }

    #[test]
    fn freed_neighbours_become_one_run_again_and_the_best_fit_is_taken() {
        let mut spans = Spans::new(PageSize::Small);
        let runs: Vec<_> = (0..5).map(|_| (spans.alloc(3 * PAGE), 3 * PAGE)).collect();
        free(&mut spans, runs[1]);
        free(&mut spans, runs[3]);
        free(&mut spans, runs[2]);
        assert_eq!(spans.free.len(), 2, "the three, and the rest of the piece");
        let nine = spans.alloc(9 * PAGE);
        assert_eq!(nine, runs[1].0);
        free(&mut spans, (nine, 9 * PAGE));
        let small = spans.alloc(1);
        assert_eq!(small, runs[1].0, "the smaller run, not the rest of the piece");
    }
}
