//! Blocks of one cache: slabs of size classes, in memory that keeps its address and its kind while the cache lives.
//!
//! Uses `unsafe` throughout: it is an allocator. Each block begins with a word that counts its handles and is zero
//! while the block is free; nothing but a block of the same size will ever begin at that address. So a reader without a
//! lock may look at the word of a block that was freed a moment ago: it sees zero, or another entry's count,
//! and never a byte of a value. That is what lets readers do without epochs and hazard pointers.
//!
//! Slabs after Bonwick (1994): regions (see `regions`) are cut into chunks, a chunk holds blocks of one class for ever, each
//! class has a lock. An empty chunk's pages go back to the system; its addresses wait for the class to grow again.
//! Classes are at most 1/8 apart, mostly far less, and an entry is charged its class. What is too large for the largest
//! class has its text in `spans`.
//!
//! The block that a thread freed last is kept at its hand: an insert that evicts takes it for the next, without a lock.
//!
//! An arena outlives its cache while handles are held: `Arena::drop` counts them, and the last one frees it.
#![allow(unsafe_code, reason = "an allocator; see above")]

use std::ptr::NonNull;

use crate::classes::{ALIGN, CHUNK, CLASS_BYTES, CLASS_OF, MAX_BLOCK};
use crate::counters::{SEATS, seat};
use crate::pages::{PageSize, give_back, poison, unpoison};
use crate::regions::{REGION, Regions};
use crate::spans::Spans;
use crate::sync::{AtomicU64, Mutex, Ordering, RawU32};

const CHUNKS: usize = REGION / CHUNK;
/// What a region says of itself, at its start: the first chunk is smaller by that.
const HEAD: usize = 512;
/// Blocks up to this size are kept at hand.
const AT_HAND: usize = 1 << 10;
/// Up to this, what blocks waste is not worth the trouble.
const WASTE: u64 = 4 * CHUNK as u64;

/// What runs when a block with a Rust value in it is freed; given the value's address.
pub(crate) type DropValue = unsafe fn(*mut u8);

/// The memory of one cache. See the file.
pub(crate) struct Arena(NonNull<Inner>);

/// Behind a pointer that every region knows.
struct Inner {
    classes: Box<[Mutex<Class>]>,
    spans: Mutex<Spans>,
    tables: Mutex<Spans>,
    carved: Mutex<Carved>,
    /// By the seats of threads: a free block's address, and above it its class and one; zero is none.
    at_hand: Box<[AtHand]>,
    /// Once the cache is gone: the blocks still held, and `CLOSING` while they are counted.
    orphans: AtomicU64,
    drop_value: Option<DropValue>,
}

/// More than there can be blocks.
const CLOSING: u64 = 1 << 62;

/// Of one thread, and written by no other.
#[derive(Default)]
#[repr(align(64))]
struct AtHand(std::sync::atomic::AtomicU64);

struct Carved {
    regions: Regions,
    /// Chunks of the last region that belong to no class yet.
    unused: usize,
}

/// Blocks of one size. Chunks are in `partial` if and only if they have room and are not being drained.
#[derive(Default)]
struct Class {
    partial: Vec<NonNull<Chunk>>,
    /// Empty chunks whose pages went back.
    released: Vec<NonNull<Chunk>>,
    /// How many of the partial ones are stuck.
    stuck: usize,
    live: u64,
    /// Blocks that were handed out at least once since their chunk was last empty: what is resident.
    touched: u64,
    /// The cache is gone.
    closed: bool,
}

// SAFETY: the chunks belong to the arena, which outlives its classes, and are touched under the class's lock alone.
unsafe impl Send for Class {}

/// At the start of a region.
#[repr(C)]
struct Region {
    arena: NonNull<Inner>,
    /// The class of each chunk: written once, before its first block is, and read without a lock. Apart from the chunk,
    /// which others may have borrowed meanwhile.
    classes: [u16; CHUNKS],
    chunks: [Chunk; CHUNKS],
}

