//! One entry's block: header, key and value in a single piece of memory, and the counted handle on it.
//!
//! A hit is made of dependent cache misses; with key and value behind the header that the reference count lives in, a
//! look-up makes two (the table's line, this block), where a shared buffer stored in the entry makes a third for its
//! own count. Safe Rust has no memory of a length known only at run time with a typed head, that can be cloned by
//! count and read as a slice, without that third miss; so this file is `unsafe`.
//!
//! What a reader sees of a block never changes while it is held, but for the count and the hits. A block is freed by
//! the last handle, on whichever thread that is; the table's own handle is one like any other. The count is the block's
//! first word and is zero while the block is free (see `arena`): `try_hold` takes a handle only if it is not.
//!
//! ```text
//! header 24 | meta | units 8, if they were told | address 8, if the text is elsewhere | text: key, value
//! ```
#![allow(unsafe_code, reason = "one piece of memory for header, key and value; see above")]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::slice;

use crate::arena::{self, Arena};
use crate::classes::{ALIGN, MAX_BLOCK, block_taken};
use crate::clock::Time;
use crate::spans::Spans;
use crate::sync::{Ordering, RawU8, RawU32, fence};

/// Above this many handles on one block the process aborts. Half the counter's range, so that threads which pass
/// the check together cannot wrap it: only a program that leaks handles in a loop comes here.
const MAX_HANDLES: u32 = u32::MAX / 2;

/// The longest key and the longest value, in bytes, that a header can say.
pub(crate) const MAX_KEY: usize = u16::MAX as usize;
pub(crate) const MAX_VALUE: usize = u32::MAX as usize;

/// The last moment that 48 bits of milliseconds can say stands for none: some 8,900 years.
const NEVER: u64 = (1 << 48) - 1;

/// Hits are counted up to this, since the policy asks for no more: see `s3fifo`.
pub(crate) const MAX_HITS: u8 = 3;

/// How the entry is charged, in the lowest two bits of a stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    Entry,
    Payload,
    Real,
    /// The units are in the block.
    Units(u64),
}

const UNITS: u64 = 3;
/// The text is in a span of its own.
const SPAN: u64 = 1 << 2;
/// The entry belongs to the minor region.
const MINOR: u64 = 1 << 3;
/// The block is the heap's and not an arena's.
const HEAP: u64 = 1 << 4;
/// The value is a Rust value, to be dropped, at a multiple of `ALIGN`.
const VALUE: u64 = 1 << 5;

/// What lies before the key. 24 bytes, and the meta.
#[repr(C)]
struct Header<M> {
    /// The first word, by which a free block is told from one that lives.
    handles: RawU32,
    value_len: u32,
    /// Where it is in its queue; under the shard's lock.
    place: RawU32,
    key_len: u16,
    /// Counted by readers, up to `MAX_HITS`; a count may be lost to another's.
    hits: RawU8,
    /// The policy's: see `s3fifo`; under the shard's lock.
    rank: RawU8,
    /// Expiry in milliseconds of the cache's clock, or `NEVER`, above 16 bits of the flags above.
    stamp: u64,
    meta: M,
}

const _: () = assert!(size_of::<Header<()>>() == 24);

/// What an entry is made of, as it is stored.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a, M> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) meta: M,
    pub(crate) charge: Charge,
    pub(crate) expires: Option<Time>,
    pub(crate) minor: bool,
    /// The value is a Rust value, dropped with the block: see `Hit::with_value`.
    pub(crate) is_value: bool,
}

/// A counted handle on one entry: derefs to its value, and knows its key and what was stored beside it.
///
/// It stays valid for as long as it is held, also after the entry left the cache; that memory is then no longer in
/// the cache's weight. Clone and drop cost one atomic operation each and copy nothing.
pub struct Hit<M> {
    /// Points to a live `Header<M>` at the start of a block, of which this handle is counted.
    block: NonNull<Header<M>>,
    owns: PhantomData<Header<M>>,
}

