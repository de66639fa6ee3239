//! The table of one shard: lines of eight tagged addresses, read without a lock.
//!
//! A line is 64 bytes and stands in one cache line; a word in it is a 16-bit tag of the hash above the 48-bit address
//! of an entry's block. So a look-up costs one miss here and one at the block, unless the tag matches by chance. A
//! key's home line is its hash scaled to the number of lines, which can be any; a full line passes what comes on to the
//! next, and counts it in the four bits of its first word that an address leaves free: while that count is zero, a
//! look-up that found nothing ends there. The counts are exact, since the table is made larger before one would
//! overflow.
//!
//! Writers hold the shard's lock, and prove it by the `Lines` that lies behind it. Readers hold nothing. They may read
//! a word of an entry that left meanwhile: `try_hold` then finds its block free, or another entry's, whose key
//! differs. They may read a table that was just replaced: it was emptied after the new one was published, so a reader
//! who found nothing looks whether the table is still the same. A table's memory is kept for the shard's next one of
//! that size, and its pages go back to the system. So a reader never waits, save that an entry is being moved to
//! another block at this instant, and misses only what was not there.
//!
//! Uses `unsafe` for memory that is read while it is written, by atomics alone.
#![allow(unsafe_code, reason = "lines that are read while they are written; see above")]

use std::marker::PhantomData;
use std::ptr::{self, NonNull};

use crate::arena::Arena;
use crate::block::{Hit, Lent, header_bytes, try_hold};
use crate::pages::{PAGE, Pages};
use crate::prefetch::prefetch;
use crate::sync::{Ordering, RawU64, relax};

/// Words in a line.
const WORDS: usize = 8;
type Line = [RawU64; WORDS];

const LINES_IN_PAGE: usize = PAGE / size_of::<Line>();
/// Lines are filled to 72 %: past that, what passes full lines costs more than the room is worth.
const FILL_PERCENT: usize = 72;
/// Of an entry at that load, just after the table grew by a quarter: 8 / 0.72 * 1.25, rounded up. A table of a page or
/// two may take more: that is a shard's beginning, and no entry's.
pub(crate) const BYTES_PER_ENTRY: usize = 14;

/// A table grows to what was foreseen once it holds this part of it: a foresight may be wrong.
const FORESIGHT: usize = 32;

/// No more lines than this are foreseen; who expects more is told nothing by it.
const MAX_FORESEEN: usize = 1 << 40;

/// A word: tag, address, and in the first word of a line the count of entries that passed it.
const ADDRESS: u64 = 0x0000_FFFF_FFFF_FFF0;
const PASSED: u64 = 0xF;

/// Which table is in force, in one word: the address of its lines; the number of them as 11 bits above 5 bits of shift,
/// in the top 16; in the 6 bits that an address of a line leaves free, a count of replacements, so that a reader who
/// finds the same word found the same table.
const GENERATION: u64 = 0x3F;

/// How much of a block is fetched ahead, in bytes: header, key and value of a small entry. The lines of a longer one that
/// follow are read in order, and the processor foresees those.
const BLOCK_AHEAD: usize = 192;

/// How often a reader looks again at an entry that is being moved, before it asks for the lock.
const PATIENCE: u32 = 64;

/// What readers see.
pub(crate) struct Table<M> {
    lines: RawU64,
    of: PhantomData<M>,
}

/// What writers need besides, and their proof of the lock.
pub(crate) struct Lines {
    len: usize,
    /// As many lines as the table will come to, if that was foreseen: it then grows to them at once.
    foreseen: usize,
    /// The table in force, and those that were: at most one of each size, and the sizes are always the same.
    all: Vec<(usize, Memory)>,
}

/// Where a table lies: in whole pages of the arena, if it fills any.
enum Memory {
    Heap(Pages),
    Span(NonNull<u8>),
}

impl Memory {
    fn start(&self) -> NonNull<u8> {
        match self {
            Self::Heap(pages) => pages.start(),
            Self::Span(start) => *start,
        }
    }
}

// SAFETY: as `Pages`; what is in it is read and written by atomics alone.
unsafe impl Send for Memory {}

/// What a table needs to be made anew: the hash of any key, and memory.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) half_of: &'a dyn Fn(&[u8]) -> u32,
    pub(crate) arena: &'a Arena,
}

/// What a reader found.
pub(crate) enum Found<M> {
    Hit(Hit<M>),
    Nothing,
    /// An entry is being moved: look under the lock.
    Busy,
}

