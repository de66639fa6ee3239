//! Hit ratios on recorded traces: each at a thousandth, a hundredth and a tenth of its keys, or of their bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use anyhow::Context as _;
use carrot_trace::{Request, Trace};

use crate::engine::entrants::distinct;
use crate::engine::face::{Capacity, Weigh};
use crate::engine::results::{Cell, Counts, HitRatio};
use crate::engine::subject::Hits;

const PERCENTS: [f64; 3] = [0.1, 1.0, 10.0];
/// A cell in which fewer entries fit is left out: engines that shard would be told apart by how they round.
const FEWEST_ENTRIES: usize = 45;

/// Every `*.trace.zst` in the directory, by name.
pub(crate) fn files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || format!("cannot read {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(read)? {
        let path = entry.with_context(read)?.path();
        if path.to_string_lossy().ends_with(".trace.zst") {
            files.push(path);
        }
    }
    files.sort();
    anyhow::ensure!(!files.is_empty(), "no NAME.trace.zst in {}", directory.display());
    Ok(files)
}

/// All cells of these traces; `progress` is told of each that is done.
pub(crate) fn measure(files: &[PathBuf], progress: &mut dyn FnMut(&str)) -> anyhow::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for file in files {
        let trace = Trace::read(file, &mut |_, _| ())?;
        let recorded = Recorded {
            name: &trace.name,
            requests: &trace.requests,
            keys: trace.unique,
            bytes: trace.sized.then_some(trace.unique_bytes),
        };
        for (percent, counts) in recorded.shapes() {
            if let Some(cell) = recorded.cell(percent, counts) {
                progress(&format!("{} {percent} %", cell.trace));
                cells.push(cell);
            }
        }
    }
    Ok(cells)
}

/// What a replay needs of a trace.
struct Recorded<'a> {
    name: &'a str,
    requests: &'a [Request],
    /// How many different ones.
    keys: u64,
    /// What the values of all keys weigh together, if the trace tells sizes.
    bytes: Option<u64>,
}

impl Recorded<'_> {
    fn shapes(&self) -> impl Iterator<Item = (f64, Counts)> + use<> {
        let counts = [Some(Counts::Entries), self.bytes.map(|_| Counts::Bytes)];
        counts.into_iter().flatten().flat_map(|counts| PERCENTS.map(|percent| (percent, counts)))
    }

    /// What every engine hits; `None` where the capacity is too small to tell.
    fn cell(&self, percent: f64, counts: Counts) -> Option<Cell> {
        let part = |whole: u64| (whole as f64 * percent / 100.0) as u64;
        let entries = part(self.keys) as usize;
        if entries < FEWEST_ENTRIES {
            return None;
        }
        let capacity = match counts {
            Counts::Entries => Capacity::of_entries(entries),
            Counts::Bytes => Capacity { units: part(self.bytes?), entries, weigh: Weigh::Values },
        };
        Some(Cell {
            trace: self.name.to_owned(),
            percent,
            counts,
            capacity: capacity.units,
            requests: self.requests.len() as u64,
            hit_ratio: replay_all(self.requests, capacity),
        })
    }
}

/// Each engine by itself on one thread; as many at once as there are cores, since nothing is timed.
fn replay_all(requests: &[Request], capacity: Capacity) -> BTreeMap<String, HitRatio> {
    let left = Mutex::new(distinct());
    let ratios = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            // The lock is held for no longer than this statement.
            let next = left.lock().expect("no replay panics under the lock").next();
            let Some(entrant) = next else { break };
            let Hits { object, byte } = (entrant.replay)(requests, capacity);
            let ratio = HitRatio { object: object * 100.0, byte: byte * 100.0 };
            ratios.lock().expect("no replay panics under the lock").insert(entrant.name.to_owned(), ratio);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    ratios.into_inner().expect("all replays are done")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::entrants::OURS;

    /// Three passes over so many keys.
    fn passes(keys: u32) -> Vec<Request> {
        (0..3).flat_map(|_| 0..keys).map(|key| Request { key, size: 10 + key % 5 }).collect()
    }

    fn recorded(requests: &[Request], sized: bool) -> Recorded<'_> {
        let keys = requests.len() as u64 / 3;
        Recorded { name: "loop", requests, keys, bytes: sized.then_some(12 * keys) }
    }

    #[test]
    fn a_trace_gives_a_cell_for_each_capacity_that_is_large_enough() {
        let sizes = |keys, sized| {
            let requests = passes(keys);
            let trace = recorded(&requests, sized);
            let cells = trace.shapes().filter_map(|(percent, counts)| trace.cell(percent, counts));
            cells.map(|cell| (cell.percent, cell.counts, cell.capacity)).collect::<Vec<_>>()
        };
        assert_eq!(sizes(1000, false), [(10.0, Counts::Entries, 100)]);
        assert_eq!(sizes(500, true), [(10.0, Counts::Entries, 50), (10.0, Counts::Bytes, 600)]);
        assert_eq!(sizes(440, true), []);
    }

    #[test]
    fn every_engine_has_its_ratio_and_an_lru_hits_nothing_on_a_loop() {
        let requests = passes(1000);
        let cell = recorded(&requests, false).cell(10.0, Counts::Entries).unwrap();
        assert_eq!(cell.hit_ratio.len(), distinct().count());
        assert!(cell.hit_ratio.contains_key(OURS));
        assert!(cell.hit_ratio["mutexed lru"].object.abs() < 1e-9);
    }
}
