//! What a cache counts, and why an entry left it.
//!
//! Each shard counts what changes it under its own lock, in plain integers; hits and misses are counted by their
//! threads (`counters`). A snapshot adds them up. So nothing shared is written on a hit.

/// Why an entry left the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// For room.
    Evicted,
    /// Its time was up: a later insert into its shard took it out, or a get or remove of its key found it.
    Expired,
    /// By `remove`.
    Removed,
    /// By a later insert of the same key.
    Replaced,
    /// By `clear`.
    Cleared,
}

/// A snapshot of a cache's counters. Counts are since the cache was built.
///
/// Every insert is accounted for: at rest, `inserts = entries + evictions + expirations + removals + replacements +
/// cleared`. Shards are read one after the other, so under load the figures belong to slightly different moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gets that found a live entry.
    pub hits: u64,
    /// Gets that did not; of a `get_with`, one for each caller, those who wait for another's load too.
    pub misses: u64,
    /// Entries stored, replacements included.
    pub inserts: u64,
    /// Inserts refused because the entry is too heavy or no room could be made.
    pub refused: u64,
    /// Inserts that `keep` declined.
    pub unwanted: u64,
    /// Entries that the default policy let into its main queue: from the small one for their hits, or at once since
    /// their key came back.
    pub admissions: u64,
    /// Inserts of keys that were evicted lately, within the last tenth of the capacity: so many more hits, about, there
    /// would have been with a tenth more capacity. Zero with `Policy::Lru`, which keeps no ghosts.
    pub ghost_hits: u64,
    /// Entries that left for room.
    pub evictions: u64,
    /// Entries found expired and dropped.
    pub expirations: u64,
    /// Entries that left by `remove`.
    pub removals: u64,
    /// Entries that left for a newer one of the same key.
    pub replacements: u64,
    /// Entries that left by `clear`.
    pub cleared: u64,
    /// Entries held now, those expired and not yet noticed included.
    pub entries: u64,
    /// The sum of their weights.
    pub weight: u64,
    /// Of that, the minor region's; an insert under way is counted in.
    pub minor_weight: u64,
    /// What the entries' blocks and pages hold of memory, in bytes, free ones that were not given back included, and
    /// those of entries that left and are still held. Tables, queues and ghosts come on top: some 30 bytes an entry.
    pub resident_bytes: u64,
    /// The most that `weight` can be; of a shared budget, all sharers together.
    pub capacity: u64,
}

impl Stats {
    pub(crate) fn count(&mut self, cause: Cause, entries: u64) {
        *match cause {
            Cause::Evicted => &mut self.evictions,
            Cause::Expired => &mut self.expirations,
            Cause::Removed => &mut self.removals,
            Cause::Replaced => &mut self.replacements,
            Cause::Cleared => &mut self.cleared,
        } += entries;
    }

    /// Adds what one shard counted.
    pub(crate) fn add_shard(&mut self, shard: &Self, entries: u64) {
        self.inserts += shard.inserts;
        self.admissions += shard.admissions;
        self.ghost_hits += shard.ghost_hits;
        self.evictions += shard.evictions;
        self.expirations += shard.expirations;
        self.removals += shard.removals;
        self.replacements += shard.replacements;
        self.cleared += shard.cleared;
        self.entries += entries;
    }
}
