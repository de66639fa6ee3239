//! Latencies in a histogram whose buckets are a 128th apart: what is read from it is at most 1 % too much.
//!
//! Log-linear over nanoseconds, as HDR histograms are: up to 127 each number has a bucket of its own, above that each
//! doubling has 128. 58 KiB, whatever is recorded. Owned by one task; those of several are added up at the end.

use std::time::Duration;

/// Buckets of a doubling.
const PARTS: u64 = 128;
const BITS: u32 = PARTS.ilog2();
/// All that the nanoseconds of a u64 fall into.
const BUCKETS: usize = (64 - BITS as usize + 1) * PARTS as usize;

/// How often what took how long.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    /// Exact, in nanoseconds.
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one more that took so long.
    pub fn record(&mut self, took: Duration) {
        self.record_some(took, 1);
    }

    /// Counts so many more that each took so long.
    pub fn record_some(&mut self, took: Duration, count: u64) {
        if count == 0 {
            return;
        }
        // u64::MAX nanoseconds are 584 years.
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)] += count;
        self.count += count;
        self.max = self.max.max(ns);
    }

    /// Adds what another holds.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest; nothing where nothing was recorded.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// What the part `part` of all, from 0 to 1, took at most: 0.99 for p99. Nothing where nothing was recorded.
    pub fn quantile(&self, part: f64) -> Duration {
        // The first is as good as the zeroth.
        let wanted = ((part * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (at, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(last(at).min(self.max));
            }
        }
        Duration::ZERO
    }
}

fn bucket(ns: u64) -> usize {
    if ns < PARTS {
        return ns as usize;
    }
    let doubling = ns.ilog2() - BITS;
    // The leading one is told by the doubling.
    (u64::from(doubling + 1) * PARTS + ((ns >> doubling) - PARTS)) as usize
}

/// The largest number that falls into the bucket.
fn last(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let (doubling, part) = (bucket / PARTS - 1, bucket % PARTS);
    // In this order, since the last bucket ends where u64 does.
    ((PARTS + part) << doubling) + ((1 << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_falls_into_a_bucket_that_ends_at_most_a_128th_above_it() {
        let edges = (0..64).map(|bit| 1_u64 << bit);
        for ns in edges.flat_map(|edge| [edge - 1, edge, edge + 1, edge + edge / 3]).chain([u64::MAX]) {
            let end = last(bucket(ns));
            assert!(end >= ns && end - ns <= ns / PARTS, "{ns} ends at {end}");
            assert!(bucket(ns) < BUCKETS);
            assert_eq!(bucket(end), bucket(ns));
            assert!(end == u64::MAX || bucket(end + 1) == bucket(ns) + 1, "{ns}");
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut all = Histogram::default();
        for half in [1..=500, 501..=1000] {
            let mut histogram = Histogram::default();
            half.for_each(|us| histogram.record(Duration::from_micros(us)));
            all.add(&histogram);
        }
        assert_eq!((all.count(), all.max()), (1000, Duration::from_micros(1000)));
        for (part, us) in
            [(0.0, 1.0), (0.5, 500.0), (0.9, 900.0), (0.99, 990.0), (0.999, 999.0), (1.0, 1000.0)]
        {
            let found = all.quantile(part).as_secs_f64() * 1e6;
            assert!((us..=us * 1.01).contains(&found), "{part}: {found} instead of {us}");
        }
    }

    #[test]
    fn nothing_recorded_is_no_time_at_all() {
        let none = Histogram::default();
        assert_eq!((none.count(), none.quantile(0.99), none.max()), (0, Duration::ZERO, Duration::ZERO));
    }
}
