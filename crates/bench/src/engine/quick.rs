//! quick_cache, the fastest anchor: CLOCK-Pro's kin in sharded slabs behind reader-writer locks.

use quick_cache::sync::{Cache, DefaultLifecycle};

use crate::engine::face::{Capacity, Engine, Key, Value, Weigh};

#[derive(Clone)]
struct Weighter(Weigh);

impl<K, V: Value> quick_cache::Weighter<K, V> for Weighter {
    #[inline]
    fn weight(&self, _: &K, value: &V) -> u64 {
        self.0.of(value).into()
    }
}

/// quick_cache, by its synchronous face.
pub(crate) struct Quick<K, V>(Cache<K, V, Weighter, ahash::RandomState>);

impl<K: Key, V: Value> Engine<K, V> for Quick<K, V> {
    type Got = V;

    fn new(capacity: Capacity) -> Self {
        let Capacity { units, entries, weigh } = capacity;
        let hasher = ahash::RandomState::new();
        Self(Cache::with(entries, units, Weighter(weigh), hasher, DefaultLifecycle::default()))
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
        let loaded = self.0.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(load()));
        let Ok(value) = loaded;
        value
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}
