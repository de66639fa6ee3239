//! Counters and histograms, and what they say of a node at one moment.
//!
//! `GroupStats` and `NodeStats` live and are added to where a thing happens; `Stats` is what a reader gets, plain
//! numbers that stand still. Every number is a count since the start, save those that are called gauges. Each live
//! set belongs to its group or node: there is no registry, and no number is shared by two clusters of one process.
//!
//! Lock-free. Adding is one relaxed atomic on a cache line that few threads share; a snapshot reads each number
//! once, so two numbers of one snapshot may be a few gets apart. It never waits and never resets anything.

use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use crate::memory::MemorySnapshot;
use crate::units::GroupName;

/// Makes an enum of labels: its names as metrics and logs write them, all of them, and each one's number.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$label_doc:meta])* $label:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$label_doc])* $label,)+ }

        impl $name {
            /// All of them, in the order in which they are counted.
            pub const ALL: &'static [Self] = &[$(Self::$label),+];

            /// The name as metrics and logs write it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$label => $text),+ }
            }
        }

        impl From<$name> for usize {
            fn from(label: $name) -> usize {
                label as usize
            }
        }
    };
}

labels! {
    /// Whose entry a hit found in this node's memory.
    pub enum HitSource {
        /// This node owns the key.
        Memory = "memory",
        /// A copy of another owner's hot key.
        Mirror = "mirror",
    }
}

labels! {
    /// How a fetch, a request to the key's owner or its stand-in, ended.
    pub enum FetchOutcome {
        /// With the value, from the owner's memory or a load there.
        Found = "found",
        /// The origin has no such key.
        NotFound = "not_found",
        /// Asked for memory only, and it was not there.
        NotCached = "not_cached",
        /// The owner has no such group (yet).
        NoGroup = "no_group",
        /// The owner's loader failed.
        LoadFailed = "load_failed",
        /// A limit was reached, of the owner or of this node towards it.
        Busy = "busy",
        /// Not in time: the owner's load, or the owner.
        Deadline = "deadline",
        /// The value is over a limit.
        TooLarge = "too_large",
        /// No connection, a broken reply, or the peer is resting after failures.
        Unreachable = "unreachable",
        /// The owner refused in another way.
        Refused = "refused",
    }
}

labels! {
    /// How a load, a request to the origin, ended.
    pub enum LoadOutcome {
        /// With a value.
        Found = "found",
        /// The origin has no such key.
        NotFound = "not_found",
        /// The loader returned an error.
        Failed = "failed",
        /// The loader panicked.
        Panicked = "panicked",
        /// Not within the group's load deadline.
        Deadline = "deadline",
        /// With a value over the node's limit.
        TooLarge = "too_large",
        /// Not begun, since as many loads as the group may have were running; or its value was dropped, since the
        /// node's memory had no room for it.
        Busy = "busy",
    }
}

labels! {
    /// Why an entry left memory.
    pub enum EvictionCause {
        /// For room: the policy chose it.
        Room = "room",
        /// For time: its ttl or lease had passed.
        Expired = "expired",
        /// A newer value of the key took its place.
        Replaced = "replaced",
        /// By the user's word, or an owner's.
        Removed = "removed",
    }
}

labels! {
    /// A part of a group's memory.
    pub enum Region {
        /// Entries of keys this node owns.
        Owned = "owned",
        /// Copies of other owners' hot entries.
        Mirrors = "mirrors",
    }
}

labels! {
    /// What was refused, of a caller or a peer, before anything was started for it.
    pub enum Refusal {
        /// A key that is empty or over the limit.
        Key = "key",
        /// A value over the limit.
        Value = "value",
        /// A caller past `max_waiters`.
        Waiters = "waiters",
        /// A load past `max_loads`.
        Loads = "loads",
        /// A peer's request past `Limits::in_flight`, or a body past what bodies may hold together.
        InFlight = "in_flight",
        /// A request for a group that is not open here.
        NoGroup = "no_group",
        /// A request that makes no sense.
        Malformed = "malformed",
        /// A request to a front by someone who may not ask there: without its password, or under a foreign name.
        Unauthorized = "unauthorized",
        /// A value that memory has no room for: heavier than the capacity, or than the mirrors' share of it.
        Room = "room",
        /// A value on its way, from an origin, a peer or a client or to a peer, that the node's memory has no room for.
        Memory = "memory",
        /// A request of a node that is of another cluster, by the names of both.
        OtherCluster = "other_cluster",
        /// Anything, while the node leaves.
        Leaving = "leaving",
    }
}

labels! {
    /// Why this node cut a connection of frames, its own to a peer or a peer's to it.
    pub enum Cut {
        /// What came is no frame.
        Malformed = "malformed",
        /// An answer that nobody asked for or that was given already, or a request under an id that is taken.
        Unasked = "unasked",
        /// A frame or a message that was begun was not whole in time, or none came at all.
        Overdue = "overdue",
        /// The other side did not take in time what was sent.
        Stalled = "stalled",
        /// The peer gave no sign of life when it was asked for one, or for `Limits::idle_timeout`, although what was asked of
        /// it had been cancelled.
        Silent = "silent",
        /// The peer lives and left a request without an answer for `Limits::idle_timeout` after it was cancelled, or more
        /// of them than `Limits::waiting_per_peer`.
        Unanswered = "unanswered",
    }
}

