//! Many keys at once: their memory accesses overlap.

use crate::block::Hit;
use crate::cache::{Cache, Shared};
use crate::keys::half;

/// Keys looked up together: as many lines and blocks are under way at once, and that is about what a core can wait for.
const TOGETHER: usize = 16;

impl<M: Copy + Send + Sync + 'static> Cache<M> {
    /// As `get` for each key, answered in the order asked.
    ///
    /// The lines and then the blocks of 16 keys are fetched together, so that a batch waits for memory twice for each
    /// 16 keys and not for each key. With `Policy::Lru` the keys are used in the order asked, each under its shard's
    /// lock.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Option<Hit<M>>> {
        let mut answers = Vec::with_capacity(keys.len());
        for keys in keys.chunks(TOGETHER) {
            self.shared.get_together(keys, &mut answers);
        }
        answers
    }
}

impl<M> Shared<M> {
    fn get_together<K: AsRef<[u8]>>(&self, keys: &[K], answers: &mut Vec<Option<Hit<M>>>) {
        let mut hashes = [0; TOGETHER];
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.keys.hash(key.as_ref());
            self.shard(*hash).table.prefetch_line(half(*hash));
        }
        for &hash in &hashes[..keys.len()] {
            self.shard(hash).table.prefetch_block(half(hash));
        }
        let found = hashes.iter().zip(keys).map(|(&hash, key)| self.get(hash, key.as_ref()));
        answers.extend(found);
    }
}