// SAFETY: a handle shares the block as `Arc` does: `&M` from many threads (`Sync`), and the last drop, hence the
// drop of `M`, on any of them (`Send`). A Rust value in the block is demanded to be both where it is put in
// (`typed`). All else in the block is plain data, never written while it is held, or atomic.
unsafe impl<M: Send + Sync> Send for Hit<M> {}
// SAFETY: as above; `&Hit` gives no more than `Hit` does, since anyone may clone it.
unsafe impl<M: Send + Sync> Sync for Hit<M> {}

impl<M: Copy> Hit<M> {
    /// A handle on a value that is in no cache: for a caller that has to hand out a `Hit` though the cache refused
    /// the value. Costs one allocation and the copy; its weight is 0.
    ///
    /// # Panics
    /// On a key of 64 KiB or a value of 4 GiB or more.
    pub fn detached(key: &[u8], value: &[u8], meta: M) -> Self {
        assert!(key.len() <= MAX_KEY && value.len() <= MAX_VALUE, "a key under 64 KiB, a value under 4 GiB");
        let (charge, expires) = (Charge::Units(0), None);
        let parts = Parts { key, value, meta, charge, expires, minor: false, is_value: false };
        let shape = Shape::<M>::of(&parts, value.len(), HEAP);
        let layout = shape.heap_layout();
        // SAFETY: the layout is never empty, since the header is not.
        let Some(block) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: the allocation is as long as the layout says and ours alone.
        unsafe { Self::write(block, None, &parts, value.as_ptr(), &shape) }
    }

    /// Copies key and value into a new block with one handle. Their lengths are within `MAX_KEY` and `MAX_VALUE`.
    pub(crate) fn new_in(arena: &Arena, parts: &Parts<'_, M>) -> Self {
        let shape = Shape::<M>::of(parts, parts.value.len(), 0);
        let (block, span) = shape.alloc(arena);
        // SAFETY: block and span are as long as the shape says, and ours alone.
        unsafe { Self::write(block, span, parts, parts.value.as_ptr(), &shape) }
    }

    /// # Safety
    /// `block` and `span` are the caller's alone and as long as `shape` says, `block` aligned to `ALIGN`. `value` may
    /// be read for as many bytes as the shape has for the value; `parts.value` is not looked at.
    unsafe fn write(
        block: NonNull<u8>,
        span: Option<NonNull<u8>>,
        parts: &Parts<'_, M>,
        value: *const u8,
        shape: &Shape<M>,
    ) -> Self {
        let millis = parts.expires.map_or(NEVER, |expires| expires.as_millis().min(NEVER - 1));
        let header = block.cast::<Header<M>>();
        // SAFETY: the block is longer than a header and aligned for it. The first word is left alone: a reader who
        // knows the block from its last life may look at it now.
        unsafe {
            let fields = header.as_ptr();
            (&raw mut (*fields).value_len).write(shape.value_len as u32);
            (&raw mut (*fields).place).write(RawU32::new(0));
            (&raw mut (*fields).key_len).write(parts.key.len() as u16);
            (&raw mut (*fields).hits).write(RawU8::new(0));
            (&raw mut (*fields).rank).write(RawU8::new(0));
            (&raw mut (*fields).stamp).write(millis << 16 | shape.flags);
            (&raw mut (*fields).meta).write(parts.meta);
            let mut at = block.add(size_of::<Header<M>>());
            if let Charge::Units(units) = parts.charge {
                at.cast::<u64>().write(units);
                at = at.add(8);
            }
            if let Some(span) = span {
                at.cast::<NonNull<u8>>().write(span);
                at = span;
            }
            ptr::copy_nonoverlapping(parts.key.as_ptr(), at.as_ptr(), parts.key.len());
            ptr::copy_nonoverlapping(value, at.add(shape.value_at).as_ptr(), shape.value_len);
        }
        if shape.flags & HEAP != 0 {
            // SAFETY: as above; and no reader knows a block of the heap.
            unsafe { (&raw mut (*header.as_ptr()).handles).write(RawU32::new(1)) };
        } else {
            // Release, against `try_hold`: who sees the count sees all of the above.
            // SAFETY: the word is an atomic, and zero.
            unsafe { &(*header.as_ptr()).handles }.store(1, Ordering::Release);
        }
        Self { block: header, owns: PhantomData }
    }