/// Under the lock of its class.
struct Chunk {
    live: u16,
    /// Blocks ever handed out since it was last empty; those behind were never touched.
    touched: u16,
    /// The first free one among the touched, counted from 1; 0: none. The others are linked through their second word.
    free: u16,
    /// It was drained in vain, and nothing in it was freed since: somebody holds on to a block of it.
    stuck: bool,
    /// Its place in the class's `partial`, or `FULL` or `DRAINING`.
    place: u32,
}

const FULL: u32 = u32::MAX;
const DRAINING: u32 = u32::MAX - 1;

// SAFETY: all that can be changed is behind locks and atomics; blocks are what callers make of them.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

impl Arena {
    /// An empty arena, its blocks and tables in pages of this size. `drop_value` is called for blocks freed by `free`
    /// that say they hold a value.
    pub(crate) fn new(page_size: PageSize, drop_value: Option<DropValue>) -> Self {
        let inner = Box::new(Inner {
            classes: CLASS_BYTES.iter().map(|_| Mutex::new(Class::default())).collect(),
            spans: Mutex::new(Spans::new(PageSize::Small)),
            tables: Mutex::new(Spans::new(page_size)),
            carved: Mutex::new(Carved { regions: Regions::new(page_size), unused: 0 }),
            at_hand: (0..SEATS).map(|_| AtHand::default()).collect(),
            orphans: AtomicU64::new(0),
            drop_value,
        });
        Self(NonNull::from(Box::leak(inner)))
    }

    fn inner(&self) -> &Inner {
        // SAFETY: alive until the arena is dropped and the last block is freed.
        unsafe { self.0.as_ref() }
    }

    /// A block of at least `bytes`, at most `MAX_BLOCK`. Its first word is zero and has been since it was last freed;
    /// what else is in it is anything. It is the caller's until `free`.
    pub(crate) fn alloc(&self, bytes: usize) -> NonNull<u8> {
        let number = CLASS_OF[bytes.div_ceil(ALIGN)];
        if let Some(block) = self.take_at_hand(number) {
            return block;
        }
        let mut class = self.inner().classes[number as usize].lock();
        let chunk = match class.partial.last() {
            Some(&chunk) => chunk,
            None => self.open_chunk(&mut class, number),
        };
        class.take_block(chunk, CLASS_BYTES[number as usize] as usize)
    }

    /// Keeps a block at this thread's hand, if nothing is there and it is small; false: it is still to be freed.
    ///
    /// # Safety
    /// As of `free`, for a block of this arena without a span or a value, of at least `bytes`.
    pub(crate) unsafe fn keep_at_hand(&self, block: NonNull<u8>, bytes: usize) -> bool {
        let hand = seat().map(|seat| &self.inner().at_hand[seat].0);
        let Some(hand) = hand.filter(|hand| bytes <= AT_HAND && hand.load(Ordering::Relaxed) == 0) else {
            return false;
        };
        let number = u64::from(CLASS_OF[bytes.div_ceil(ALIGN)]);
        // SAFETY: inside the block, which is free.
        poison(unsafe { block.add(4) }, CLASS_BYTES[number as usize] as usize - 4);
        hand.store((number + 1) << 48 | block.as_ptr().expose_provenance() as u64, Ordering::Relaxed);
        true
    }

    /// The block at this thread's hand, if it is of this class.
    fn take_at_hand(&self, number: u8) -> Option<NonNull<u8>> {
        let hand = &self.inner().at_hand[seat()?].0;
        let held = hand.load(Ordering::Relaxed);
        if held >> 48 != u64::from(number) + 1 {
            return None;
        }
        hand.store(0, Ordering::Relaxed);
        let block = block_of(held);
        unpoison(block, CLASS_BYTES[number as usize] as usize);
        Some(block)
    }

    /// Room for a text of `bytes`; the caller's until the block that it belongs to is freed.
    pub(crate) fn alloc_span(&self, bytes: usize) -> NonNull<u8> {
        self.inner().spans.lock().alloc(bytes)
    }

    /// Whole pages for a table, for as long as the arena lives; they are in nobody's account.
    pub(crate) fn alloc_table(&self, bytes: usize) -> NonNull<u8> {
        self.inner().tables.lock().alloc(bytes)
    }

