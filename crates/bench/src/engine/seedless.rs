//! Keys that collide under hashes which anybody can compute, and maps that use these hashes.
//!
//! Tables take the bucket from the lowest bits of a hash, so it is enough that those agree. An engine that draws a
//! seed is not to be told from one asked for random keys; the maps here show that the keys do what they are made for.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};

use carrot_load::keys::Random;

use crate::engine::subject::{Sample, gets};
use crate::engine::zipf::{KEY, Requests, key};

const FNV_START: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01B3;

/// FNV-1a of 64 bits.
#[derive(Clone)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(FNV_START)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A hash without a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seedless {
    /// FNV-1a.
    Fnv,
    /// foldhash with its fixed seed; of wyhash's kind, as most fast ones are.
    Fold,
}

impl Seedless {
    pub(crate) const ALL: [Self; 2] = [Self::Fnv, Self::Fold];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Fnv => "FNV-1a",
            Self::Fold => "foldhash, fixed seed",
        }
    }

    /// So many keys that collide: under FNV-1a in the 24 lowest bits, under foldhash in 12.
    pub(crate) fn colliding(self, count: usize) -> Requests {
        match self {
            Self::Fnv => Suffixes::new().keys().take(count).collect(),
            Self::Fold => {
                (0..).map(key).filter(|key| fold(key).trailing_zeros() >= FOLD_BITS).take(count).collect()
            }
        }
    }

    /// A map that uses this hash, with these keys in it.
    pub(crate) fn map(self, keys: &Requests) -> SeedlessMap {
        let all = keys.iter().map(|key| (key.to_owned(), ()));
        match self {
            Self::Fnv => SeedlessMap::Fnv(all.collect()),
            Self::Fold => SeedlessMap::Fold(all.collect()),
        }
    }
}

/// A standard map with a hash that has no seed.
pub(crate) enum SeedlessMap {
    Fnv(HashMap<String, (), BuildHasherDefault<Fnv>>),
    Fold(HashMap<String, (), foldhash::quality::FixedState>),
}

impl SeedlessMap {
    pub(crate) fn gets(&self, keys: &[Requests]) -> Sample {
        match self {
            Self::Fnv(map) => gets(keys, |key| map.get(key)),
            Self::Fold(map) => gets(keys, |key| map.get(key)),
        }
    }
}

/// By trying: one key in 4096 will do.
const FOLD_BITS: u32 = 12;

fn fold(key: &str) -> u64 {
    foldhash::quality::FixedState::default().hash_one(key)
}

/// FNV's lowest bits depend on the lowest bits before alone, and its steps can be undone: so one can tell from which
/// states three more characters lead to a wanted end, and need not try.
struct Suffixes {
    /// By the 24 lowest bits of the state before.
    by_state: HashMap<u32, [u8; 3]>,
}

const FNV_BITS: u32 = 24;
const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

impl Suffixes {
    fn new() -> Self {
        let undo = |state: u64, letter: u8| state.wrapping_mul(inverse(FNV_PRIME)) ^ u64::from(letter);
        let mut by_state = HashMap::new();
        for &third in LETTERS {
            for &second in LETTERS {
                for &first in LETTERS {
                    // The wanted end is 0.
                    let before = undo(undo(undo(0, third), second), first);
                    by_state.insert(low(before), [first, second, third]);
                }
            }
        }
        Self { by_state }
    }

    fn keys(&self) -> impl Iterator<Item = String> {
        (0..).filter_map(|number: u64| {
            let mut text = format!("{number:0width$x}", width = KEY - 3);
            let mut state = Fnv::default();
            state.write(text.as_bytes());
            let suffix = self.by_state.get(&low(state.finish()))?;
            text.extend(suffix.map(char::from));
            Some(text)
        })
    }
}

fn low(state: u64) -> u32 {
    (state & ((1 << FNV_BITS) - 1)) as u32
}

/// The number by which a product with `odd` is undone, modulo 2^64: Newton's iteration doubles the right bits.
fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |guess, _| guess.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(guess))))
}

/// The same keys in another order, each once, so that none is asked for in the order it was stored.
pub(crate) fn shuffled(keys: &Requests, seed: u64) -> Requests {
    let mut order: Vec<usize> = (0..keys.len()).collect();
    let mut random = Random::new(seed);
    for i in (1..order.len()).rev() {
        order.swap(i, (random.next() % (i as u64 + 1)) as usize);
    }
    order.into_iter().map(|i| keys.get(i).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn colliding_keys_differ_and_end_in_the_same_bits() {
        for seedless in Seedless::ALL {
            let keys = seedless.colliding(200);
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 200);
            for key in keys.iter() {
                let (hash, bits) = match seedless {
                    Seedless::Fnv => {
                        let mut fnv = Fnv::default();
                        fnv.write(key.as_bytes());
                        (fnv.finish(), FNV_BITS)
                    }
                    Seedless::Fold => (fold(key), FOLD_BITS),
                };
                assert!(hash.trailing_zeros() >= bits, "{key}: {hash:x}");
            }
        }
    }

    #[test]
    fn fnv_is_as_published() {
        // The empty text and "a", of the table in the algorithm's draft.
        assert_eq!(Fnv::default().finish(), 0xCBF2_9CE4_8422_2325);
        let mut fnv = Fnv::default();
        fnv.write(b"a");
        assert_eq!(fnv.finish(), 0xAF63_DC4C_8601_EC8C);
    }

    #[test]
    fn a_shuffle_keeps_every_key() {
        let keys = Requests::each(0..50);
        let other = shuffled(&keys, 1);
        assert_ne!(keys.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
        assert_eq!(keys.iter().collect::<BTreeSet<_>>(), other.iter().collect::<BTreeSet<_>>());
    }
}