    /// What was stored beside the value.
    pub fn meta(&self) -> M {
        self.header().meta
    }
}

impl Hit<()> {
    /// Moves a Rust value into a new block of an arena that drops such values (`Arena::new`); from then on it is
    /// dropped with the last handle, and before that, should this panic. The key is within `MAX_KEY`.
    pub(crate) fn with_value<V: Send + Sync + 'static>(
        arena: &Arena,
        key: &[u8],
        value: V,
        charge: Charge,
        expires: Option<Time>,
    ) -> Self {
        const { assert!(align_of::<V>() <= ALIGN, "the alignment of a cached value is at most 16 bytes") };
        const { assert!(size_of::<V>() <= MAX_VALUE, "a cached value is less than 4 GiB itself") };
        let parts = Parts { key, value: &[], meta: (), charge, expires, minor: false, is_value: true };
        let shape = Shape::<()>::of(&parts, size_of::<V>(), 0);
        let (block, span) = shape.alloc(arena);
        // Nothing panics any more, and the block has the value.
        let value = ManuallyDrop::new(value);
        // SAFETY: block and span are as long as the shape says, and ours alone; a value may be read as its bytes,
        // padding and all, by a copy that does not look at them. It is not used again here, so that copy is the value
        // now. By the flag `VALUE` it lies at a multiple of `ALIGN`.
        unsafe { Self::write(block, span, &parts, (&raw const value).cast(), &shape) }
    }
}

impl<M> Hit<M> {
    /// The entry's key.
    pub fn key(&self) -> &[u8] {
        // SAFETY: the text begins with the key's bytes, which were written before the first handle was given out,
        // never change while one is held, and live as long as the block.
        unsafe { slice::from_raw_parts(self.text().as_ptr(), self.key_len()) }
    }

    /// The moment from which the cache no longer serves the entry, by the cache's clock.
    pub fn expires(&self) -> Option<Time> {
        let millis = self.header().stamp >> 16;
        (millis != NEVER).then_some(Time::from_millis(millis))
    }

    /// How it is charged.
    pub(crate) fn charge(&self) -> Charge {
        match self.header().stamp & UNITS {
            0 => Charge::Entry,
            1 => Charge::Payload,
            2 => Charge::Real,
            // SAFETY: behind the header lie the units, by this charge.
            _ => Charge::Units(unsafe { self.behind_header().cast::<u64>().read() }),
        }
    }

    pub(crate) fn is_minor(&self) -> bool {
        self.header().stamp & MINOR != 0
    }

    pub(crate) fn value_len(&self) -> usize {
        self.header().value_len as usize
    }

    pub(crate) fn key_len(&self) -> usize {
        self.header().key_len as usize
    }

    /// The block's address: what the table and the queues know it by.
    pub(crate) fn address(&self) -> u64 {
        self.block.as_ptr().expose_provenance() as u64
    }

    /// One hit more, up to `MAX_HITS`.
    pub(crate) fn touch(&self) {
        let hits = &self.header().hits;
        let count = hits.load(Ordering::Relaxed);
        if count < MAX_HITS {
            hits.store(count + 1, Ordering::Relaxed);
        }
    }

