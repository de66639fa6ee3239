//! Request streams: keys by Zipf's law, laid out one after another as they would come from a receive buffer.
//!
//! A stream is made before the clock starts, and for each round anew: an engine that has seen its requests before is
//! flattered, above all one that counts them.

/// splitmix64: small, fast, the same everywhere for the same seed.
#[derive(Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The law over the keys 0 to n: the r-th most popular is asked for in proportion to 1/r^s.
pub(crate) struct Zipf {
    /// How likely one of the first r is.
    cumulated: Vec<f64>,
    /// Which key has a rank. Shuffled, so that popularity says nothing of where a key lies in memory.
    keys: Vec<u32>,
}

impl Zipf {
    /// `keys` is at least 1 and under 2^32.
    pub(crate) fn new(keys: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulated: Vec<f64> = (1..=keys)
            .map(|rank| {
                sum += 1.0 / (rank as f64).powf(exponent);
                sum
            })
            .collect();
        for share in &mut cumulated {
            *share /= sum;
        }
        let mut keys: Vec<u32> = (0..keys as u32).collect();
        let mut random = Random::new(42);
        for i in (1..keys.len()).rev() {
            keys.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
        Self { cumulated, keys }
    }

    fn sample(&self, random: &mut Random) -> u32 {
        let share = random.fraction();
        let rank = self.cumulated.partition_point(|&cumulated| cumulated < share);
        self.keys[rank.min(self.keys.len() - 1)]
    }
}

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
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn the_most_popular_key_gets_the_share_that_the_law_says() {
        let (keys, count) = (1000, 100_000);
        let zipf = Zipf::new(keys, 0.99);
        let mut asked: HashMap<String, usize> = HashMap::new();
        for key in Requests::zipf(&zipf, count, 1).iter() {
            *asked.entry(key.to_owned()).or_default() += 1;
        }
        let sum: f64 = (1..=keys).map(|rank| 1.0 / (rank as f64).powf(0.99)).sum();
        let first = asked[&key(zipf.keys[0].into())] as f64 / count as f64;
        assert!((first - 1.0 / sum).abs() < 0.005, "{first} instead of {}", 1.0 / sum);
        assert!(asked.len() > keys * 9 / 10);
    }

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
