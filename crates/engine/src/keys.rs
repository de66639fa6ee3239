//! The hash of a key, which no one outside can foresee.
//!
//! rapidhash, the fastest of four on keys of 20 bytes (DESIGN.md). Its secrets are drawn from the seed, not only
//! mixed with it: with public ones, keys can be found that collide under every seed.

use std::hash::{BuildHasher, Hasher};

use rapidhash::v3::{RapidSecrets, rapidhash_v3_nano_inline};

/// How one cache hashes.
pub(crate) struct Keys(RapidSecrets);

impl Keys {
    /// By this seed; without one by the system's randomness.
    pub(crate) fn new(seed: Option<u64>) -> Self {
        // The standard library's seed comes from the system, and needs no crate.
        let random = || std::hash::RandomState::new().build_hasher().finish();
        Self(RapidSecrets::seed(seed.unwrap_or_else(random)))
    }

    #[inline]
    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        rapidhash_v3_nano_inline::<true, false>(key, &self.0)
    }

    /// What a shard's table goes by. The upper half chose the shard, so its bits would tell less.
    #[inline]
    pub(crate) fn half(&self, key: &[u8]) -> u32 {
        half(self.hash(key))
    }
}

/// The lower half of a hash.
#[inline]
pub(crate) fn half(hash: u64) -> u32 {
    hash as u32
}