/// A count that many threads add to at once.
///
/// Spread over several cache lines, each thread adding to one of them: on one line, the get counter would be the
/// only thing that all cores of a node write to.
#[derive(Debug, Default)]
pub(crate) struct Counter([Stripe; STRIPES]);

/// Half a KiB a counter; with more threads than stripes, a few share one, which is slower and just as right.
const STRIPES: usize = 8;

#[derive(Debug, Default)]
#[repr(align(64))]
struct Stripe(AtomicU64);

impl Counter {
    /// Adds to the calling thread's stripe.
    pub(crate) fn add(&self, n: u64) {
        self.0[stripe()].0.fetch_add(n, Ordering::Relaxed);
    }

    /// The sum of all stripes.
    pub(crate) fn get(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// The calling thread's stripe, from the address of something it has to itself: no counter of threads is needed.
fn stripe() -> usize {
    thread_local!(static OWN: u8 = const { 0 });
    let address = OWN.with(ptr::from_ref).addr();
    // Threads' addresses lie a constant stride apart, so their bits alone would make few stripes of them.
    xxh3_64(&address.to_ne_bytes()) as usize % STRIPES
}

/// One counter for each label of an enum.
#[derive(Debug)]
pub(crate) struct Tally<L: 'static> {
    labels: &'static [L],
    counters: Box<[Counter]>,
}

impl<L: Copy + Into<usize>> Tally<L> {
    /// All zero. `labels` is the enum's `ALL`.
    pub(crate) fn new(labels: &'static [L]) -> Self {
        Self { labels, counters: labels.iter().map(|_| Counter::default()).collect() }
    }

    /// Counts one.
    pub(crate) fn add(&self, label: L) {
        self.add_some(label, 1);
    }

    /// Counts so many.
    pub(crate) fn add_some(&self, label: L, n: u64) {
        self.counters[label.into()].add(n);
    }

    /// The counts now.
    pub(crate) fn snapshot(&self) -> Counts<L> {
        Counts { labels: self.labels, counts: self.counters.iter().map(Counter::get).collect() }
    }
}

/// A number for each label of an enum.
#[derive(Clone, Debug)]
pub struct Counts<L: 'static> {
    labels: &'static [L],
    counts: Box<[u64]>,
}

impl<L: Copy + Into<usize>> Counts<L> {
    /// The number of one label.
    pub fn get(&self, label: L) -> u64 {
        self.counts[label.into()]
    }

    /// Every label with its number.
    pub fn iter(&self) -> impl Iterator<Item = (L, u64)> + '_ {
        self.labels.iter().copied().zip(self.counts.iter().copied())
    }

    /// The sum over all labels.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Upper bounds of the buckets, in seconds: a hit takes a few microseconds, a fetch over the loopback some tens of
/// them, a load deadline is near the last.
const BOUNDS: [f64; 22] = [
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_025,
    0.000_05,
    0.000_1,
    0.000_25,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
];

/// Counts how long things took, without a lock. For what takes a network trip, a caller's or a peer's: its counts are
/// not striped.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and the last for what took longer than all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds: 584 years until it wraps.
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one that took so long.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.sum_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The counts now. `count` is the buckets' own sum, so that the two always agree.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let cumulative = self.buckets.each_ref().map(|bucket| {
            count += bucket.load(Ordering::Relaxed);
            count
        });
        let buckets = BOUNDS.into_iter().zip(cumulative).collect();
        let sum_seconds = Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)).as_secs_f64();
        HistogramSnapshot { buckets, count, sum_seconds }
    }
}

/// How long things took, up to one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HistogramSnapshot {
    /// Pairs of an upper bound in seconds, and how many took that long or less.
    pub buckets: Vec<(f64, u64)>,
    /// How many there were, those over the last bound included.
    pub count: u64,
    /// What they took together, in seconds.
    pub sum_seconds: f64,
}

/// The live counters of one group; `GroupSnapshot` says what each one counts.
#[derive(Debug)]
pub(crate) struct GroupStats {
    pub(crate) gets: Counter,
    pub(crate) hits: Tally<HitSource>,
    pub(crate) stale: Counter,
    pub(crate) shares: Counter,
    pub(crate) fetches: Tally<FetchOutcome>,
    pub(crate) loads: Tally<LoadOutcome>,
    pub(crate) stand_ins: Counter,
    pub(crate) mirrors: Counter,
    pub(crate) evictions: Tally<EvictionCause>,
    pub(crate) refusals: Tally<Refusal>,
    pub(crate) load_seconds: Histogram,
    pub(crate) fetch_seconds: Histogram,
}