    /// Gives the pages of a table back to the system, while its address stays the table's.
    ///
    /// # Safety
    /// `start` came from `alloc_table(bytes)`, and nobody relies on what is there, but for words that are zero already.
    pub(crate) unsafe fn empty_table(&self, start: NonNull<u8>, bytes: usize) {
        // SAFETY: by the caller.
        unsafe { self.inner().tables.lock().empty(start, bytes) };
    }

    /// A chunk with room, which becomes the class's last partial one.
    #[cold]
    fn open_chunk(&self, class: &mut Class, number: u8) -> NonNull<Chunk> {
        let mut chunk = class.released.pop().unwrap_or_else(|| self.new_chunk(number));
        // SAFETY: the chunk is this class's, or no class's yet and ours alone.
        let fields = unsafe { chunk.as_mut() };
        *fields = Chunk { live: 0, touched: 0, free: 0, stuck: false, place: FULL };
        class.enlist(chunk);
        chunk
    }

    fn new_chunk(&self, number: u8) -> NonNull<Chunk> {
        let mut carved = self.inner().carved.lock();
        if carved.unused == 0 {
            let region = carved.regions.grow().cast::<Region>();
            let empty = || Chunk { live: 0, touched: 0, free: 0, stuck: false, place: FULL };
            let chunks = std::array::from_fn(|_| empty());
            // SAFETY: the region is ours alone, aligned, and larger than its head.
            unsafe { region.write(Region { arena: self.0, classes: [0; CHUNKS], chunks }) };
            carved.unused = CHUNKS;
        }
        carved.unused -= 1;
        let at = CHUNKS - 1 - carved.unused;
        let region = carved.regions.last().cast::<Region>();
        // SAFETY: inside the region's head; no reference to the whole head is made, since other chunks are in use.
        unsafe {
            (*region.as_ptr()).classes[at] = u16::from(number);
            NonNull::new_unchecked(&raw mut (*region.as_ptr()).chunks[at])
        }
    }

    /// The class that wastes most, of those where that can be mended, if all of them together waste more than they
    /// should: a sixteenth of what is resident.
    pub(crate) fn sparse(&self) -> Option<u8> {
        let (mut resident, mut wasted) = (0, 0);
        let mut worst = None;
        for (number, (class, bytes)) in self.inner().classes.iter().zip(CLASS_BYTES).enumerate() {
            let class = class.lock();
            let waste = (class.touched - class.live) * u64::from(bytes);
            resident += class.touched * u64::from(bytes);
            wasted += waste;
            if class.partial.len() > 1 && class.partial.len() > class.stuck {
                worst = worst.max(Some((waste, number as u8)));
            }
        }
        worst.filter(|_| wasted > (resident / 16).max(WASTE)).map(|(_, number)| number)
    }

    /// Closes the emptiest partial chunk of a class to new blocks, and gives the addresses of all its blocks, held or
    /// not: who moves the held ones elsewhere empties the chunk. `Drained` opens what is left of it when dropped.
    pub(crate) fn drain(&self, number: u8) -> Option<Drained<'_>> {
        let mut class = self.inner().classes[number as usize].lock();
        // SAFETY: chunks of this class, under its lock.
        let fields = |chunk: &NonNull<Chunk>| unsafe { chunk.as_ref() };
        let loose = class.partial.iter().filter(|chunk| !fields(chunk).stuck);
        let &chunk = loose.min_by_key(|chunk| fields(chunk).live).filter(|_| class.partial.len() > 1)?;
        class.delist(chunk, DRAINING);
        // SAFETY: as above.
        let touched = unsafe { chunk.as_ref().touched };
        let bytes = CLASS_BYTES[number as usize] as usize;
        let blocks = (0..touched).map(|at| block_at(chunk, usize::from(at), bytes)).collect();
        Some(Drained { arena: self, number, chunk, blocks })
    }

    /// How many blocks are in use.
    #[cfg(test)]
    pub(crate) fn blocks(&self) -> u64 {
        self.inner().classes.iter().map(|class| class.lock().live).sum()
    }

    /// What blocks and spans hold of memory, in bytes, and what of it is in use.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let spans = self.inner().spans.lock().in_use();
        let classes = self.inner().classes.iter().zip(CLASS_BYTES);
        classes.fold((spans, spans), |(resident, used), (class, bytes)| {
            let class = class.lock();
            (resident + class.touched * u64::from(bytes), used + class.live * u64::from(bytes))
        })
    }
}

