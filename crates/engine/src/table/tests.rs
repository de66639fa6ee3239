//! Tests of the table: lines, counts of those that passed, sizes, and readers while writers are at work.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rapidhash::v3::rapidhash_v3;

use super::stage::{Stage, draft, same, spread};
use super::*;
use crate::keys::Keys;
use crate::rounds::rounds;

fn key(n: u32) -> [u8; 4] {
    n.to_le_bytes()
}

/// A fixed, well-mixed sequence (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

#[test]
fn whatever_comes_and_goes_the_table_holds_what_a_map_would() {
    // The second has one tag for all, so that each look-up tries all entries of its lines.
    for half_of in [spread, |key: &[u8]| spread(key) >> 16 << 16] {
        let (stage, mut map, mut dice) = (Stage::new(half_of), HashMap::new(), Dice(1));
        for step in 0..rounds(40_000) {
            // Up to a thousand keys, then down to ten, and up again.
            let keys = if step / 5000 % 2 == 0 { 1000 } else { 10 };
            let n = dice.roll(keys) as u32;
            match dice.roll(10) {
                0..5 => {
                    stage.put(&key(n), &step.to_le_bytes());
                    map.insert(n, step);
                }
                5..9 => {
                    let taken = stage.take(&key(n)).map(|hit| hit[..].to_vec());
                    assert_eq!(taken, map.remove(&n).map(|step| step.to_le_bytes().to_vec()));
                    stage.shrink();
                }
                _ if dice.roll(500) == 0 => assert_eq!(stage.clear(), map.drain().count()),
                _ => _ = stage.relocate(&key(n)),
            }
            assert_eq!(stage.len(), map.len());
            let asked = dice.roll(keys) as u32;
            let found = stage.get(&key(asked)).map(|hit| hit[..].to_vec());
            assert_eq!(found, map.get(&asked).map(|step| step.to_le_bytes().to_vec()));
        }
        assert!((0..1000).all(|n| stage.get(&key(n)).is_some() == map.contains_key(&n)));
    }
}

#[test]
fn keys_of_one_hash_are_told_apart_and_a_look_up_ends_where_they_do() {
    let stage = Stage::new(same);
    // Eight in the line, and as many as may pass it.
    for n in 0..20 {
        stage.put(&key(n), &key(n));
    }
    assert!((0..20).all(|n| stage.get(&key(n)).as_deref() == Some(&key(n)[..])));
    assert!(stage.get(&key(20)).is_none());
    let way = stage.longest_way();
    assert!(way <= 4, "{way}");
    (0..20).for_each(|n| drop(stage.take(&key(n))));
    assert!(stage.get(&key(3)).is_none());
    assert_eq!(stage.longest_way(), 0);
}

#[test]
fn a_table_grows_by_a_quarter_and_shrinks_when_it_is_mostly_empty() {
    let stage = Stage::new(spread);
    let mut most = 0.0_f64;
    for n in 0..rounds(20_000) as u32 {
        stage.put(&key(n), b"");
        // The first pages are a shard's beginning, and what is rounded up to a page is no entry's.
        if n > 500 {
            let bytes = stage.count() * size_of::<Line>();
            most = most.max((bytes - PAGE) as f64 / f64::from(n + 1));
        }
    }
    assert!(most <= BYTES_PER_ENTRY as f64 + 0.5, "{most} bytes an entry");
    assert!(stage.longest_way() <= 8, "{}", stage.longest_way());
    let before = stage.count();
    for n in 0..rounds(20_000) as u32 - 10 {
        drop(stage.take(&key(n)));
        stage.shrink();
    }
    assert!(stage.count() <= 8, "{} of {before}", stage.count());
    assert!((rounds(20_000) as u32 - 10..rounds(20_000) as u32).all(|n| stage.get(&key(n)).is_some()));
}

