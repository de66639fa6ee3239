//! What a node has counted, as `/admin/stats` tells it, and what came between two such tellings.
//!
//! Pure. Only what is shown is read; a node that tells more is understood all the same, and one that leaves out what
//! is read here is none that this program knows.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use crate::ask::times::Times;

/// A node's counts since its start, or between two moments.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Snapshot {
    /// What the node is called.
    pub node: String,
    /// Of the program.
    pub version: String,
    /// Since its start, or between the two moments.
    pub uptime_seconds: f64,
    /// What it speaks to its peers.
    pub dialect: String,
    /// How keys are given to members.
    pub placement: String,
    /// The hash of its list of members.
    pub view: String,
    /// Each group's.
    pub groups: Vec<GroupCounts>,
    /// Each member's, the node itself included.
    pub peers: Vec<PeerCounts>,
    /// Requests that were refused before a group was found for them.
    pub refusals: Tally,
    /// Connections of frames that it cut, by why.
    // Older nodes have no such connections.
    #[serde(default)]
    pub cuts: Tally,
    /// Replies of peers whose list of members is another.
    pub view_mismatches: u64,
}

/// One group's counts.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct GroupCounts {
    /// Its name.
    pub group: String,
    /// By callers and by peers.
    pub gets: u64,
    /// Gets answered from this node's memory.
    pub hits: Hits,
    /// Answers past their ttl.
    pub stale: u64,
    /// Gets that joined a flight.
    pub shares: u64,
    /// Requests to owners, by how they ended.
    pub fetches: Tally,
    /// Requests to the origin, by how they ended.
    pub loads: Tally,
    /// Flights whose owner could not be reached.
    pub stand_ins: u64,
    /// Entries that left memory, by why.
    pub evictions: Tally,
    /// Gets and requests that were refused, by why.
    pub refusals: Tally,
    /// Gauge: what entries are charged.
    pub weight_bytes: Weight,
    /// Gauge: what they may be charged.
    pub capacity_bytes: u64,
    /// Of gets answered from memory, from arrival to answer.
    pub hit_seconds: Times,
    /// Of requests to owners.
    pub fetch_seconds: Times,
    /// Of requests to the origin.
    pub load_seconds: Times,
}

/// Hits, by whose entry was found.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Hits {
    /// The node's own.
    pub memory: u64,
    /// A copy of another owner's.
    pub mirror: u64,
}

/// Bytes, by region.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Weight {
    /// Of entries that the node owns.
    pub owned: u64,
    /// Of copies.
    pub mirrors: u64,
}

/// What a node knows of one member.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct PeerCounts {
    /// Its name.
    pub member: String,
    /// Whether it is the node itself.
    #[serde(default, rename = "self")]
    pub is_self: bool,
    /// Its part of all keys.
    pub share: f64,
    /// Whether it is asked; `None` of the node itself.
    pub state: Option<String>,
    /// For how long it is not asked, in milliseconds.
    pub rest_ms: Option<u64>,
    /// Requests that it was sent.
    #[serde(default)]
    pub requests: u64,
    /// How long they took.
    #[serde(default)]
    pub seconds: Times,
}

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Tally(BTreeMap<String, u64>);

impl Snapshot {
    /// What was counted since `earlier`; `None` where the node has been started anew meanwhile, or is another one.
    /// Gauges are as they are now.
    pub fn since(&self, earlier: &Self) -> Option<Self> {
        let seconds = self.uptime_seconds - earlier.uptime_seconds;
        if seconds <= 0.0 || self.node != earlier.node {
            return None;
        }
        // By name, lest a stranger's hundred thousand of them be sought one by one.
        let groups: HashMap<_, _> = earlier.groups.iter().map(|group| (&*group.group, group)).collect();
        let peers: HashMap<_, _> = earlier.peers.iter().map(|peer| (&*peer.member, peer)).collect();
        let group =
            |now: &GroupCounts| groups.get(&*now.group).map_or_else(|| now.clone(), |then| now.since(then));
        let peer =
            |now: &PeerCounts| peers.get(&*now.member).map_or_else(|| now.clone(), |then| now.since(then));
        Some(Self {
            uptime_seconds: seconds,
            groups: self.groups.iter().map(group).collect(),
            peers: self.peers.iter().map(peer).collect(),
            refusals: self.refusals.since(&earlier.refusals),
            cuts: self.cuts.since(&earlier.cuts),
            view_mismatches: self.view_mismatches.saturating_sub(earlier.view_mismatches),
            ..self.clone()
        })
    }
}

impl GroupCounts {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            gets: self.gets.saturating_sub(earlier.gets),
            hits: Hits {
                memory: self.hits.memory.saturating_sub(earlier.hits.memory),
                mirror: self.hits.mirror.saturating_sub(earlier.hits.mirror),
            },
            stale: self.stale.saturating_sub(earlier.stale),
            shares: self.shares.saturating_sub(earlier.shares),
            fetches: self.fetches.since(&earlier.fetches),
            loads: self.loads.since(&earlier.loads),
            stand_ins: self.stand_ins.saturating_sub(earlier.stand_ins),
            evictions: self.evictions.since(&earlier.evictions),
            refusals: self.refusals.since(&earlier.refusals),
            hit_seconds: self.hit_seconds.since(&earlier.hit_seconds),
            fetch_seconds: self.fetch_seconds.since(&earlier.fetch_seconds),
            load_seconds: self.load_seconds.since(&earlier.load_seconds),
            ..self.clone()
        }
    }

    /// Gets that cost no request: neither to an owner nor to the origin. Over all nodes of a cluster these add up to
    /// what the origin was saved. Below nothing where gets led to several requests, as they do while an owner is down.
    pub fn saved(&self) -> i64 {
        let asked = self.fetches.total().saturating_add(self.loads.total());
        let saved = i128::from(self.gets) - i128::from(asked);
        i64::try_from(saved).unwrap_or(if saved < 0 { i64::MIN } else { i64::MAX })
    }

    /// What all entries are charged.
    pub fn weight(&self) -> u64 {
        self.weight_bytes.owned.saturating_add(self.weight_bytes.mirrors)
    }
}

impl PeerCounts {
    fn since(&self, earlier: &Self) -> Self {
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            seconds: self.seconds.since(&earlier.seconds),
            ..self.clone()
        }
    }
}

impl Tally {
    /// The count of one name; nothing where it is not told.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Of all names.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Each name that was counted at all.
    pub fn counted(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, count)| **count > 0).map(|(name, _)| name.as_str())
    }

    fn since(&self, earlier: &Self) -> Self {
        let since = |(name, now): (&String, &u64)| (name.clone(), now.saturating_sub(earlier.get(name)));
        Self(self.0.iter().map(since).collect())
    }
}