    /// How often the entry was hit of late, up to a few: what the default policy goes by. With `Policy::Lru`
    /// it only grows.
    pub fn hits(&self) -> u8 {
        self.header().hits.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hits(&self, hits: u8) {
        self.header().hits.store(hits, Ordering::Relaxed);
    }

    pub(crate) fn rank(&self) -> u8 {
        self.header().rank.load(Ordering::Relaxed)
    }

    pub(crate) fn set_rank(&self, rank: u8) {
        self.header().rank.store(rank, Ordering::Relaxed);
    }

    pub(crate) fn place(&self) -> u32 {
        self.header().place.load(Ordering::Relaxed)
    }

    pub(crate) fn set_place(&self, place: u32) {
        self.header().place.store(place, Ordering::Relaxed);
    }

    /// Gives the handle up without counting down: it is the table's now, which knows the entry by its address.
    pub(crate) fn into_address(self) -> u64 {
        ManuallyDrop::new(self).address()
    }

    /// The handle that was given up.
    ///
    /// # Safety
    /// The address came from `into_address`, whose handle is taken back once.
    pub(crate) unsafe fn from_address(address: u64) -> Self {
        // SAFETY: the address of a block, exposed when it was given up.
        Self { block: unsafe { block_at(address) }, owns: PhantomData }
    }

    fn header(&self) -> &Header<M> {
        // SAFETY: `block` points to a live header, by the field's invariant; what is not atomic is not written again.
        unsafe { self.block.as_ref() }
    }

    fn behind_header(&self) -> NonNull<u8> {
        // SAFETY: the block is at least a header long, so this is inside it or one past its end.
        unsafe { self.block.cast::<u8>().add(size_of::<Header<M>>()) }
    }

    /// The first byte of the text: the key's.
    fn text(&self) -> NonNull<u8> {
        let stamp = self.header().stamp;
        // SAFETY: behind the header lie the units, if these are the entry's charge, and then the span's address or the
        // text itself.
        unsafe {
            let at = self.behind_header().add(if stamp & UNITS == UNITS { 8 } else { 0 });
            if stamp & SPAN == 0 { at } else { at.cast::<NonNull<u8>>().read() }
        }
    }

    /// Whether the value is a Rust value, which only `typed` knows the type of.
    pub(crate) fn is_value(&self) -> bool {
        self.header().stamp & VALUE != 0
    }

    /// The first byte of the value, be it bytes or a Rust value.
    pub(crate) fn value_start(&self) -> NonNull<u8> {
        let text = self.text();
        let key_end = text.as_ptr().addr() + self.key_len();
        let padding =
            if self.header().stamp & VALUE == 0 { 0 } else { key_end.next_multiple_of(ALIGN) - key_end };
        // SAFETY: behind the key, and up to the next multiple of `ALIGN` where a Rust value follows, as `write` put it.
        unsafe { text.add(self.key_len() + padding) }
    }

    fn shape(&self) -> Shape<M> {
        let flags = self.header().stamp & 0xFFFF;
        Shape::of_lengths(self.key_len(), self.header().value_len as usize, flags)
    }

    /// Drops the handle. If it was the last one, its block is kept at hand in this arena, which it came from, where
    /// that can be.
    pub(crate) fn retire(self, arena: &Arena) {
        let mut this = ManuallyDrop::new(self);
        if this.header().handles.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        fence(Ordering::Acquire);
        let shape = this.shape();
        let is_plain = shape.flags & (HEAP | SPAN | VALUE) == 0;
        // SAFETY: as in `free`.
        if !is_plain || !unsafe { arena.keep_at_hand(this.block.cast(), shape.block_bytes) } {
            this.free();
        }
    }

    /// The last handle is gone.
    #[cold]
    #[inline(never)]
    fn free(&mut self) {
        let shape = self.shape();
        if shape.flags & HEAP != 0 {
            // SAFETY: allocated by `detached` with this layout, since the lengths never change.
            unsafe { dealloc(self.block.as_ptr().cast(), shape.heap_layout()) };
            return;
        }
        let span = (shape.flags & SPAN != 0).then(|| (self.text(), shape.text_bytes));
        let value = (shape.flags & VALUE != 0).then(|| self.value_start());
        // SAFETY: nobody holds the block any more; it and its span were allocated by `new_in` with these lengths.
        unsafe { arena::free(self.block.cast(), span, value) };
    }
}

/// How the parts of an entry lie, by their lengths.
struct Shape<M> {
    flags: u64,
    /// Where the value begins in the text.
    value_at: usize,
    text_bytes: usize,
    value_len: usize,
    /// The block, the text included unless it is elsewhere.
    block_bytes: usize,
    of: PhantomData<M>,
}

impl<M> Shape<M> {
    /// More than `ALIGN` no block can promise.
    const ALIGNED: () = assert!(align_of::<M>() <= ALIGN, "the meta's alignment is at most 16");

