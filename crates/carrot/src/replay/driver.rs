//! A trace driven through the engine: requests and a capacity in, counts out.
//!
//! Read-through: each request is a get, and where it misses, an insert. The engine is the one that the library has, in
//! a cache of its own for each cell; its clock stands still, since nothing expires here. Cells are independent of each
//! other and run on as many threads as there are cores; what comes out does not depend on how many.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use carrot_engine::{Cache, Clock};
use carrot_trace::Trace;

use crate::replay::policy::Policy;
use crate::replay::weigh::Weigh;

/// Requests between two reports.
const BATCH: usize = 1 << 16;

/// One point of a curve, to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// In entries or bytes, as the replay weighs.
    pub capacity: u64,
    /// Which entry leaves for room.
    pub policy: Policy,
}

/// What came of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What was tried.
    pub cell: Cell,
    /// How often the key was there.
    pub hits: u64,
    /// What their values have together.
    pub hit_bytes: u64,
}

/// All that was tried of one trace.
#[derive(Clone, Debug)]
pub struct Curves {
    /// The trace's name.
    pub trace: String,
    /// Whether it tells sizes.
    pub sized: bool,
    /// How many different keys it has.
    pub unique: u64,
    /// How entries are weighed.
    pub weigh: Weigh,
    /// What all its keys weigh together.
    pub whole: u64,
    /// How many requests it has.
    pub requests: u64,
    /// What the values of all requests have together.
    pub bytes: u64,
    /// In the order of the cells.
    pub outcomes: Vec<Outcome>,
}

impl Curves {
    /// Tries each cell. `report` is told, from any thread, how many more requests are done.
    pub fn run(
        trace: &Trace,
        cells: &[Cell],
        weigh: Weigh,
        seed: u64,
        report: &(dyn Fn(u64) + Sync),
    ) -> Self {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(cells.len());
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(run(trace, *cell, weigh, seed, report));
            }
            done
        };
        let done: Vec<Outcome> = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let ended = workers.into_iter().map(thread::ScopedJoinHandle::join);
            ended.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        });
        let outcome = |cell: &Cell| done.iter().find(|outcome| outcome.cell == *cell).copied();
        Self {
            trace: trace.name.clone(),
            sized: trace.sized,
            unique: trace.unique,
            weigh,
            whole: weigh.of_all(trace),
            requests: trace.requests.len() as u64,
            bytes: trace.requests.iter().map(|request| u64::from(request.size)).sum(),
            outcomes: cells.iter().filter_map(outcome).collect(),
        }
    }
}

/// The engine as a group has it; an LRU in one shard, so that it is an exact one.
fn cache(trace: &Trace, cell: Cell, weigh: Weigh, seed: u64) -> Cache<()> {
    let builder = Cache::builder().policy(cell.policy.of_engine()).clock(Clock::manual()).seed(seed);
    match (cell.policy, weigh) {
        (Policy::Lru, _) => builder.capacity(cell.capacity).shards(1).build(),
        (Policy::Default, Weigh::Entries) => builder.entries(cell.capacity).build(),
        (Policy::Default, Weigh::Payload | Weigh::Real) => {
            let mean = (trace.unique_bytes / trace.unique.max(1)).max(1);
            builder.capacity(cell.capacity).expect(cell.capacity / mean).build()
        }
    }
}

/// One cell, on this thread.
fn run(trace: &Trace, cell: Cell, weigh: Weigh, seed: u64, report: &dyn Fn(u64)) -> Outcome {
    let cache = cache(trace, cell, weigh, seed);
    let mut outcome = Outcome { cell, hits: 0, hit_bytes: 0 };
    for batch in trace.requests.chunks(BATCH) {
        for &request in batch {
            let key = u64::from(request.key).to_le_bytes();
            if cache.get(&key).is_some() {
                outcome.hits += 1;
                outcome.hit_bytes += u64::from(request.size);
            } else {
                // One that is refused, since it is too large, will miss again.
                let _ = cache.insert_if(&key, b"", (), weigh.weight(trace, request), None, || true);
            }
        }
        report(batch.len() as u64);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn trace(text: &str) -> Trace {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.csv");
        std::fs::write(&file, text).unwrap();
        Trace::read(&file, &mut |_, _| {}).unwrap()
    }

    fn hits(text: &str, weigh: Weigh, capacities: &[u64]) -> Vec<(u64, u64)> {
        let cells: Vec<_> =
            capacities.iter().map(|&capacity| Cell { capacity, policy: Policy::Lru }).collect();
        let curves = Curves::run(&trace(text), &cells, weigh, 0, &|_| {});
        curves.outcomes.iter().map(|outcome| (outcome.hits, outcome.hit_bytes)).collect()
    }

    const TEXT: &str = "a,10\nb,20\na,10\nc,30\nb,20\na,10\n";

    #[test]
    fn entries_weigh_as_they_are_told_to() {
        // Of two entries, b leaves for c, and a for b.
        assert_eq!(hits(TEXT, Weigh::Entries, &[0, 1, 2, 3]), [(0, 0), (0, 0), (1, 10), (3, 40)]);
        // Each has to be a small part of the capacity, so many of them share it.
        let many: String = (0..100).chain(0..100).map(|key| format!("{key:03},{}\n", key + 1)).collect();
        let whole = |weigh: Weigh| weigh.of_all(&trace(&many));
        assert_eq!((whole(Weigh::Entries), whole(Weigh::Payload)), (100, 5050));
        assert!(whole(Weigh::Real) >= 5050 + 100 * (3 + 16), "{}", whole(Weigh::Real));
        for weigh in [Weigh::Entries, Weigh::Payload, Weigh::Real] {
            assert_eq!(hits(&many, weigh, &[whole(weigh)]), [(100, 5050)]);
            // A scan that does not fit finds nothing in the order of use.
            assert_eq!(hits(&many, weigh, &[whole(weigh) * 9 / 10]), [(0, 0)]);
        }
    }

    #[test]
    fn the_outcomes_stand_in_the_order_of_the_cells_and_all_requests_are_reported() {
        let cell = |capacity| Cell { capacity, policy: Policy::Default };
        let cells: Vec<_> = [3, 1, 2, 0, 7].map(cell).to_vec();
        let reported = AtomicU64::new(0);
        let report = |requests| {
            reported.fetch_add(requests, Ordering::Relaxed);
        };
        let curves = Curves::run(&trace(TEXT), &cells, Weigh::Entries, 0, &report);
        assert_eq!(curves.outcomes.iter().map(|outcome| outcome.cell).collect::<Vec<_>>(), cells);
        assert_eq!(reported.into_inner(), 5 * 6);
        assert_eq!((curves.requests, curves.bytes, curves.whole), (6, 100, 3));
    }
}