// SAFETY: the table's handles may be dropped on any thread, as `Hit`'s may.
unsafe impl<M: Send + Sync> Send for Table<M> {}
// SAFETY: `&Table` gives handles, as `&Hit` does; words are atomics, and written under the lock alone.
unsafe impl<M: Send + Sync> Sync for Table<M> {}

/// A table as its packed word says.
#[derive(Clone, Copy)]
struct View {
    lines: *const Line,
    count: usize,
}

impl View {
    fn of(packed: u64) -> Self {
        let size = packed >> 48;
        let address = (packed & ADDRESS & !GENERATION) as usize;
        Self {
            lines: ptr::with_exposed_provenance(address),
            count: ((size & 0x7FF) as usize) << (size >> 11),
        }
    }

    fn pack(self, generation: u64) -> u64 {
        let shift = (usize::BITS - self.count.leading_zeros()).saturating_sub(11);
        let size = u64::from(shift) << 11 | (self.count >> shift) as u64;
        size << 48 | self.lines.expose_provenance() as u64 | generation & GENERATION
    }

    fn home(self, half: u32) -> usize {
        ((u64::from(half) * self.count as u64) >> 32) as usize
    }

    /// The least half of a hash whose home is this line or one behind it; `None` where there is none.
    fn first_of(self, home: usize) -> Option<u32> {
        let half = ((home as u64) << 32).div_ceil(self.count as u64);
        u32::try_from(half).ok()
    }

    fn line(&self, at: usize) -> &Line {
        debug_assert!(at < self.count);
        // SAFETY: lines are kept for as long as the table, and are atomics.
        unsafe { &*self.lines.add(at) }
    }

    fn next(self, at: usize) -> usize {
        if at + 1 == self.count { 0 } else { at + 1 }
    }

    fn capacity(self) -> usize {
        capacity(self.count)
    }

    /// The addresses in it.
    fn addresses(&self) -> impl Iterator<Item = u64> + '_ {
        let words = (0..self.count).flat_map(|at| self.line(at));
        words.map(|word| word.load(Ordering::Relaxed) & ADDRESS).filter(|&address| address != 0)
    }

    /// Puts an address where there is room for it; false if a count would overflow, and then nothing is changed.
    fn put(self, half: u32, address: u64) -> bool {
        let home = self.home(half);
        let mut at = home;
        let free = loop {
            let line = self.line(at);
            let free = line.iter().find(|word| word.load(Ordering::Relaxed) & ADDRESS == 0);
            if let Some(word) = free {
                break word;
            }
            at = self.next(at);
            if at == home || line[0].load(Ordering::Relaxed) & PASSED == PASSED {
                return false;
            }
        };
        let mut passed = home;
        while passed != at {
            let first = &self.line(passed)[0];
            first.store(first.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            passed = self.next(passed);
        }
        // Release, against the readers' loads: who sees the address sees the block, and the counts on the way to it.
        free.store(word(half, address) | free.load(Ordering::Relaxed) & PASSED, Ordering::Release);
        true
    }

    /// The word with this address, and the line it is in.
    fn word_of(&self, half: u32, address: u64) -> (&RawU64, usize) {
        let mut at = self.home(half);
        loop {
            for word in self.line(at) {
                if word.load(Ordering::Relaxed) & ADDRESS == address {
                    return (word, at);
                }
            }
            debug_assert!(self.line(at)[0].load(Ordering::Relaxed) & PASSED != 0, "an entry is in the table");
            at = self.next(at);
        }
    }
}

/// The tag is the hash's lower half, the home line its upper one: a wheel's hint of 32 bits has both.
fn word(half: u32, address: u64) -> u64 {
    u64::from(half & 0xFFFF) << 48 | address
}

/// How many entries so many lines are made for.
fn capacity(lines: usize) -> usize {
    (lines * WORDS * FILL_PERCENT / 100).max(1)
}

/// The number of lines after `count`: as many again up to a page, then a quarter more in whole pages; and such as
/// `View::pack` can say.
fn next_count(count: usize) -> usize {
    let next = if count < LINES_IN_PAGE { count * 2 } else { count + count / 4 };
    sayable(if next < LINES_IN_PAGE { next } else { next.next_multiple_of(LINES_IN_PAGE) })
}

/// The next number below that `View::pack` can say.
fn sayable(count: usize) -> usize {
    let shift = (usize::BITS - count.leading_zeros()).saturating_sub(11);
    count >> shift << shift
}

