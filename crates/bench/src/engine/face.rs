//! What an engine is to the bench: a map of keys to values that forgets. One `impl` each, in a file an engine family.
//!
//! Timed workloads ask by `&str` for `Bytes`, as a service would; traces ask by number, and the value is no more than
//! the size it stands for. Every engine is measured by its own best call, through this trait and without indirection:
//! the inner loops (`subject.rs`) are compiled once for each.

use std::borrow::Borrow;
use std::hash::Hash;

use bytes::Bytes;

/// A key as an engine keeps it, and the form it is looked up by.
pub(crate) trait Key: Borrow<Self::Asked> + Hash + Eq + Clone + Send + Sync + 'static {
    /// `str` for `String`; a number is itself.
    type Asked: Hash + Eq + ToOwned<Owned = Self> + Sync + ?Sized;

    /// The key as bytes, for engines that know nothing else.
    fn bytes(asked: &Self::Asked) -> impl AsRef<[u8]>;
}

impl Key for String {
    type Asked = str;
    fn bytes(asked: &str) -> impl AsRef<[u8]> {
        asked.as_bytes()
    }
}

impl Key for u64 {
    type Asked = u64;
    fn bytes(asked: &u64) -> impl AsRef<[u8]> {
        asked.to_le_bytes()
    }
}

/// What is stored: bytes, or the size that a trace gives in place of them.
pub(crate) trait Value: Clone + Send + Sync + 'static {
    /// What a byte capacity charges. The key is not charged, since traces have none.
    fn weight(&self) -> u32;

    /// What is copied by engines that keep bytes.
    fn bytes(&self) -> &[u8];
}

impl Value for Bytes {
    fn weight(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn bytes(&self) -> &[u8] {
        self
    }
}

impl Value for u32 {
    fn weight(&self) -> u32 {
        *self
    }

    fn bytes(&self) -> &[u8] {
        &[]
    }
}

/// How entries are counted against the capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weigh {
    /// Each is one.
    Entries,
    /// By `Value::weight`.
    Values,
}

impl Weigh {
    /// What `value` is charged.
    pub(crate) fn of(self, value: &impl Value) -> u32 {
        match self {
            Self::Entries => 1,
            Self::Values => value.weight(),
        }
    }
}

/// How much an engine may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Capacity {
    /// In what `weigh` counts.
    pub(crate) units: u64,
    /// About how many entries that is; engines that size their tables or shards by it are told.
    pub(crate) entries: usize,
    pub(crate) weigh: Weigh,
}

impl Capacity {
    /// So many entries, each counted as one.
    pub(crate) fn of_entries(entries: usize) -> Self {
        Self { units: entries as u64, entries, weigh: Weigh::Entries }
    }
}

/// A cache engine with default settings, save for the hash where it can be set.
pub(crate) trait Engine<K: Key, V: Value>: Send + Sync + Sized + 'static {
    /// What a hit hands out: owned, valid for as long as it is kept.
    type Got;

    fn new(capacity: Capacity) -> Self;

    fn get(&self, key: &K::Asked) -> Option<Self::Got>;

    fn insert(&self, key: &K::Asked, value: V);

    /// The value, loaded and stored on a miss; by the engine's own call for that where it has a synchronous one.
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> Self::Got;

    /// Does what the engine put off, if it puts anything off.
    fn settle(&self) {}

    fn len(&self) -> usize;
}
