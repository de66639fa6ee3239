//! moka and mini-moka, the caches with the most features: W-TinyLFU, with a log of reads that is worked off later.

use mini_moka::sync::ConcurrentCacheExt as _;

use crate::engine::face::{Capacity, Engine, Key, Value, Weigh};

/// moka, by its synchronous face.
pub(crate) struct Moka<K, V>(moka::sync::Cache<K, V, ahash::RandomState>);

impl<K: Key, V: Value> Engine<K, V> for Moka<K, V> {
    type Got = V;

    fn new(capacity: Capacity) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(capacity.units);
        let builder = match capacity.weigh {
            Weigh::Entries => builder,
            Weigh::Values => builder.weigher(|_, value: &V| value.weight()),
        };
        Self(builder.build_with_hasher(ahash::RandomState::new()))
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<V> {
        self.0.get(key)
    }

    fn insert(&self, key: &K::Asked, value: V) {
        self.0.insert(key.to_owned(), value);
    }

    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> V {
        self.0.get_with_by_ref(key, load)
    }

    fn settle(&self) {
        self.0.run_pending_tasks();
    }

    fn len(&self) -> usize {
        self.0.run_pending_tasks();
        usize::try_from(self.0.entry_count()).unwrap_or(usize::MAX)
    }
}

/// mini-moka. It looks a key up by what it stores, so a caller that has a `&str` builds a `String` for each get.
pub(crate) struct MiniMoka<K, V>(mini_moka::sync::Cache<K, V, ahash::RandomState>);

impl<K: Key, V: Value> Engine<K, V> for MiniMoka<K, V> {
    type Got = V;

    fn new(capacity: Capacity) -> Self {
        let builder = mini_moka::sync::Cache::builder().max_capacity(capacity.units);
        let builder = match capacity.weigh {
            Weigh::Entries => builder,
            Weigh::Values => builder.weigher(|_, value: &V| value.weight()),
        };
        Self(builder.build_with_hasher(ahash::RandomState::new()))
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<V> {
        self.0.get(&key.to_owned())
    }

    fn insert(&self, key: &K::Asked, value: V) {
        self.0.insert(key.to_owned(), value);
    }

    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> V {
        let key = key.to_owned();
        if let Some(value) = self.0.get(&key) {
            return value;
        }
        let value = load();
        self.0.insert(key, value.clone());
        value
    }

    fn settle(&self) {
        self.0.sync();
    }

    fn len(&self) -> usize {
        self.0.sync();
        usize::try_from(self.0.entry_count()).unwrap_or(usize::MAX)
    }
}