impl<M> Table<M> {
    /// An empty table, and what its writers need. `foreseen` is how many entries there will be, if that is known.
    pub(crate) fn new(foreseen: Option<usize>, arena: &Arena) -> (Self, Lines) {
        let foreseen = foreseen
            .map_or(0, |entries| entries.saturating_mul(100).div_ceil(WORDS * FILL_PERCENT))
            .min(MAX_FORESEEN);
        let foreseen = if foreseen < LINES_IN_PAGE { 0 } else { foreseen.next_multiple_of(LINES_IN_PAGE) };
        let mut lines = Lines { len: 0, foreseen: sayable(foreseen), all: Vec::new() };
        let view = lines.make(1, arena);
        (Self { lines: RawU64::new(view.pack(0)), of: PhantomData }, lines)
    }

    /// A handle on the entry of this key. `half` is 32 bits of its hash, the same for all operations.
    pub(crate) fn find(&self, half: u32, key: &[u8]) -> Found<M> {
        loop {
            // Acquire, against `replace`: the lines were filled before they were published.
            let packed = self.lines.load(Ordering::Acquire);
            match self.probe(View::of(packed), half, key) {
                Found::Nothing if self.lines.load(Ordering::Acquire) != packed => {}
                found => return found,
            }
        }
    }

    fn probe(&self, view: View, half: u32, key: &[u8]) -> Found<M> {
        let home = view.home(half);
        let tag = u64::from(half & 0xFFFF);
        let mut at = home;
        loop {
            let line = view.line(at);
            for slot in line {
                // Acquire, against `put` and `retire`: see there.
                let mut word = slot.load(Ordering::Acquire);
                let mut looks = 0;
                while word >> 48 == tag && word & ADDRESS != 0 {
                    // A block begins at any sixteenth byte, so its key may end in a second cache line. Asked for now, it
                    // comes with the first; after the handle is taken it would be waited for as long again.
                    prefetch(ptr::without_provenance(
                        (word & ADDRESS) as usize + header_bytes::<M>() + key.len(),
                    ));
                    // SAFETY: what a table holds are addresses of blocks of the cache's arena, which lives as long.
                    let held = unsafe { try_hold::<M>(word & ADDRESS) };
                    // Looked at once more while the block is held, hence not used again: if the word still says it,
                    // this is the entry that it says, and neither one that came into the block since, nor one that
                    // is only being made and may never be stored.
                    let now = slot.load(Ordering::Acquire);
                    if let Some(hit) = held
                        && (now ^ word) & !PASSED == 0
                    {
                        if hit.key() == key {
                            return Found::Hit(hit);
                        }
                        break;
                    }
                    // It left, or was replaced, or is being moved; the word says which.
                    relax();
                    word = slot.load(Ordering::Acquire);
                    looks += 1;
                    if looks > PATIENCE {
                        return Found::Busy;
                    }
                }
            }
            at = view.next(at);
            if line[0].load(Ordering::Acquire) & PASSED == 0 || at == home {
                return Found::Nothing;
            }
        }
    }

    /// Has the key's line fetched into the processor's cache.
    pub(crate) fn prefetch_line(&self, half: u32) {
        let view = View::of(self.lines.load(Ordering::Acquire));
        prefetch(ptr::from_ref(view.line(view.home(half))).cast());
    }

    /// Has the blocks fetched that may be the key's, by its line.
    pub(crate) fn prefetch_block(&self, half: u32) {
        let view = View::of(self.lines.load(Ordering::Acquire));
        let tag = u64::from(half & 0xFFFF);
        for slot in view.line(view.home(half)) {
            let word = slot.load(Ordering::Relaxed);
            if word >> 48 == tag {
                for ahead in (0..BLOCK_AHEAD).step_by(size_of::<Line>()) {
                    prefetch(ptr::without_provenance((word & ADDRESS) as usize + ahead));
                }
            }
        }
    }

