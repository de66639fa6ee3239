//! What a run of the bench found, as it stands in `results/engine.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::Runs;

/// One repetition of everything. What was not measured is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    pub(crate) traces: Vec<Cell>,
    /// Gets that all hit.
    pub(crate) hits: Vec<Speed>,
    pub(crate) readthrough: Vec<Speed>,
    pub(crate) memory: Vec<Memory>,
    pub(crate) latency: Vec<Latency>,
    pub(crate) collisions: Vec<Collision>,
}

/// One trace replayed at one capacity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) trace: String,
    /// Of the trace's keys, or of their bytes.
    pub(crate) percent: f64,
    pub(crate) counts: Counts,
    /// In entries or bytes.
    pub(crate) capacity: u64,
    pub(crate) requests: u64,
    /// By engine.
    pub(crate) hit_ratio: BTreeMap<String, HitRatio>,
}

/// What a capacity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Counts {
    Entries,
    Bytes,
}

/// In percent.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct HitRatio {
    /// Of the requests.
    pub(crate) object: f64,
    /// Of their bytes.
    pub(crate) byte: f64,
}

/// How fast one engine is, by 1 thread and by 2.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) engine: String,
    pub(crate) threads_1: Pace,
    pub(crate) threads_2: Pace,
}

/// One engine at one number of threads; a figure for each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Pace {
    pub(crate) mops: Runs,
    /// Part of 1.
    pub(crate) hit_ratio: Runs,
}

/// What an entry takes beyond its key and value, in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) engine: String,
    pub(crate) entries: u64,
    /// As asked of the allocator.
    pub(crate) asked_per_entry: f64,
    /// As the process grew.
    pub(crate) resident_per_entry: f64,
}

/// How long a get takes while another thread stores; in ns, a figure for each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    /// Or `TIMER`.
    pub(crate) engine: String,
    pub(crate) p50: Runs,
    pub(crate) p99: Runs,
    pub(crate) p99_9: Runs,
    pub(crate) p99_99: Runs,
}

/// The name under which the timer's own cost stands among the latencies.
pub(crate) const TIMER: &str = "the timer itself";

/// A get by keys that collide under some hash; in ns, a figure for each round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Collision {
    pub(crate) engine: String,
    /// By the name of what was asked: `random`, or the hash under which the keys collide.
    pub(crate) get_ns: BTreeMap<String, Runs>,
}