    fn of(parts: &Parts<'_, M>, value_len: usize, flags: u64) -> Self {
        let kind = match parts.charge {
            Charge::Entry => 0,
            Charge::Payload => 1,
            Charge::Real => 2,
            Charge::Units(_) => UNITS,
        };
        let flag = |on, flag| if on { flag } else { 0 };
        let flags = flags | kind | flag(parts.minor, MINOR) | flag(parts.is_value, VALUE);
        Self::of_lengths(parts.key.len(), value_len, flags)
    }

    /// Decides where the text goes, unless it is the heap's: there everything is one allocation.
    fn of_lengths(key_len: usize, value_len: usize, flags: u64) -> Self {
        let () = Self::ALIGNED;
        let before = size_of::<Header<M>>() + if flags & UNITS == UNITS { 8 } else { 0 };
        let value_at = |text: usize| match flags & VALUE {
            0 => key_len,
            _ => (text + key_len).next_multiple_of(ALIGN) - text,
        };
        let inline = before + value_at(before) + value_len;
        if inline <= MAX_BLOCK || flags & HEAP != 0 {
            let text_bytes = inline - before;
            return Self {
                flags,
                value_at: value_at(before),
                text_bytes,
                value_len,
                block_bytes: inline,
                of: PhantomData,
            };
        }
        let text_bytes = value_at(0) + value_len;
        Self {
            flags: flags | SPAN,
            value_at: value_at(0),
            text_bytes,
            value_len,
            block_bytes: before + size_of::<NonNull<u8>>(),
            of: PhantomData,
        }
    }

    /// Block and span of this shape.
    fn alloc(&self, arena: &Arena) -> (NonNull<u8>, Option<NonNull<u8>>) {
        let block = arena.alloc(self.block_bytes);
        (block, (self.flags & SPAN != 0).then(|| arena.alloc_span(self.text_bytes)))
    }

    fn heap_layout(&self) -> Layout {
        Layout::from_size_align(self.block_bytes, ALIGN)
            .expect("two slices that are in memory, and a header, fit the address space")
    }
}

/// The memory that an entry of these lengths takes, whatever it is charged: its block's class, its span's pages.
pub(crate) fn taken<M>(key_len: usize, value_len: usize, is_value: bool) -> usize {
    let flags = if is_value { VALUE } else { 0 };
    let shape = Shape::<M>::of_lengths(key_len.min(MAX_KEY), value_len.min(MAX_VALUE), flags);
    let span = if shape.flags & SPAN == 0 { 0 } else { Spans::taken(shape.text_bytes) };
    block_taken(shape.block_bytes) + span
}

/// Where the text begins in most blocks.
pub(crate) const fn header_bytes<M>() -> usize {
    size_of::<Header<M>>()
}

/// # Safety
/// The address is an exposed one of a block of `M`.
unsafe fn block_at<M>(address: u64) -> NonNull<Header<M>> {
    // SAFETY: no block is at zero.
    unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address as usize)) }
}

