//! What is kept for each peer, by where it is.
//!
//! Looked up for each request, some hundreds of thousands of times a second. Authorities come from a node's operator and
//! not from strangers, so their hash needs no secret seed, and is one that is quick with short texts.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A map from authorities.
pub(crate) type ByAuthority<T> = HashMap<Arc<str>, T, BuildHasherDefault<OfAuthorities>>;

#[derive(Default)]
pub(crate) struct OfAuthorities(u64);

impl Hasher for OfAuthorities {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends a text. No text has it, and there is one in each key.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_a_peer_is_found_by_its_authority_and_no_other() {
        let name = |n: usize| -> Arc<str> { format!("10.0.{}.{}:8001", n / 256, n % 256).into() };
        let kept: ByAuthority<usize> = (0..5000).map(|n| (name(n), n)).collect();
        assert!((0..5000).all(|n| kept.get(&*name(n)) == Some(&n)));
        assert_eq!((kept.len(), kept.get(""), kept.get("10.0.0.0:800")), (5000, None, None));
    }
}
