//! An LRU behind one mutex, of the crate `lru`: what most services begin with, and what the Go family has.

use std::sync::{Mutex, MutexGuard};

use crate::engine::face::{Capacity, Engine, Key, Value, Weigh};

/// The LRU, and what it holds.
pub(crate) struct MutexLru<K: Key, V> {
    state: Mutex<State<K, V>>,
}

struct State<K: Key, V> {
    entries: lru::LruCache<K, V, ahash::RandomState>,
    /// Sum of what the entries are charged, and the most it may be.
    used: u64,
    capacity: u64,
    weigh: Weigh,
}

impl<K: Key, V: Value> State<K, V> {
    fn put(&mut self, key: &K::Asked, value: V) {
        self.used += u64::from(self.weigh.of(&value));
        if let Some((_, old)) = self.entries.push(key.to_owned(), value) {
            self.used -= u64::from(self.weigh.of(&old));
        }
        while self.used > self.capacity
            && let Some((_, evicted)) = self.entries.pop_lru()
        {
            self.used -= u64::from(self.weigh.of(&evicted));
        }
    }
}

impl<K: Key, V> MutexLru<K, V> {
    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

impl<K: Key, V: Value> Engine<K, V> for MutexLru<K, V> {
    type Got = V;

    fn new(capacity: Capacity) -> Self {
        let state = State {
            entries: lru::LruCache::unbounded_with_hasher(ahash::RandomState::new()),
            used: 0,
            capacity: capacity.units,
            weigh: capacity.weigh,
        };
        Self { state: Mutex::new(state) }
    }

    #[inline]
    fn get(&self, key: &K::Asked) -> Option<V> {
        self.lock().entries.get(key).cloned()
    }

    fn insert(&self, key: &K::Asked, value: V) {
        self.lock().put(key, value);
    }

    #[inline]
    fn get_or_load(&self, key: &K::Asked, load: impl FnOnce() -> V) -> V {
        let mut state = self.lock();
        if let Some(value) = state.entries.get(key) {
            return value.clone();
        }
        let value = load();
        state.put(key, value.clone());
        value
    }

    fn len(&self) -> usize {
        self.lock().entries.len()
    }
}
