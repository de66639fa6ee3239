//! carrot-engine as the bench uses it: handing out its own handle, and handing out `Bytes` as the anchors do.
//!
//! The anchors get a `Bytes` from a load and keep it; ours is given the same and copies it, so a load costs it more.

use bytes::Bytes;
use carrot_engine::{Cache, Hit, Weight};

use crate::engine::face::{Capacity, Engine, Key, Value, Weigh};

/// A hit gives the engine's handle.
pub(crate) struct Ours {
    cache: Cache<()>,
    weigh: Weigh,
}

/// An empty cache. The one place where the engine's builder is called.
fn cache(capacity: Capacity) -> Cache<()> {
    let builder = Cache::builder();
    match capacity.weigh {
        Weigh::Entries => builder.entries(capacity.units).build(),
        Weigh::Values => builder.capacity(capacity.units).expect(capacity.entries as u64).build(),
    }
}

impl Ours {
    /// Stores the value. One that the engine refuses, being too large for it, passes through.
    fn store<V: Value>(&self, key: &[u8], value: &V) -> Hit<()> {
        let weight = match self.weigh {
            Weigh::Entries => Weight::Entry,
            Weigh::Values => Weight::Units(value.weight().into()),
        };
        let stored = self.cache.insert_if(key, value.bytes(), (), weight, None, || true);
        stored.unwrap_or_else(|_| Hit::detached(key, value.bytes(), ()))
    }
}

impl<K: Key, V: Value> Engine<K, V> for Ours {
    type Got = Hit<()>;

    fn new(capacity: Capacity) -> Self {
        Self { cache: cache(capacity), weigh: capacity.weigh }
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<Hit<()>> {
        self.cache.get(K::bytes(key).as_ref())
    }

    fn insert(&self, key: &K::Asked, value: V) {
        self.store(K::bytes(key).as_ref(), &value);
    }

    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> Hit<()> {
        let key = K::bytes(key);
        self.cache.get(key.as_ref()).unwrap_or_else(|| self.store(key.as_ref(), &load()))
    }

    fn len(&self) -> usize {
        self.cache.len()
    }
}

/// A hit gives `Bytes`, made afresh around the handle.
pub(crate) struct OursAsBytes(Ours);

impl<K: Key, V: Value> Engine<K, V> for OursAsBytes {
    type Got = Bytes;

    fn new(capacity: Capacity) -> Self {
        Self(<Ours as Engine<K, V>>::new(capacity))
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<Bytes> {
        <Ours as Engine<K, V>>::get(&self.0, key).map(Bytes::from_owner)
    }

    fn insert(&self, key: &K::Asked, value: V) {
        <Ours as Engine<K, V>>::insert(&self.0, key, value);
    }

    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> Bytes {
        Bytes::from_owner(<Ours as Engine<K, V>>::get_or_load(&self.0, key, load))
    }

    fn len(&self) -> usize {
        <Ours as Engine<K, V>>::len(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_passes_through_and_is_not_kept() {
        let ours = <Ours as Engine<u64, u32>>::new(Capacity { units: 80, entries: 8, weigh: Weigh::Values });
        <Ours as Engine<u64, u32>>::get_or_load(&ours, &1, || 11);
        assert!(<Ours as Engine<u64, u32>>::get(&ours, &1).is_none());
        <Ours as Engine<u64, u32>>::get_or_load(&ours, &1, || 10);
        assert!(<Ours as Engine<u64, u32>>::get(&ours, &1).is_some());
    }
}
