//! Not a cache: one hashbrown map without lock or eviction, the bound that a common layout sets to a get.
//!
//! It is filled before threads share it, and only read then; so it has no part in what stores while others read.

use bytes::Bytes;

/// The map of the timed workloads.
pub(crate) struct Bare(hashbrown::HashMap<String, Bytes, ahash::RandomState>);

impl Bare {
    /// Empty, with room for so many entries.
    pub(crate) fn new(entries: usize) -> Self {
        Self(hashbrown::HashMap::with_capacity_and_hasher(entries, ahash::RandomState::new()))
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<Bytes> {
        self.0.get(key).cloned()
    }

    pub(crate) fn put(&mut self, key: &str, value: Bytes) {
        self.0.insert(key.to_owned(), value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