#[test]
fn what_was_foreseen_is_grown_to_once_and_not_shrunk_below_while_it_is_used() {
    let stage = Stage::foreseeing(spread, 100_000);
    let mut sizes = vec![stage.count()];
    for n in 0..10_000 {
        stage.put(&key(n), b"");
        stage.shrink();
        sizes.push(stage.count());
    }
    let foreseen = *sizes.last().unwrap();
    let began = sizes.iter().position(|size| *size == foreseen).unwrap();
    assert!((100_000 / 32..=100_000 / 16).contains(&began), "grown to at {began} entries");
    sizes.dedup();
    assert!(foreseen * WORDS * FILL_PERCENT / 100 >= 99_000);
    assert!(sizes.is_sorted(), "{sizes:?}");
    (0..9_999).for_each(|n| drop(stage.take(&key(n))));
    stage.shrink();
    assert_eq!(stage.count(), 1, "a foresight may be wrong");
}

#[test]
fn every_size_can_be_said_and_read_back() {
    for count in (1..5000).chain([1 << 20, 3 << 20, 1 << 40]) {
        let count = sayable(count);
        let lines = ptr::without_provenance(0x7fff_ffff_ffc0);
        for generation in [0, 1, 63, 64] {
            let packed = View { lines, count }.pack(generation);
            assert_eq!((View::of(packed).lines.addr(), View::of(packed).count), (lines.addr(), count));
            assert_eq!(packed & GENERATION, generation % 64);
        }
        let next = next_count(count);
        let quarter = (count + count / 4).next_multiple_of(LINES_IN_PAGE);
        assert!(next > count && next <= if count < LINES_IN_PAGE { 2 * LINES_IN_PAGE } else { quarter });
    }
}

fn fnv(key: &[u8]) -> u64 {
    key.iter()
        .fold(0xCBF2_9CE4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3))
}

/// Keys whose lowest 12 bits are the same under FNV-1a: the last byte is chosen to make 8 of them so.
fn same_under_fnv(count: usize) -> Vec<[u8; 16]> {
    let close = |n: u64| {
        let mut key = [7; 16];
        key[..8].copy_from_slice(&n.to_le_bytes());
        // The prime's lowest byte is 0xB3, whose inverse is 0x7B.
        key[15] = 0x5A_u8.wrapping_mul(0x7B) ^ fnv(&key[..15]) as u8;
        key
    };
    (0..).map(close).filter(|key| fnv(key) & 0xFFF == 0x45A).take(count).collect()
}

/// Keys that are wholly the same under rapidhash with its public secrets and seed 0, as under wyhash: half of the key
/// makes one factor of its product zero.
fn same_under_rapidhash(count: usize) -> Vec<[u8; 16]> {
    const SECRET: u64 = 0x8BB8_4B93_962E_ACC9;
    let of = |n: u64| [SECRET.to_le_bytes(), n.to_le_bytes()].concat().try_into().unwrap();
    (0..count as u64).map(of).collect()
}

/// The most lines that a look-up goes through in a table of these keys, hashed as a cache hashes them.
fn longest_way(keys: &[[u8; 16]]) -> usize {
    let (hash, arena) = (Keys::new(None), crate::arena::Arena::new(crate::pages::PageSize::Small, None));
    let half_of = |key: &[u8]| hash.half(key);
    let (table, mut lines) = Table::<()>::new(None, &arena);
    for key in keys {
        let hit = draft(&arena, key, b"");
        table.insert(&mut lines, half_of(key), hit, Place { half_of: &half_of, arena: &arena });
    }
    let way = table.longest_way(&lines, &half_of);
    drop(table.clear(&mut lines, &arena));
    way
}

#[test]
fn keys_that_collide_under_public_hashes_are_as_good_as_random_ones() {
    let (count, mut dice) = (rounds(100_000), Dice(7));
    let half_known = |n: u64| [n.to_le_bytes(), [0; 8]].concat().try_into().unwrap();
    let random: Vec<[u8; 16]> = (0..count).map(|_| half_known(dice.roll(u64::MAX))).collect();
    let usual = (0..3).map(|_| longest_way(&random)).max().unwrap();
    let (fnvs, rapids) = (same_under_fnv(count), same_under_rapidhash(count));
    assert!(rapids.iter().all(|key| rapidhash_v3(key) == rapidhash_v3(&rapids[0])), "they do collide");
    for keys in [fnvs, rapids] {
        let way = longest_way(&keys);
        assert!(way <= 2 * usual, "{way} lines, {usual} for random keys");
    }
}

