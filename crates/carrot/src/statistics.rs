//! The answer to `/admin/stats`: what a node has counted, as JSON, for commands and for people.
//!
//! The same numbers as on `/metrics`, and what is known of each peer, which is too much to keep a series for. Made
//! anew for each request from the library's snapshots. Keys are fixed words, groups and members of the configuration,
//! never what a client sent.

use std::collections::HashMap;
use std::time::Duration;

use carrotcache::net::listen::ListenStats;
use carrotcache::{
    Cluster, Counts, Cut, EvictionCause, FetchOutcome, GroupSnapshot, HistogramSnapshot, HitSource,
    LoadOutcome, PeerRequests, PeerSnapshot, PeerState, Refusal, Region,
};
use serde_json::{Map, Value, json};

use crate::resp::CountsSnapshot;

/// What a node's fronts know beside the cluster.
pub struct Fronts {
    /// Since the node has answered.
    pub uptime: Duration,
    /// How long hits took at the data front, by group.
    pub hit_seconds: HashMap<String, HistogramSnapshot>,
    /// Each listener by its name.
    pub listeners: Vec<(&'static str, ListenStats)>,
    /// What the Redis front was asked, if there is one.
    pub commands: Option<CountsSnapshot>,
}

/// The page.
pub fn json(cluster: &Cluster, fronts: &Fronts) -> String {
    let stats = cluster.stats();
    json!({
        "node": cluster.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": fronts.uptime.as_secs_f64(),
        "dialect": cluster.dialect().map(|dialect| dialect.to_string()),
        "placement": cluster.placement().to_string(),
        "view": format!("{:016x}", cluster.view_hash()),
        "groups": stats.groups.iter().map(|group| group_of(group, &fronts.hit_seconds)).collect::<Vec<_>>(),
        "memory": stats.memory.map(|memory| json!({
            "used_bytes": memory.used_bytes,
            "capacity_bytes": memory.capacity_bytes,
        })),
        "peers": cluster.peers().iter().map(peer).collect::<Vec<_>>(),
        "refusals": counts(&stats.refusals, Refusal::as_str),
        "cuts": counts(&stats.cuts, Cut::as_str),
        "view_mismatches": stats.view_mismatches,
        "listeners": fronts.listeners.iter().map(listener).collect::<Vec<_>>(),
        "resp": fronts.commands.map(|counts| json!({ "commands": counts.commands, "errors": counts.errors })),
    })
    .to_string()
}

fn group_of(group: &GroupSnapshot, hit_seconds: &HashMap<String, HistogramSnapshot>) -> Value {
    json!({
        "group": group.group.as_str(),
        "gets": group.gets,
        "hits": counts(&group.hits, HitSource::as_str),
        "stale": group.stale,
        "shares": group.shares,
        "fetches": counts(&group.fetches, FetchOutcome::as_str),
        "loads": counts(&group.loads, LoadOutcome::as_str),
        "stand_ins": group.stand_ins,
        "mirrors": group.mirrors,
        "evictions": counts(&group.evictions, EvictionCause::as_str),
        "refusals": counts(&group.refusals, Refusal::as_str),
        "weight_bytes": counts(&group.weight_bytes, Region::as_str),
        "capacity_bytes": group.capacity_bytes,
        "flights": group.flights,
        "waiters": group.waiters,
        "hit_seconds": hit_seconds.get(group.group.as_str()).map(times),
        "fetch_seconds": times(&group.fetch_seconds),
        "load_seconds": times(&group.load_seconds),
    })
}

fn peer(peer: &PeerSnapshot) -> Value {
    let name = &*peer.member.name;
    match &peer.asked {
        None => json!({ "member": name, "self": true, "share": peer.share }),
        Some(asked) => asked_of(name, peer.share, asked),
    }
}

fn asked_of(name: &str, share: f64, asked: &PeerRequests) -> Value {
    let (state, rest) = match asked.state {
        PeerState::Untried => ("untried", Duration::ZERO),
        PeerState::Resting { wait } => ("resting", wait),
        // Up, and whatever a later library may add: it is asked.
        _ => ("up", Duration::ZERO),
    };
    json!({
        "member": name,
        "self": false,
        "share": share,
        "state": state,
        "failures": asked.failures,
        "rest_ms": u64::try_from(rest.as_millis()).unwrap_or(u64::MAX),
        "requests": asked.requests,
        "seconds": times(&asked.seconds),
    })
}

fn listener((name, stats): &(&'static str, ListenStats)) -> Value {
    json!({
        "listener": name,
        "open": stats.open,
        "accepted": stats.accepted,
        "full": stats.full,
        "overdue": stats.overdue,
        "panics": stats.panics,
    })
}

fn counts<L: Copy + Into<usize>>(counts: &Counts<L>, name: impl Fn(L) -> &'static str) -> Value {
    Value::Object(
        counts.iter().map(|(label, count)| (name(label).to_owned(), json!(count))).collect::<Map<_, _>>(),
    )
}

fn times(times: &HistogramSnapshot) -> Value {
    json!({ "count": times.count, "sum": times.sum_seconds, "buckets": times.buckets })
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::{BoxError, Histogram, Key};

    #[tokio::test]
    async fn what_happened_is_told_under_the_words_of_the_metrics() {
        let cluster = Cluster::local().start().await.unwrap();
        let load = |key: Key| async move { Ok::<_, BoxError>((key.as_bytes() == b"Tom").then_some("630")) };
        let group = cluster.group("scores").open(load).unwrap();
        for _ in 0..3 {
            group.get("Tom").await.unwrap();
        }
        group.get("Tim").await.unwrap_err();
        cluster.count_refusal(Refusal::Malformed);
        let hits = Histogram::default();
        hits.observe(Duration::from_micros(2));
        let fronts = Fronts {
            uptime: Duration::from_millis(12_300),
            hit_seconds: HashMap::from([("scores".to_owned(), hits.snapshot())]),
            listeners: vec![("http", ListenStats::default())],
            commands: Some(CountsSnapshot { commands: 9, errors: 2 }),
        };
        let page: Value = serde_json::from_str(&json(&cluster, &fronts)).unwrap();
        assert_eq!(page["view"].as_str().unwrap().len(), 16);
        for (at, expected) in [
            ("/node", json!("local")),
            ("/version", json!(env!("CARGO_PKG_VERSION"))),
            ("/uptime_seconds", json!(12.3)),
            ("/dialect", json!(null)),
            ("/placement", json!("slots")),
            ("/view_mismatches", json!(0)),
            ("/refusals/malformed", json!(1)),
            (
                "/cuts",
                json!({ "malformed": 0, "unasked": 0, "overdue": 0, "stalled": 0, "silent": 0, "unanswered": 0 }),
            ),
            ("/memory", json!(null)),
            ("/peers", json!([{ "member": "local", "self": true, "share": 1.0 }])),
            (
                "/listeners",
                json!([{ "listener": "http", "open": 0, "accepted": 0, "full": 0, "overdue": 0, "panics": 0 }]),
            ),
            ("/resp", json!({ "commands": 9, "errors": 2 })),
            ("/groups/0/group", json!("scores")),
            ("/groups/0/gets", json!(4)),
            ("/groups/0/hits", json!({ "memory": 2, "mirror": 0 })),
            ("/groups/0/loads/found", json!(1)),
            ("/groups/0/loads/not_found", json!(1)),
            ("/groups/0/fetches/found", json!(0)),
            ("/groups/0/evictions", json!({ "room": 0, "expired": 0, "replaced": 0, "removed": 0 })),
            ("/groups/0/weight_bytes/mirrors", json!(0)),
            ("/groups/0/capacity_bytes", json!(64 << 20)),
            ("/groups/0/load_seconds/count", json!(2)),
            ("/groups/0/hit_seconds/count", json!(1)),
            ("/groups/0/hit_seconds/sum", json!(0.000_002)),
            ("/groups/0/hit_seconds/buckets/0", json!([0.000_001, 0])),
            ("/groups/0/hit_seconds/buckets/1", json!([0.000_002_5, 1])),
            ("/groups/0/hit_seconds/buckets/21", json!([10.0, 1])),
        ] {
            assert_eq!(page.pointer(at), Some(&expected), "{at} in {page:#}");
        }
        assert!(page.pointer("/groups/0/weight_bytes/owned").unwrap().as_u64() > Some(6));
    }
}
