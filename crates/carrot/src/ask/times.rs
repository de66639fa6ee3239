//! How long things took, as a node tells it: counts by upper bounds, and quantiles estimated from them.
//!
//! Pure. Between two bounds things are taken to be spread evenly, as Prometheus' `histogram_quantile` has it; we differ
//! at the ends: below the first bound and above the last nothing is known but the bound, and no more is said.

use std::fmt;

use serde::Deserialize;

use crate::amount::seconds;

/// Times, counted up to one moment or between two.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Times {
    /// How many there were.
    pub count: u64,
    /// Upper bounds in seconds, and how many took that long or less.
    buckets: Vec<(f64, u64)>,
}

/// A time that a part of all things took at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quantile {
    /// Nothing was timed.
    None,
    /// Less than the first bound, in seconds.
    Below(f64),
    /// About so much, in seconds.
    About(f64),
    /// More than the last bound, in seconds.
    Above(f64),
}

impl Times {
    /// What came after `earlier`, which was told by the same node.
    pub fn since(&self, earlier: &Self) -> Self {
        if self.buckets.len() != earlier.buckets.len() {
            return self.clone();
        }
        let buckets = self.buckets.iter().zip(&earlier.buckets);
        Self {
            count: self.count.saturating_sub(earlier.count),
            buckets: buckets.map(|((bound, now), (_, then))| (*bound, now.saturating_sub(*then))).collect(),
        }
    }

    /// What the part `q` of all took at most.
    pub fn quantile(&self, q: f64) -> Quantile {
        if self.count == 0 {
            return Quantile::None;
        }
        let rank = q * self.count as f64;
        let Some(at) = self.buckets.iter().position(|(_, below)| *below as f64 >= rank) else {
            return self.buckets.last().map_or(Quantile::None, |(bound, _)| Quantile::Above(*bound));
        };
        let (upper, below) = self.buckets[at];
        let Some((lower, before)) = at.checked_sub(1).map(|previous| self.buckets[previous]) else {
            return Quantile::Below(upper);
        };
        // The bucket before holds fewer than the rank, so this one is not empty.
        let part = (rank - before as f64) / (below as f64 - before as f64);
        Quantile::About(lower + (upper - lower) * part)
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("-"),
            Self::Below(bound) => write!(f, "<{}", seconds(*bound)),
            Self::About(time) => f.write_str(&seconds(*time)),
            Self::Above(bound) => write!(f, ">{}", seconds(*bound)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(count: u64, buckets: &[(f64, u64)]) -> Times {
        Times { count, buckets: buckets.to_vec() }
    }

    #[test]
    fn a_quantile_is_interpolated_within_its_bucket_and_honest_at_the_ends() {
        let spread = times(100, &[(0.00001, 10), (0.001, 10), (0.002, 90), (10.0, 98)]);
        for (q, expected, shown) in [
            (0.1, Quantile::Below(0.00001), "<10 µs"),
            (0.5, Quantile::About(0.0015), "1.5 ms"),
            (0.9, Quantile::About(0.002), "2 ms"),
            (0.94, Quantile::About(0.002 + (10.0 - 0.002) / 2.0), "5 s"),
            (0.99, Quantile::Above(10.0), ">10 s"),
        ] {
            assert_eq!(spread.quantile(q), expected, "{q}");
            assert_eq!(spread.quantile(q).to_string(), shown, "{q}");
        }
        assert_eq!(Times::default().quantile(0.5).to_string(), "-");
    }

    #[test]
    fn counts_that_cannot_be_give_no_nonsense() {
        // As a broken node may tell them: no buckets, counts that fall, bounds out of order.
        assert_eq!(times(5, &[]).quantile(0.5), Quantile::None);
        let falling = times(10, &[(1.0, 4), (2.0, 3), (0.5, 10)]);
        assert!(matches!(falling.quantile(0.9), Quantile::About(time) if time.is_finite()));
        assert_eq!(times(10, &[(1.0, 0), (2.0, 0)]).quantile(0.0), Quantile::Below(1.0));
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (then, now) = (times(4, &[(1.0, 3), (2.0, 4)]), times(10, &[(1.0, 3), (2.0, 9)]));
        assert_eq!(now.since(&then), times(6, &[(1.0, 0), (2.0, 5)]));
        assert_eq!(now.since(&Times::default()), now, "there was nothing before");
        assert_eq!(then.since(&now), times(0, &[(1.0, 0), (2.0, 0)]), "never below nothing");
    }
}