/// Readers look for keys that are there throughout, with values that name their key, while `write` is at work.
fn read_beside(stage: Stage, keys: u32, write: impl FnOnce(&Stage)) {
    let (stage, done) = (Arc::new(stage), Arc::new(AtomicBool::new(false)));
    (0..keys).for_each(|n| stage.put(&key(n), &key(n)));
    let readers: Vec<_> = (0..2)
        .map(|seed| {
            let (stage, done) = (Arc::clone(&stage), Arc::clone(&done));
            std::thread::spawn(move || {
                let mut dice = Dice(seed);
                while !done.load(Ordering::Relaxed) {
                    let asked = key(dice.roll(u64::from(keys)) as u32);
                    let hit = stage.get(&asked).unwrap_or_else(|| panic!("{asked:?} was missed"));
                    assert_eq!((hit.key(), &hit[..4]), (&asked[..], &asked[..]));
                    let other = key(1_000_000 + dice.roll(5000) as u32);
                    stage
                        .get(&other)
                        .inspect(|hit| assert_eq!((hit.key(), &hit[..4]), (&other[..], &other[..])));
                }
            })
        })
        .collect();
    write(&stage);
    done.store(true, Ordering::Relaxed);
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    (0..keys).for_each(|n| drop(stage.take(&key(n))));
}

#[test]
fn readers_miss_nothing_while_the_table_grows_and_shrinks() {
    read_beside(Stage::new(spread), 50, |stage| {
        for round in 0..rounds(40) as u32 {
            (0..3000 - round * 10).for_each(|n| stage.put(&key(1_000_000 + n), &key(1_000_000 + n)));
            for n in 0..3000 {
                drop(stage.take(&key(1_000_000 + n)));
                stage.shrink();
            }
        }
    });
}

#[test]
fn readers_miss_nothing_while_entries_are_replaced_and_their_blocks_used_by_others() {
    read_beside(Stage::new(spread), 20, |stage| {
        for n in 0..rounds(100_000) as u32 {
            let (kept, other) = (key(n % 20), key(1_000_000 + n % 50));
            stage.put(&kept, &kept.repeat(1 + n as usize % 2));
            stage.put(&other, &other.repeat(1 + n as usize % 2));
            if n % 3 == 0 {
                drop(stage.take(&other));
            }
        }
    });
}

#[test]
fn readers_miss_nothing_while_entries_are_moved() {
    read_beside(Stage::new(spread), 40, |stage| {
        for n in 0..rounds(100_000) as u32 {
            stage.relocate(&key(n % 40));
            let other = key(1_000_000 + n % 10);
            stage.put(&other, &other);
        }
    });
}

#[test]
fn readers_of_a_table_that_is_cleared_and_filled_see_only_what_is_whole() {
    let stage = Arc::new(Stage::new(spread));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..2 {
            let (stage, done) = (&stage, &done);
            scope.spawn(move || {
                let mut dice = Dice(seed);
                while !done.load(Ordering::Relaxed) {
                    let asked = key(dice.roll(500) as u32);
                    stage
                        .get(&asked)
                        .inspect(|hit| assert_eq!((hit.key(), &hit[..]), (&asked[..], &asked[..])));
                }
            });
        }
        for round in 0..rounds(200) as u32 {
            let count = round * 37 % 500;
            (0..count).for_each(|n| stage.put(&key(n), &key(n)));
            assert!((0..count).all(|n| stage.get(&key(n)).is_some()), "its writer finds all");
            assert_eq!(stage.clear(), count as usize);
            assert!((0..count).all(|n| stage.get(&key(n)).is_none()), "and nothing afterwards");
        }
        done.store(true, Ordering::Relaxed);
    });
}