    /// The entry of this key, for a writer.
    pub(crate) fn entry<'a>(&self, lock: &'a Lines, half: u32, key: &[u8]) -> Option<Lent<'a, M>> {
        self.first(lock, half, |entry| entry.key() == key)
    }

    /// The first entry that `is_it`, of those whose hash may be this one; among them are all whose it is.
    pub(crate) fn first<'a>(
        &self,
        lock: &'a Lines,
        half: u32,
        mut is_it: impl FnMut(&Lent<'a, M>) -> bool,
    ) -> Option<Lent<'a, M>> {
        let view = self.view(lock);
        let home = view.home(half);
        let mut at = home;
        loop {
            let line = view.line(at);
            for slot in line {
                let word = slot.load(Ordering::Relaxed);
                if word >> 48 == u64::from(half & 0xFFFF) && word & ADDRESS != 0 {
                    // SAFETY: under the lock an address in the table is an entry's.
                    let entry = unsafe { Lent::at(word & ADDRESS) };
                    if is_it(&entry) {
                        return Some(entry);
                    }
                }
            }
            at = view.next(at);
            if line[0].load(Ordering::Relaxed) & PASSED == 0 || at == home {
                return None;
            }
        }
    }

    /// Shows the entries whose half of a hash is `from` or more, those of one line after the other's, until `goes_on` says
    /// no; the line it said so in is shown to its end. Gives the half to go on with; `None`: all were shown.
    pub(crate) fn scan<'a>(
        &self,
        lock: &'a Lines,
        from: u32,
        half_of: &dyn Fn(&[u8]) -> u32,
        goes_on: &mut dyn FnMut(Lent<'a, M>) -> bool,
    ) -> Option<u32> {
        let view = self.view(lock);
        for home in view.home(from)..view.count {
            let mut wants_more = true;
            let mut at = home;
            loop {
                let line = view.line(at);
                for slot in line {
                    let address = slot.load(Ordering::Relaxed) & ADDRESS;
                    if address == 0 {
                        continue;
                    }
                    // SAFETY: under the lock an address in the table is an entry's.
                    let entry = unsafe { Lent::at(address) };
                    let half = half_of(entry.key());
                    if half >= from && view.home(half) == home {
                        wants_more = goes_on(entry);
                    }
                }
                at = view.next(at);
                if line[0].load(Ordering::Relaxed) & PASSED == 0 || at == home {
                    break;
                }
            }
            if !wants_more {
                return view.first_of(home + 1);
            }
        }
        None
    }

    /// Puts a handle in: its key is not here.
    pub(crate) fn insert(&self, lock: &mut Lines, half: u32, hit: Hit<M>, place: Place<'_>) {
        let address = hit.into_address();
        let mut view = self.view(lock);
        while lock.len >= view.capacity() || !view.put(half, address) {
            let count = if lock.foreseen > view.count && lock.bears_out() {
                lock.foreseen
            } else {
                next_count(view.count)
            };
            view = self.resize(lock, count, place);
        }
        lock.len += 1;
    }

    /// Puts a handle in the place of another of the same key, which is given back. Readers find either.
    pub(crate) fn replace(&self, lock: &mut Lines, half: u32, old: u64, new: Hit<M>) -> Hit<M> {
        let view = self.view(lock);
        let (slot, _) = view.word_of(half, old);
        let passed = slot.load(Ordering::Relaxed) & PASSED;
        slot.store(word(half, new.into_address()) | passed, Ordering::Release);
        // SAFETY: given up when it was put in, and not in the table any more.
        unsafe { Hit::from_address(old) }
    }

    /// As `replace`, of an entry that was moved: its old block is gone.
    pub(crate) fn moved(&self, lock: &mut Lines, half: u32, old: u64, new: Hit<M>) {
        std::mem::forget(self.replace(lock, half, old, new));
    }

    /// Takes the handle with this address out. Once it is dropped, readers find the block free.
    pub(crate) fn remove(&self, lock: &mut Lines, half: u32, address: u64) -> Hit<M> {
        let view = self.view(lock);
        let (slot, at) = view.word_of(half, address);
        slot.store(slot.load(Ordering::Relaxed) & PASSED, Ordering::Release);
        let mut passed = view.home(half);
        while passed != at {
            let first = &view.line(passed)[0];
            first.store(first.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
            passed = view.next(passed);
        }
        lock.len -= 1;
        // SAFETY: as in `replace`.
        unsafe { Hit::from_address(address) }
    }

    /// Makes the table smaller if it holds less than a quarter of what it could.
    pub(crate) fn shrink(&self, lock: &mut Lines, place: Place<'_>) {
        let view = self.view(lock);
        // Not below what `insert` would have it grow to again.
        let least = if lock.bears_out() { lock.foreseen.max(1) } else { 1 };
        if view.count > least && lock.len < view.capacity() / 4 {
            let mut count = least;
            while (View { count, ..view }).capacity() < lock.len * 2 {
                count = next_count(count);
            }
            self.resize(lock, count, place);
        }
    }

    /// Takes everything out.
    pub(crate) fn clear(&self, lock: &mut Lines, arena: &Arena) -> Vec<Hit<M>> {
        let old = self.view(lock);
        if lock.len == 0 {
            return Vec::new();
        }
        let addresses: Vec<u64> = old.addresses().collect();
        let new = lock.make(1, arena);
        if ptr::eq(new.lines, old.lines) {
            lock.empty(old, arena);
        } else {
            self.publish(lock, old, new, arena);
        }
        lock.len = 0;
        // SAFETY: as in `replace`.
        addresses.into_iter().map(|address| unsafe { Hit::from_address(address) }).collect()
    }

    pub(crate) fn len(&self, lock: &Lines) -> usize {
        lock.len
    }

    fn view(&self, _lock: &Lines) -> View {
        View::of(self.lines.load(Ordering::Relaxed))
    }

    /// A table of at least `count` lines with the same entries, in force.
    #[cold]
    fn resize(&self, lock: &mut Lines, mut count: usize, place: Place<'_>) -> View {
        let old = self.view(lock);
        // The memory of the one in force is not there to be filled.
        let other = |count| if count == old.count { next_count(count) } else { count };
        count = other(count);
        let addresses: Vec<u64> = old.addresses().collect();
        let new = loop {
            let new = lock.make(count, place.arena);
            let fits = addresses.iter().enumerate().all(|(at, &address)| {
                if let Some(&ahead) = addresses.get(at + 8) {
                    prefetch(ptr::without_provenance(ahead as usize));
                }
                // SAFETY: under the lock an address in the table is an entry's.
                new.put((place.half_of)(unsafe { Lent::<'_, M>::at(address) }.key()), address)
            });
            if fits {
                break new;
            }
            lock.empty(new, place.arena);
            count = other(next_count(count));
        };
        self.publish(lock, old, new, place.arena);
        new
    }

    fn publish(&self, lock: &mut Lines, old: View, new: View, arena: &Arena) {
        let generation = (self.lines.load(Ordering::Relaxed) & GENERATION) + 1;
        // Release: who sees the new table sees what is in it.
        self.lines.store(new.pack(generation), Ordering::Release);
        lock.empty(old, arena);
    }

    /// The most lines that a look-up of any entry here goes through.
    #[cfg(test)]
    pub(crate) fn longest_way(&self, lock: &Lines, half_of: &impl Fn(&[u8]) -> u32) -> usize {
        let view = self.view(lock);
        let ways = view.addresses().map(|address| {
            // SAFETY: under the lock.
            let half = half_of(unsafe { Lent::<'_, M>::at(address) }.key());
            let (_, at) = view.word_of(half, address);
            (at + view.count - view.home(half)) % view.count + 1
        });
        ways.max().unwrap_or(0)
    }
}

impl Lines {
    /// There are so many entries that what was foreseen is to be believed.
    fn bears_out(&self) -> bool {
        self.len > capacity(self.foreseen) / FORESIGHT
    }

    /// An empty table of this many lines, which is not the one in force unless it has as many.
    fn make(&mut self, count: usize, arena: &Arena) -> View {
        let known = self.all.iter().find(|(known, _)| *known == count);
        let lines = match known {
            Some((_, memory)) => memory.start(),
            None => {
                let bytes = count * size_of::<Line>();
                let memory = match bytes {
                    0..PAGE => Memory::Heap(Pages::new(bytes, size_of::<Line>())),
                    _ => Memory::Span(arena.alloc_table(bytes)),
                };
                let start = memory.start();
                // SAFETY: the memory is ours alone and as long.
                unsafe { start.write_bytes(0, bytes) };
                self.all.push((count, memory));
                start
            }
        };
        View { lines: lines.as_ptr().cast_const().cast(), count }
    }

    /// Empties a table that is not in force any more, and gives its pages back.
    fn empty(&mut self, old: View, arena: &Arena) {
        for word in (0..old.count).flat_map(|at| old.line(at)) {
            // Release, against the readers' loads: who sees this, sees the new table when he looks for it.
            word.store(0, Ordering::Release);
        }
        let (_, memory) = self.all.iter().find(|(count, _)| *count == old.count).expect("it was made here");
        if let Memory::Span(start) = memory {
            // SAFETY: all of it is zero, and nothing more is asked of it.
            unsafe { arena.empty_table(*start, old.count * size_of::<Line>()) };
        }
    }
}

#[cfg(all(test, shuttle))]
mod shuttle_tests;
#[cfg(test)]
mod stage;
#[cfg(all(test, not(shuttle)))]
mod tests;
