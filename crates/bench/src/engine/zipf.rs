//! Request streams: keys by Zipf's law, laid out one after another as they would come from a receive buffer.
//!
//! A stream is made before the clock starts, and for each round anew: an engine that has seen its requests before is
//! flattered, above all one that counts them.

use carrot_load::keys::{Random, Zipf};

/// The length of each key, in bytes.
pub(crate) const KEY: usize = 20;

/// The text of key number `id`: 20 ASCII bytes, different for different numbers.
pub(crate) fn key(id: u64) -> String {
    // A product by an odd number: all ids differ, and neighbours differ early in the text.
    format!("key:{:016x}", id.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Keys in the order they are asked for.
pub(crate) struct Requests {
    /// `KEY` bytes each, without anything between.
    text: String,
}

impl Requests {
    /// So many requests by this law.
    pub(crate) fn zipf(zipf: &Zipf, count: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        (0..count).map(|_| key(zipf.sample(&mut random).into())).collect()
    }

    /// Each of these keys once.
    pub(crate) fn each(ids: std::ops::Range<usize>) -> Self {
        ids.map(|id| key(id as u64)).collect()
    }

    #[inline]
    pub(crate) fn get(&self, i: usize) -> &str {
        &self.text[KEY * i..KEY * (i + 1)]
    }

    pub(crate) fn len(&self) -> usize {
        self.text.len() / KEY
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }
}

impl FromIterator<String> for Requests {
    fn from_iter<I: IntoIterator<Item = String>>(keys: I) -> Self {
        let mut text = String::new();
        for key in keys {
            assert_eq!(key.len(), KEY, "keys lie in a grid");
            text.push_str(&key);
        }
        Self { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_are_equal_and_of_two_are_not() {
        let zipf = Zipf::new(100, 0.99);
        let stream = |seed| Requests::zipf(&zipf, 50, seed).text;
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
    }

    #[test]
    fn keys_differ_and_lie_one_after_another() {
        let keys = Requests::each(0..1000);
        assert_eq!((keys.len(), keys.get(7)), (1000, &*key(7)));
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), 1000);
    }
}
