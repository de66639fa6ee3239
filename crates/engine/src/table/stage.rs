//! A table with an arena and a lock of its own, as a shard has them: for the tests of the table, those under shuttle
//! too. Uses `unsafe` where a shard does.

use super::*;
use crate::arena::Arena;
use crate::block::{Charge, Move, Parts, free_moved, move_within};
use crate::sync::Mutex;

/// Keys are short, and a value is what the test says.
pub(super) struct Stage {
    pub(super) table: Table<()>,
    lines: Mutex<Lines>,
    half_of: fn(&[u8]) -> u32,
    /// After the table, which is emptied first.
    pub(super) arena: Arena,
}

/// A hash that spreads keys over lines and tags.
pub(super) fn spread(key: &[u8]) -> u32 {
    let mixed = key.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    });
    (mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u32
}

/// The worst of hashes: all keys have one home and one tag.
pub(super) fn same(_: &[u8]) -> u32 {
    0x1234_5678
}

/// A block that is in no table.
pub(super) fn draft(arena: &Arena, key: &[u8], value: &[u8]) -> Hit<()> {
    let (charge, expires) = (Charge::Entry, None);
    let parts = Parts { key, value, meta: (), charge, expires, minor: false, is_value: false };
    Hit::new_in(arena, &parts)
}

impl Stage {
    pub(super) fn new(half_of: fn(&[u8]) -> u32) -> Self {
        let arena = Arena::new(crate::pages::PageSize::Small, None);
        let made = Table::new(None, &arena);
        Self::of(half_of, made, arena)
    }

    #[cfg(not(shuttle))]
    pub(super) fn foreseeing(half_of: fn(&[u8]) -> u32, entries: usize) -> Self {
        let arena = Arena::new(crate::pages::PageSize::Small, None);
        let made = Table::new(Some(entries), &arena);
        Self::of(half_of, made, arena)
    }

    fn of(half_of: fn(&[u8]) -> u32, (table, lines): (Table<()>, Lines), arena: Arena) -> Self {
        Self { table, lines: Mutex::new(lines), half_of, arena }
    }

    /// A block that is in no table.
    pub(super) fn draft(&self, key: &[u8], value: &[u8]) -> Hit<()> {
        draft(&self.arena, key, value)
    }

    fn place(&self) -> Place<'_> {
        Place { half_of: &self.half_of, arena: &self.arena }
    }

    /// Stores a value, in place of the key's older one.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) {
        let hit = self.draft(key, value);
        let half = (self.half_of)(key);
        let mut lines = self.lines.lock();
        let old = self.table.entry(&lines, half, key).map(|entry| entry.address());
        let old = old.map(|old| self.table.replace(&mut lines, half, old, hit.clone()));
        if old.is_none() {
            self.table.insert(&mut lines, half, hit, self.place());
        }
        drop(lines);
        drop(old);
    }

    /// Takes the key's entry out; gives it.
    pub(super) fn take(&self, key: &[u8]) -> Option<Hit<()>> {
        let half = (self.half_of)(key);
        let mut lines = self.lines.lock();
        let address = self.table.entry(&lines, half, key)?.address();
        Some(self.table.remove(&mut lines, half, address))
    }

    pub(super) fn clear(&self) -> usize {
        let gone = self.table.clear(&mut self.lines.lock(), &self.arena);
        gone.len()
    }

    pub(super) fn shrink(&self) {
        self.table.shrink(&mut self.lines.lock(), self.place());
    }

    /// Has the key's entry moved to another block, unless somebody holds it.
    pub(super) fn relocate(&self, key: &[u8]) -> bool {
        let half = (self.half_of)(key);
        let mut lines = self.lines.lock();
        let Found::Hit(hit) = self.table.find(half, key) else { return false };
        // SAFETY: under the lock, of an entry of the table; the new address is put in before the old block is freed.
        let moved = unsafe { move_within(hit, &self.arena) };
        let Some(Move { new, old }) = moved else { return false };
        self.table.moved(&mut lines, half, old, new);
        // SAFETY: as above.
        unsafe { free_moved(old) };
        true
    }

    /// What a reader finds, as the cache asks.
    pub(super) fn get(&self, key: &[u8]) -> Option<Hit<()>> {
        let half = (self.half_of)(key);
        match self.table.find(half, key) {
            Found::Hit(hit) => Some(hit),
            Found::Nothing => None,
            Found::Busy => {
                let _lines = self.lines.lock();
                match self.table.find(half, key) {
                    Found::Hit(hit) => Some(hit),
                    Found::Nothing | Found::Busy => None,
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len(&self.lines.lock())
    }

    /// How many lines are in force.
    #[cfg(not(shuttle))]
    pub(super) fn count(&self) -> usize {
        self.table.view(&self.lines.lock()).count
    }

    /// The most lines that a look-up goes through.
    #[cfg(not(shuttle))]
    pub(super) fn longest_way(&self) -> usize {
        self.table.longest_way(&self.lines.lock(), &self.half_of)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.clear();
    }
}
