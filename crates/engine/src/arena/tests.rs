//! Tests of the arena: blocks apart from each other, their first words, chunks given back, orphans. They use `unsafe`
//! as whoever allocates from it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicUsize;

use super::*;

/// Marks a block as held, as the cache does.
fn hold(block: NonNull<u8>) {
    // SAFETY: the tests hold what they allocate.
    unsafe { block.cast::<RawU32>().as_ref() }.store(1, Ordering::Relaxed);
}

fn handles(block: NonNull<u8>) -> u32 {
    // SAFETY: the first word of a block may be looked at as long as the arena lives.
    unsafe { block.cast::<RawU32>().as_ref() }.load(Ordering::Relaxed)
}

fn let_go(block: NonNull<u8>) {
    // SAFETY: as above; the tests free each block once.
    unsafe {
        block.cast::<RawU32>().as_ref().store(0, Ordering::Relaxed);
        free(block, None, None);
    }
}

fn fill(block: NonNull<u8>, bytes: usize, with: u8) {
    // SAFETY: the block is ours; its first word is left alone.
    unsafe { block.add(4).write_bytes(with, bytes - 4) };
}

#[test]
fn blocks_do_not_overlap_and_begin_with_zero_whatever_was_in_them() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let mut held: BTreeMap<usize, (NonNull<u8>, usize)> = BTreeMap::new();
    let mut dice = 1_u64;
    for _ in 0..20_000 {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bytes = 8 + (dice >> 33) as usize % 700;
        let block = arena.alloc(bytes);
        assert_eq!((handles(block), block.as_ptr().addr() % ALIGN), (0, 0));
        let (start, end) = (block.as_ptr().addr(), block.as_ptr().addr() + bytes);
        let before = held.range(..end).next_back();
        assert!(before.is_none_or(|(&other, &(_, length))| other + length <= start));
        hold(block);
        fill(block, bytes, 0xFF);
        held.insert(start, (block, bytes));
        if held.len() > 3000 {
            let at = *held.keys().nth((dice >> 40) as usize % 3000).unwrap();
            let_go(held.remove(&at).unwrap().0);
        }
    }
    held.into_values().for_each(|(block, _)| let_go(block));
}

#[test]
fn empty_chunks_are_given_back_and_their_addresses_serve_the_same_class_again() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let blocks: Vec<_> = (0..5000).map(|_| arena.alloc(144)).collect();
    blocks.iter().for_each(|&block| hold(block));
    let (resident, used) = arena.resident();
    assert_eq!(used, 5000 * 144);
    assert!(resident - used < 144);
    blocks.iter().for_each(|&block| let_go(block));
    let (resident, used) = arena.resident();
    assert!(used == 0 && resident <= CHUNK as u64, "one chunk is kept");
    assert!(blocks.iter().all(|&block| handles(block) == 0), "and what was given back still reads as free");

    let chunk = |block: &NonNull<u8>| block.as_ptr().addr() / CHUNK;
    let before: BTreeSet<usize> = blocks.iter().map(chunk).collect();
    let again: Vec<_> = (0..5000).map(|_| arena.alloc(144)).collect();
    let other: Vec<_> = (0..500).map(|_| arena.alloc(160)).collect();
    assert!(again.iter().all(|block| before.contains(&chunk(block))));
    assert!(other.iter().all(|block| !before.contains(&chunk(block))));
    again.into_iter().chain(other).for_each(let_go);
}

#[test]
fn a_sparse_class_is_drained_by_whoever_moves_its_blocks() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let mut blocks: Vec<_> = (0..20_000).map(|_| arena.alloc(144)).collect();
    assert_eq!(arena.sparse(), None);
    let mut at = 0;
    blocks.retain(|&block| {
        at += 1;
        let keep = at % 8 == 0;
        if !keep {
            let_go(block);
        }
        keep
    });
    let mut rounds = 0;
    while let Some(class) = arena.sparse() {
        let drained = arena.drain(class).unwrap();
        for block in blocks.iter_mut().filter(|block| drained.blocks.contains(block)) {
            let_go(std::mem::replace(block, arena.alloc(144)));
        }
        rounds += 1;
    }
    let (resident, used) = arena.resident();
    assert_eq!(used, 2500 * 144);
    assert!(resident <= used + used / 8 + WASTE, "{resident} after {rounds} rounds");
    blocks.into_iter().for_each(let_go);
}

#[test]
fn a_chunk_that_cannot_be_emptied_takes_blocks_again_but_as_the_last() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    let in_three_chunks = (CHUNK - HEAD) / 144 + 2 * (CHUNK / 144);
    let blocks: Vec<_> = (0..in_three_chunks).map(|_| arena.alloc(144)).collect();
    let class = CLASS_OF[144 / ALIGN];
    assert!(arena.drain(class).is_none(), "one chunk with room at most, and there has to be one");
    // Three from the first chunk and two from the second: there are two with room now, or three.
    let gone = [0, 1, 2, CHUNK / 144 + 9, CHUNK / 144 + 10];
    gone.into_iter().for_each(|at| let_go(blocks[at]));
    let drained = arena.drain(class).unwrap();
    let closed: Vec<_> = drained.blocks.clone();
    let first = arena.alloc(144);
    assert!(!closed.contains(&first), "a drained chunk takes none");
    drop(drained);
    let rest: Vec<_> = (0..4).map(|_| arena.alloc(144)).collect();
    assert!(rest.iter().any(|block| closed.contains(block)), "and then it does again");
    assert!(!closed.contains(&rest[0]));
    let held = (0..).zip(blocks).filter(|(at, _)| !gone.contains(at)).map(|(_, block)| block);
    held.chain(rest).chain([first]).for_each(let_go);
}

#[test]
fn what_is_held_outlives_the_arena_and_the_last_frees_it() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    unsafe fn count(_: *mut u8) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
    let arena = Arena::new(crate::pages::PageSize::Small, Some(count));
    let (small, large) = (arena.alloc(100), arena.alloc(48));
    let span = arena.alloc_span(100_000);
    hold(small);
    fill(small, 100, 9);
    drop(arena);
    // SAFETY: still held; and the rest is freed once.
    unsafe {
        assert_eq!(small.add(99).read(), 9);
        span.write_bytes(3, 100_000);
        free(large, Some((span, 100_000)), Some(span));
        assert_eq!(DROPPED.load(Ordering::Relaxed), 1);
        free(small, None, None);
    }
}

#[test]
fn threads_that_free_each_others_blocks_lose_none() {
    let arena = Arena::new(crate::pages::PageSize::Small, None);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..200 {
                    let blocks: Vec<_> = (0..50).map(|n| arena.alloc(32 + (n + round) % 100)).collect();
                    blocks.into_iter().for_each(let_go);
                }
            });
        }
    });
    assert_eq!(arena.resident().1, 0);
}