/// The blocks of a chunk that takes no new ones for now.
pub(crate) struct Drained<'a> {
    arena: &'a Arena,
    number: u8,
    chunk: NonNull<Chunk>,
    pub(crate) blocks: Vec<NonNull<u8>>,
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        let mut class = self.arena.inner().classes[self.number as usize].lock();
        // SAFETY: a chunk of this class, under its lock.
        let fields = unsafe { self.chunk.as_mut() };
        if fields.place == DRAINING {
            fields.stuck = true;
            class.stuck += 1;
            class.enlist_last(self.chunk);
        }
    }
}

/// Frees a block, and the span of its text if it has one; drops the value in it if it has one.
///
/// # Safety
/// `block` came from `Arena::alloc`, `span` from `alloc_span` of the same arena with that length, and `value` lies in
/// one of them; all are given up by this. The block's first word is zero, and was made so by who freed it, so that all
/// its other uses happened before.
pub(crate) unsafe fn free(
    block: NonNull<u8>,
    span: Option<(NonNull<u8>, usize)>,
    value: Option<NonNull<u8>>,
) {
    let region = block.as_ptr().map_addr(|address| address & !(REGION - 1)).cast::<Region>();
    let at = (block.as_ptr().addr() % REGION) / CHUNK;
    // SAFETY: every block lies in a region, whose head says whose it is and of which class; the arena lives while a
    // block of it is held. The class was written before the chunk's first block was handed out, and not since.
    let (arena, number, chunk) = unsafe {
        (
            (&raw const (*region).arena).read(),
            (&raw const (*region).classes[at]).read(),
            NonNull::new_unchecked(&raw mut (*region).chunks[at]),
        )
    };
    // Gives the memory back when it is dropped: also if the value panics.
    let _given_up = GivenUp { arena, number, chunk, block, span };
    // SAFETY: as above.
    let inner = unsafe { arena.as_ref() };
    if let (Some(value), Some(drop_value)) = (value, inner.drop_value) {
        // SAFETY: by the caller; the value is dropped once, here.
        unsafe { drop_value(value.as_ptr()) };
    }
}

/// A block that nobody holds any more, and its span. What `free` has as its right is this one's.
struct GivenUp {
    arena: NonNull<Inner>,
    number: u16,
    chunk: NonNull<Chunk>,
    block: NonNull<u8>,
    span: Option<(NonNull<u8>, usize)>,
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        // SAFETY: the arena lives while a block of it is held, and this one still is.
        let inner = unsafe { self.arena.as_ref() };
        if let Some((start, bytes)) = self.span {
            // SAFETY: by the caller of `free`.
            unsafe { inner.spans.lock().free(start, bytes) };
        }
        let bytes = CLASS_BYTES[self.number as usize] as usize;
        let closed = {
            let mut class = inner.classes[self.number as usize].lock();
            class.give_block(self.chunk, self.block, bytes);
            class.closed
        };
        if closed {
            // By the pointer that the arena was made with: a shared reference could not free it.
            // SAFETY: this block is counted among the orphans, and is no longer in use.
            unsafe { fewer_orphans(self.arena, 1) };
        }
    }
}