/// What a group holds at the moment of a snapshot: the numbers that go down as well as up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gauges {
    pub(crate) owned_bytes: u64,
    pub(crate) mirrors_bytes: u64,
    pub(crate) capacity_bytes: u64,
    pub(crate) flights: u64,
    pub(crate) waiters: u64,
}

impl Default for GroupStats {
    fn default() -> Self {
        Self {
            gets: Counter::default(),
            hits: Tally::new(HitSource::ALL),
            stale: Counter::default(),
            shares: Counter::default(),
            fetches: Tally::new(FetchOutcome::ALL),
            loads: Tally::new(LoadOutcome::ALL),
            stand_ins: Counter::default(),
            mirrors: Counter::default(),
            evictions: Tally::new(EvictionCause::ALL),
            refusals: Tally::new(Refusal::ALL),
            load_seconds: Histogram::default(),
            fetch_seconds: Histogram::default(),
        }
    }
}

impl GroupStats {
    /// The numbers now, with what the group holds.
    pub(crate) fn snapshot(&self, group: GroupName, gauges: Gauges) -> GroupSnapshot {
        GroupSnapshot {
            group,
            gets: self.gets.get(),
            hits: self.hits.snapshot(),
            stale: self.stale.get(),
            shares: self.shares.get(),
            fetches: self.fetches.snapshot(),
            loads: self.loads.snapshot(),
            stand_ins: self.stand_ins.get(),
            mirrors: self.mirrors.get(),
            evictions: self.evictions.snapshot(),
            refusals: self.refusals.snapshot(),
            load_seconds: self.load_seconds.snapshot(),
            fetch_seconds: self.fetch_seconds.snapshot(),
            weight_bytes: Counts {
                labels: Region::ALL,
                counts: Box::new([gauges.owned_bytes, gauges.mirrors_bytes]),
            },
            capacity_bytes: gauges.capacity_bytes,
            flights: gauges.flights,
            waiters: gauges.waiters,
        }
    }
}

/// One group's numbers, up to one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupSnapshot {
    /// The group.
    pub group: GroupName,
    /// Calls of `get` and `answer` by this node's own callers, and gets of its peers.
    pub gets: u64,
    /// Gets that were answered from this node's memory.
    pub hits: Counts<HitSource>,
    /// Answers that were marked stale. None is, as long as no setting allows values past their ttl.
    pub stale: u64,
    /// Gets that joined a flight another get had begun.
    pub shares: u64,
    /// Requests to other nodes, by how they ended.
    pub fetches: Counts<FetchOutcome>,
    /// Requests to the origin, by how they ended.
    pub loads: Counts<LoadOutcome>,
    /// Flights whose owner could not be reached, so that its stand-in was asked or this node loaded.
    pub stand_ins: u64,
    /// Fetched values that were kept as mirrors, since their keys were hot.
    pub mirrors: u64,
    /// Entries that left memory, by why.
    pub evictions: Counts<EvictionCause>,
    /// Calls and requests that were refused before anything was started for them.
    pub refusals: Counts<Refusal>,
    /// How long loads took, from the loader's start to its end.
    pub load_seconds: HistogramSnapshot,
    /// How long fetches took, from the request to the whole reply.
    pub fetch_seconds: HistogramSnapshot,
    /// Gauge: what the entries of each region are charged, in bytes.
    pub weight_bytes: Counts<Region>,
    /// Gauge: what both regions together may be charged, in bytes.
    pub capacity_bytes: u64,
    /// Gauge: flights under way.
    pub flights: u64,
    /// Gauge: callers waiting for a flight.
    pub waiters: u64,
}

/// The live counters of what belongs to no group.
#[derive(Debug)]
pub(crate) struct NodeStats {
    pub(crate) refusals: Tally<Refusal>,
    pub(crate) cuts: Tally<Cut>,
    pub(crate) view_mismatches: Counter,
}

impl Default for NodeStats {
    fn default() -> Self {
        Self {
            refusals: Tally::new(Refusal::ALL),
            cuts: Tally::new(Cut::ALL),
            view_mismatches: Counter::default(),
        }
    }
}

impl NodeStats {
    /// The numbers now, with those of the groups.
    pub(crate) fn snapshot(&self, groups: Vec<GroupSnapshot>) -> Stats {
        Stats {
            groups,
            memory: None,
            refusals: self.refusals.snapshot(),
            cuts: self.cuts.snapshot(),
            view_mismatches: self.view_mismatches.get(),
        }
    }
}

/// A node's numbers, up to one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Each group's.
    pub groups: Vec<GroupSnapshot>,
    /// Gauges: what is charged to the memory that the groups share, and what may be; `None` where there is none.
    pub memory: Option<MemorySnapshot>,
    /// Requests that were refused before a group was found for them.
    pub refusals: Counts<Refusal>,
    /// Connections of frames that were cut.
    pub cuts: Counts<Cut>,
    /// Replies of peers whose list of members is not this node's.
    pub view_mismatches: u64,
}

#[cfg(test)]
mod tests;
