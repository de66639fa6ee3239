//! How large the workloads are: as the figures in docs/ are measured, a quick look, or a test's.

use std::time::Duration;

/// Sizes of the timed workloads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    /// How many different ones are asked for.
    pub(crate) keys: usize,
    /// By each thread in each round.
    pub(crate) requests: usize,
    /// Before a cache is measured that starts empty.
    pub(crate) warm_up: usize,
    pub(crate) rounds: usize,
    /// How long gets are timed one by one, for each engine and round.
    pub(crate) watch: Duration,
    /// How many keys collide.
    pub(crate) colliding: usize,
}

impl Scale {
    pub(crate) fn full(rounds: usize) -> Self {
        Self {
            keys: 1_000_000,
            requests: 1_000_000,
            warm_up: 2_000_000,
            rounds,
            watch: Duration::from_millis(500),
            colliding: 100_000,
        }
    }

    /// To see that everything runs; its figures say little.
    pub(crate) fn quick(rounds: usize) -> Self {
        Self {
            keys: 100_000,
            requests: 100_000,
            warm_up: 200_000,
            rounds,
            watch: Duration::from_millis(50),
            colliding: 10_000,
        }
    }

    #[cfg(test)]
    pub(crate) fn tiny() -> Self {
        Self {
            keys: 500,
            requests: 2000,
            warm_up: 2000,
            rounds: 2,
            watch: Duration::from_millis(2),
            colliding: 300,
        }
    }
}