/// The blocks that are still held are counted; with the last of them the memory goes.
impl Drop for Arena {
    fn drop(&mut self) {
        let inner = self.inner();
        for hand in &inner.at_hand {
            let held = hand.0.swap(0, Ordering::Acquire);
            if held != 0 {
                let block = block_of(held);
                unpoison(block, CLASS_BYTES[(held >> 48) as usize - 1] as usize);
                // SAFETY: the block is free, and nobody's; it has neither span nor value.
                unsafe { free(block, None, None) };
            }
        }
        inner.orphans.store(CLOSING, Ordering::SeqCst);
        for class in &inner.classes {
            let mut class = class.lock();
            class.closed = true;
            inner.orphans.fetch_add(class.live, Ordering::SeqCst);
        }
        // SAFETY: the cache is gone, and takes this with it.
        unsafe { fewer_orphans(self.0, CLOSING) };
    }
}

/// # Safety
/// The arena is closed; `count` was counted in and is given up by this.
unsafe fn fewer_orphans(inner: NonNull<Inner>, count: u64) {
    // SAFETY: what is given up here kept it alive until now.
    let before = unsafe { inner.as_ref() }.orphans.fetch_sub(count, Ordering::SeqCst);
    if before == count {
        // SAFETY: nobody else is counted, so nobody else can reach it; it was leaked from a box by `new`.
        drop(unsafe { Box::from_raw(inner.as_ptr()) });
    }
}

impl Class {
    fn take_block(&mut self, mut chunk: NonNull<Chunk>, bytes: usize) -> NonNull<u8> {
        // SAFETY: a chunk of this class, under its lock.
        let fields = unsafe { chunk.as_mut() };
        let at = match fields.free {
            0 => {
                fields.touched += 1;
                self.touched += 1;
                let fresh = block_at(chunk, usize::from(fields.touched - 1), bytes);
                // SAFETY: the block is ours; any bits are a value of the atomic. It may be anything if the heap had
                // this memory before us. No reader knows the block as one that ever lived, or else it is zero already.
                unsafe { fresh.cast::<RawU32>().as_ref() }.store(0, Ordering::Relaxed);
                fields.touched - 1
            }
            free => {
                unpoison(block_at(chunk, usize::from(free - 1), bytes), bytes);
                // SAFETY: the block is free, so its second word is ours.
                fields.free = unsafe { next_free(block_at(chunk, usize::from(free - 1), bytes)).read() };
                free - 1
            }
        };
        fields.live += 1;
        self.live += 1;
        if fields.free == 0 && usize::from(fields.touched) == blocks_in(chunk, bytes) {
            self.delist(chunk, FULL);
        }
        block_at(chunk, usize::from(at), bytes)
    }

    fn give_block(&mut self, mut chunk: NonNull<Chunk>, block: NonNull<u8>, bytes: usize) {
        let at = (block.as_ptr().addr() - first_block(chunk).as_ptr().addr()) / bytes;
        // SAFETY: a chunk of this class, under its lock.
        let fields = unsafe { chunk.as_mut() };
        // So that what is read after it was freed is not by chance what it was. The first word stays.
        #[cfg(debug_assertions)]
        // SAFETY: the block is free and as long as its class.
        unsafe {
            block.add(4).write_bytes(0xDB, bytes - 4);
        }
        // SAFETY: the block is free, so its second word is ours.
        unsafe { next_free(block).write(fields.free) };
        // But for the word that readers may look at. (It is a sanitizer's business alone: see `pages`.)
        // SAFETY: inside the block.
        poison(unsafe { block.add(4) }, bytes - 4);
        fields.free = at as u16 + 1;
        fields.live -= 1;
        self.stuck -= usize::from(std::mem::take(&mut fields.stuck));
        self.live -= 1;
        let (live, place) = (fields.live, fields.place);
        if live == 0 && (place == DRAINING || self.partial.len() > usize::from(place != FULL)) {
            self.release(chunk, bytes);
        } else if place == FULL {
            self.enlist(chunk);
        }
    }

