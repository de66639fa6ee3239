//! Which key is asked for next, and how keys are called.
//!
//! Laws are exact and the same everywhere for the same seed. Pure.

use std::sync::Arc;

/// splitmix64: small, fast, the same everywhere for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Every seed gives numbers of its own.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    #[allow(
        clippy::should_implement_trait,
        reason = "it has no end, and what is next is a number and no Option"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0; each is as likely, to a 2^32th for ends of 32 bits.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// In [0, 1).
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Zipf's law over the keys 0 to n: the r-th most popular is asked for in proportion to 1/r^s.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// How likely one of the first r is.
    cumulated: Vec<f64>,
    /// Which key has a rank. Shuffled, so that popularity says nothing of where a key lies in memory.
    keys: Vec<u32>,
}

impl Zipf {
    /// `keys` is at least 1 and under 2^32. Takes 12 bytes a key.
    pub fn new(keys: usize, exponent: f64) -> Self {
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

    /// The next key.
    pub fn sample(&self, random: &mut Random) -> u32 {
        let share = random.fraction();
        let rank = self.cumulated.partition_point(|&cumulated| cumulated < share);
        self.keys[rank.min(self.keys.len() - 1)]
    }

    /// The key that is asked for most.
    pub fn most_popular(&self) -> u32 {
        self.keys[0]
    }
}

/// How likely each key is. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Law {
    /// One is as likely as another, of so many; at least 1.
    Uniform(u64),
    /// By Zipf.
    Zipf(Arc<Zipf>),
}

impl Law {
    /// The next key's number.
    pub fn sample(&self, random: &mut Random) -> u64 {
        match self {
            Self::Uniform(keys) => random.below(*keys),
            Self::Zipf(zipf) => zipf.sample(random).into(),
        }
    }
}

/// What the keys are called. Cheap to clone.
#[derive(Clone, Debug)]
pub enum Names {
    /// The number between two texts, with zeros before it up to `digits`.
    Numbered {
        /// Before the number.
        before: Arc<str>,
        /// Behind it.
        behind: Arc<str>,
        /// At least so many.
        digits: usize,
    },
    /// Each by a name of its own; never empty.
    Listed(Arc<[Box<[u8]>]>),
}

impl Names {
    /// `key:000000000042`, and so on: what redis-benchmark asks for.
    pub fn of_redis_benchmark() -> Self {
        Self::Numbered { before: "key:".into(), behind: "".into(), digits: 12 }
    }

    /// Writes the name of key `number` in place of what is there. A number past the end of a list begins anew.
    pub fn write(&self, number: u64, name: &mut Vec<u8>) {
        use std::io::Write as _;

        name.clear();
        match self {
            Self::Numbered { before, behind, digits } => {
                let digits = *digits;
                write!(name, "{before}{number:0digits$}{behind}").expect("a Vec takes all");
            }
            Self::Listed(names) => name.extend_from_slice(&names[number as usize % names.len()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_popular_key_gets_the_share_that_the_law_says() {
        let (keys, count) = (1000, 100_000);
        let zipf = Zipf::new(keys, 0.99);
        let mut random = Random::new(1);
        let mut asked = vec![0_u32; keys];
        for _ in 0..count {
            asked[zipf.sample(&mut random) as usize] += 1;
        }
        let sum: f64 = (1..=keys).map(|rank| 1.0 / (rank as f64).powf(0.99)).sum();
        let first = f64::from(asked[zipf.most_popular() as usize]) / f64::from(count);
        assert!((first - 1.0 / sum).abs() < 0.005, "{first} instead of {}", 1.0 / sum);
        assert!(asked.iter().filter(|asked| **asked > 0).count() > keys * 9 / 10);
    }

    #[test]
    fn a_uniform_law_asks_for_all_alike() {
        let (law, mut random) = (Law::Uniform(10), Random::new(1));
        let mut asked = [0_i32; 10];
        for _ in 0..100_000 {
            asked[law.sample(&mut random) as usize] += 1;
        }
        assert!(asked.iter().all(|asked| (asked - 10_000).abs() < 500), "{asked:?}");
    }

    #[test]
    fn names_are_written_as_they_are_asked_for() {
        let mut name = b"old".to_vec();
        Names::of_redis_benchmark().write(42, &mut name);
        assert_eq!(name, b"key:000000000042");
        Names::Numbered { before: "a".into(), behind: "z".into(), digits: 0 }.write(7, &mut name);
        assert_eq!(name, b"a7z");
        let listed: Arc<[Box<[u8]>]> = [b"x"[..].into(), b"\xFF"[..].into()].into();
        Names::Listed(listed).write(3, &mut name);
        assert_eq!(name, b"\xFF");
    }
}