/// A handle on the block at this address, if it is not free: on the entry it was known for, or on one that came since.
///
/// # Safety
/// A block of `M` was at that address at some time, in an arena that lives.
pub(crate) unsafe fn try_hold<M>(address: u64) -> Option<Hit<M>> {
    // SAFETY: a block's first word may be read as long as its arena lives; no more of it is looked at.
    let handles = unsafe { &(*block_at::<M>(address).as_ptr()).handles };
    // Mostly the table's handle is the only one. To try it, rather than to look first, fetches the line for this core alone
    // and not twice, where other cores have it.
    let mut count = 1;
    while count != 0 {
        if count > MAX_HANDLES {
            std::process::abort();
        }
        // Acquire, against `write`: the block is read next.
        match handles.compare_exchange_weak(count, count + 1, Ordering::Acquire, Ordering::Relaxed) {
            // SAFETY: counted just now.
            Ok(_) => return Some(unsafe { Hit::from_address(address) }),
            Err(now) => count = now,
        }
    }
    None
}

/// An entry that was copied into another block of its arena. Readers find its old block free.
pub(crate) struct Move<M> {
    /// Stands for the table's handle.
    pub(crate) new: Hit<M>,
    pub(crate) old: u64,
}

/// Copies an entry into another block, if nobody but this handle and the table's holds it; else drops this handle.
///
/// # Safety
/// Under the lock of the entry's shard, of an entry in its table, in a block of this arena. Before the lock is released
/// the table has the new address for the old one, and then `free_moved` is called.
pub(crate) unsafe fn move_within<M>(hit: Hit<M>, arena: &Arena) -> Option<Move<M>> {
    // Acquire, against the drops of other handles: their uses of the block were before.
    hit.header().handles.compare_exchange(2, 0, Ordering::AcqRel, Ordering::Relaxed).ok()?;
    let old = ManuallyDrop::new(hit);
    let bytes = block_taken(old.shape().block_bytes);
    let new = arena.alloc(bytes).cast::<Header<M>>();
    // SAFETY: both are blocks of that length, ours alone, and do not overlap. The first word is not copied.
    unsafe {
        new.cast::<u8>().add(4).copy_from_nonoverlapping(old.block.cast::<u8>().add(4), bytes - 4);
        (*new.as_ptr()).handles.store(1, Ordering::Release);
    }
    Some(Move { new: Hit { block: new, owns: PhantomData }, old: old.address() })
}

/// Frees the block that an entry was moved out of.
///
/// # Safety
/// The address is `Move::old`, and no table has it any more.
pub(crate) unsafe fn free_moved(old: u64) {
    // SAFETY: nobody holds the block. Its span and its value went along with the entry.
    unsafe { arena::free(block_at::<()>(old).cast(), None, None) };
}

/// The entry of a table, lent under its shard's lock: the table's own handle, not counted again.
pub(crate) struct Lent<'a, M>(ManuallyDrop<Hit<M>>, PhantomData<&'a ()>);

impl<M> Lent<'_, M> {
    /// # Safety
    /// The address is of an entry that is in the table for as long as this is used, whatever its lifetime says.
    pub(crate) unsafe fn at(address: u64) -> Self {
        // SAFETY: by the caller; the handle is not dropped, so it is taken back no time at all.
        Self(ManuallyDrop::new(unsafe { Hit::from_address(address) }), PhantomData)
    }
}

impl<M> Deref for Lent<'_, M> {
    type Target = Hit<M>;
    fn deref(&self) -> &Hit<M> {
        &self.0
    }
}

/// The value.
impl<M> Deref for Hit<M> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        debug_assert!(!self.is_value(), "`typed` gives no `Hit` out, and a Rust value is not read as bytes");
        // SAFETY: right behind the key lie the bytes of the value that `write` put there; else as `key`.
        unsafe { slice::from_raw_parts(self.text().as_ptr().add(self.key_len()), self.value_len()) }
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
        if self.header().handles.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.free();
        }
    }
}

impl<M> fmt::Debug for Hit<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hit({}: {} bytes)", self.key().escape_ascii(), self.header().value_len)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests;