    /// An empty chunk's pages go back, and it waits to be opened again.
    fn release(&mut self, mut chunk: NonNull<Chunk>, bytes: usize) {
        // SAFETY: a chunk of this class, under its lock.
        let place = unsafe { chunk.as_ref().place };
        if place != DRAINING && place != FULL {
            self.delist(chunk, FULL);
        }
        // SAFETY: as above.
        let fields = unsafe { chunk.as_mut() };
        self.touched -= u64::from(fields.touched);
        let used = usize::from(fields.touched) * bytes;
        (fields.touched, fields.free, fields.place) = (0, 0, FULL);
        let start = first_block(chunk);
        unpoison(start, used);
        // SAFETY: a region's head says whose it is, and its arena lives, since the chunk does.
        let inner = unsafe { (&raw const (*located(chunk).1.cast::<Region>()).arena).read().as_ref() };
        inner.carved.lock().regions.thin(start.as_ptr().addr());
        // SAFETY: all its blocks are free: their first words are zero, and nothing else in them matters to anyone.
        unsafe { give_back(start, used) };
        self.released.push(chunk);
    }

    fn enlist(&mut self, mut chunk: NonNull<Chunk>) {
        // SAFETY: a chunk of this class, under its lock.
        unsafe { chunk.as_mut() }.place = self.partial.len() as u32;
        self.partial.push(chunk);
    }

    /// As `enlist`, but so that all others are filled first.
    fn enlist_last(&mut self, chunk: NonNull<Chunk>) {
        self.enlist(chunk);
        let last = self.partial.len() - 1;
        self.partial.swap(0, last);
        for at in [0, last] {
            let mut chunk = self.partial[at];
            // SAFETY: as above.
            unsafe { chunk.as_mut() }.place = at as u32;
        }
    }

    fn delist(&mut self, mut chunk: NonNull<Chunk>, place: u32) {
        // SAFETY: chunks of this class, under its lock.
        let fields = unsafe { chunk.as_mut() };
        self.stuck -= usize::from(std::mem::take(&mut fields.stuck));
        let at = std::mem::replace(&mut fields.place, place) as usize;
        self.partial.swap_remove(at);
        if let Some(&(mut moved)) = self.partial.get(at) {
            // SAFETY: as above.
            unsafe { moved.as_mut() }.place = at as u32;
        }
    }
}

/// The block of a word that is kept at hand.
fn block_of(held: u64) -> NonNull<u8> {
    let address = held & 0x0000_FFFF_FFFF_FFFF;
    // SAFETY: no block is at zero; the address was exposed when it was put there.
    unsafe { NonNull::new_unchecked(std::ptr::with_exposed_provenance_mut(address as usize)) }
}

/// Where a free block keeps the number of the next one.
fn next_free(block: NonNull<u8>) -> NonNull<u16> {
    // SAFETY: a block is longer than that.
    unsafe { block.add(4) }.cast()
}

/// The chunk's number in its region, and the region's start, with the provenance of the whole region.
fn located(chunk: NonNull<Chunk>) -> (usize, *mut u8) {
    let region = chunk.as_ptr().map_addr(|address| address & !(REGION - 1)).cast::<u8>();
    let head = std::mem::offset_of!(Region, chunks);
    ((chunk.as_ptr().addr() - region.addr() - head) / size_of::<Chunk>(), region)
}

fn first_block(chunk: NonNull<Chunk>) -> NonNull<u8> {
    let (at, region) = located(chunk);
    // SAFETY: a chunk lies inside its region; the first begins behind the region's head.
    unsafe { NonNull::new_unchecked(region.add(at * CHUNK + if at == 0 { HEAD } else { 0 })) }
}

fn blocks_in(chunk: NonNull<Chunk>, bytes: usize) -> usize {
    let (at, _) = located(chunk);
    (CHUNK - if at == 0 { HEAD } else { 0 }) / bytes
}

fn block_at(chunk: NonNull<Chunk>, at: usize, bytes: usize) -> NonNull<u8> {
    // SAFETY: callers number the blocks of the chunk.
    unsafe { first_block(chunk).add(at * bytes) }
}

const _: () = assert!(size_of::<Region>() <= HEAD && HEAD.is_multiple_of(ALIGN));
const _: () = assert!(MAX_BLOCK <= u16::MAX as usize);
const _: () = assert!(CHUNK / 32 < u16::MAX as usize);

#[cfg(all(test, not(shuttle)))]
mod tests;
