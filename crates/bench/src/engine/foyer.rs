//! foyer-memory under four of its policies: entries in intrusive lists, in eight shards behind reader-writer locks.

use std::marker::PhantomData;

use foyer_memory::{
    Cache, CacheBuilder, CacheProperties, EvictionConfig, LfuConfig, LruConfig, S3FifoConfig, SieveConfig,
};

use crate::engine::face::{Capacity, Engine, Key, Value};

/// Which entry foyer evicts; each with foyer's own settings.
pub(crate) trait Policy: Send + Sync + 'static {
    fn config() -> EvictionConfig;
}

/// S3-FIFO.
pub(crate) struct S3Fifo;
/// W-TinyLFU.
pub(crate) struct Lfu;
/// SIEVE.
pub(crate) struct Sieve;
/// LRU.
pub(crate) struct Lru;

impl Policy for S3Fifo {
    fn config() -> EvictionConfig {
        S3FifoConfig::default().into()
    }
}

impl Policy for Lfu {
    fn config() -> EvictionConfig {
        LfuConfig::default().into()
    }
}

impl Policy for Sieve {
    fn config() -> EvictionConfig {
        SieveConfig.into()
    }
}

impl Policy for Lru {
    fn config() -> EvictionConfig {
        LruConfig::default().into()
    }
}

/// foyer under the policy `P`.
pub(crate) struct Foyer<K: Key, V: Value, P> {
    cache: Cache<K, V, ahash::RandomState, CacheProperties>,
    policy: PhantomData<P>,
}

impl<K: Key, V: Value, P: Policy> Engine<K, V> for Foyer<K, V, P> {
    type Got = V;

    fn new(capacity: Capacity) -> Self {
        let weigh = capacity.weigh;
        let cache = CacheBuilder::new(usize::try_from(capacity.units).unwrap_or(usize::MAX))
            .with_shards(8)
            .with_eviction_config(P::config())
            .with_hash_builder(ahash::RandomState::new())
            .with_weighter(move |_: &K, value: &V| weigh.of(value) as usize)
            .build();
        Self { cache, policy: PhantomData }
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<V> {
        self.cache.get(key).map(|entry| entry.value().clone())
    }

    fn insert(&self, key: &K::Asked, value: V) {
        self.cache.insert(key.to_owned(), value);
    }

    // Its own call for this is asynchronous.
    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> V {
        if let Some(entry) = self.cache.get(key) {
            return entry.value().clone();
        }
        self.cache.insert(key.to_owned(), load()).value().clone()
    }

    fn len(&self) -> usize {
        self.cache.entries()
    }
}
