//! The panel of canned snapshots, to the letter.

use serde_json::{Value, json};

use super::*;

/// A node that has been up for an hour.
fn told() -> Value {
    json!({
        "node": "a", "version": "0.1.0", "uptime_seconds": 3600.0, "dialect": "native", "placement": "slots",
        "view": "a1b2c3d4e5f60718",
        "groups": [{
            "group": "scores", "gets": 1000, "hits": {"memory": 700, "mirror": 100}, "stale": 0, "shares": 50,
            "fetches": {"found": 100, "unreachable": 0}, "loads": {"found": 40, "not_found": 10, "failed": 0},
            "stand_ins": 0, "mirrors": 5, "evictions": {"room": 3, "expired": 12_345, "replaced": 0},
            "refusals": {"key": 0, "waiters": 0},
            "weight_bytes": {"owned": 16_777_216, "mirrors": 1_048_576}, "capacity_bytes": 67_108_864,
            "flights": 0, "waiters": 0,
            "hit_seconds": {"count": 800, "sum": 0.1, "buckets": [[0.00001, 200], [0.00005, 600], [0.0001, 800]]},
            "fetch_seconds": {"count": 100, "sum": 0.1, "buckets": [[0.0005, 90], [10.0, 98]]},
            "load_seconds": {"count": 50, "sum": 1.0, "buckets": [[0.0005, 0], [0.025, 0], [0.05, 50], [10.0, 50]]},
        }],
        "peers": [
            {"member": "http://127.0.0.1:8001", "self": true, "share": 0.3333},
            {"member": "http://127.0.0.1:8002", "self": false, "share": 0.3333, "state": "up", "failures": 0,
             "requests": 100, "seconds": {"count": 100, "sum": 0.1, "buckets": [[0.0005, 90], [0.001, 100]]}},
            {"member": "http://127.0.0.1:8003", "self": false, "share": 0.3334, "state": "resting", "failures": 3,
             "rest_ms": 1500, "requests": 0, "seconds": {"count": 0, "sum": 0.0, "buckets": [[0.0005, 0]]}},
        ],
        "refusals": {"no_group": 0}, "cuts": {"malformed": 0, "stalled": 0}, "view_mismatches": 0, "listeners": [],
    })
}

/// The same node two seconds later.
fn told_later() -> Value {
    let mut told = told();
    told["uptime_seconds"] = json!(3602.0);
    let group = &mut told["groups"][0];
    group["gets"] = json!(1400);
    group["hits"]["memory"] = json!(1000);
    group["fetches"] = json!({"found": 100, "unreachable": 100});
    group["refusals"]["waiters"] = json!(7);
    group["stand_ins"] = json!(100);
    group["evictions"]["room"] = json!(5);
    group["hit_seconds"] =
        json!({"count": 1100, "buckets": [[0.00001, 500], [0.00005, 900], [0.0001, 1100]]});
    told["peers"][1]["requests"] = json!(200);
    told["refusals"]["no_group"] = json!(2);
    told["cuts"]["stalled"] = json!(1);
    told["view_mismatches"] = json!(1);
    told
}

fn read(told: Value) -> Snapshot {
    serde_json::from_value(told).unwrap()
}

#[test]
fn one_shot_shows_all_since_the_start() {
    let expected = "\
node a, carrot 0.1.0, up 1 h, native, slots, view a1b2c3d4e5f60718

group   over   gets   /s  memory  mirror  shared  fetched  loaded  loads  saved
scores  start  1000  0.3     70%     10%      5%      10%      5%     50    850

group   over   hit p50    p99  fetch p50    p99  load p50      p99
scores  start    30 µs  98 µs    <500 µs  >10 s   37.5 ms  49.8 ms

group   over   evicted  expired  weight  capacity   full  mirrors
scores  start        3    12.3k  17 MiB    64 MiB  26.6%    1 MiB

member                 share  state          over   requests    /s      p50     p99
http://127.0.0.1:8001  33.3%  this node
http://127.0.0.1:8002  33.3%  up             start       100  <0.1  <500 µs  950 µs
http://127.0.0.1:8003  33.3%  resting 1.5 s  start         0     0        -       -
";
    assert_eq!(panel(&read(told()), None), expected);
}

#[test]
fn a_second_snapshot_adds_what_came_in_between_and_what_went_wrong() {
    let expected = "\
node a, carrot 0.1.0, up 1 h, native, slots, view a1b2c3d4e5f60718

group   over   gets   /s  memory  mirror  shared  fetched  loaded  loads  saved
scores  2 s     400  200     75%      0%      0%      25%      0%      0    300
        start  1400  0.4   71.4%    7.1%    3.6%    14.3%    3.6%     50   1150

group   over   hit p50      p99  fetch p50    p99  load p50      p99
scores  2 s     <10 µs   <10 µs          -      -         -        -
        start    15 µs  97.2 µs    <500 µs  >10 s   37.5 ms  49.8 ms

group   over   evicted  expired  weight  capacity   full  mirrors
scores  2 s          2        0  17 MiB    64 MiB  26.6%    1 MiB
        start        5    12.3k  17 MiB    64 MiB  26.6%    1 MiB

group   trouble                  since start  lately
-       refused: no_group                  2       2
-       connection cut: stalled            1       1
-       view of a peer differs             1       1
scores  refused: waiters                   7       7
scores  fetch: unreachable               100     100
scores  owner out of reach               100     100

member                 share  state          over   requests    /s      p50     p99
http://127.0.0.1:8001  33.3%  this node
http://127.0.0.1:8002  33.3%  up             2 s         100    50        -       -
                                             start       200  <0.1  <500 µs  950 µs
http://127.0.0.1:8003  33.3%  resting 1.5 s  2 s           0     0        -       -
                                             start         0     0        -       -
";
    assert_eq!(panel(&read(told_later()), Some(&read(told()))), expected);
}

#[test]
fn a_node_that_was_started_anew_is_counted_from_its_start() {
    let (before, mut again) = (read(told_later()), told());
    again["uptime_seconds"] = json!(0.5);
    let again = read(again);
    assert_eq!(panel(&again, Some(&before)), panel(&again, None));
}

#[test]
fn names_of_strangers_and_numbers_that_cannot_be_stay_within_a_hundred_columns() {
    let mut told = told_later();
    let long = format!("\u{1b}[31m{}", "x".repeat(10_000));
    for text in ["node", "version", "dialect", "placement", "view"] {
        told[text] = json!(long);
    }
    let group = &mut told["groups"][0];
    group["group"] = json!(long);
    for number in ["gets", "stale", "shares", "stand_ins", "capacity_bytes"] {
        group[number] = json!(u64::MAX);
    }
    for tally in ["fetches", "loads", "evictions", "refusals"] {
        group[tally] = json!({"room": u64::MAX, "expired": u64::MAX, (long.clone()): u64::MAX});
    }
    group["weight_bytes"] = json!({"owned": u64::MAX, "mirrors": u64::MAX});
    for peer in 1..3 {
        told["peers"][peer]["member"] = json!(long);
        told["peers"][peer]["state"] = json!(long);
        told["peers"][peer]["share"] = json!(1e300);
        told["peers"][peer]["requests"] = json!(u64::MAX);
    }
    let mut before = told.clone();
    before["uptime_seconds"] = json!(1.0);
    let shown = panel(&read(told), Some(&read(before)));
    assert!(!shown.contains('\u{1b}'), "{shown}");
    // The line on the node itself is as long as its operator's words, each of them cut.
    let widest = shown.lines().skip(1).max_by_key(|line| line.chars().count()).unwrap();
    assert!(widest.chars().count() <= 100, "{widest}");
    assert!(shown.lines().all(|line| line.chars().count() < 200));
}

#[test]
fn a_group_or_a_peer_that_is_new_is_counted_whole() {
    let (mut before, now) = (told(), read(told_later()));
    before["groups"] = json!([]);
    before["peers"] = json!([]);
    let since = now.since(&read(before)).unwrap();
    assert_eq!((&since.groups, &since.peers), (&now.groups, &now.peers));
}

#[test]
fn what_is_missing_is_named_and_what_is_more_is_passed_over() {
    let mut told = told();
    told["console"] = json!(true);
    assert!(serde_json::from_value::<Snapshot>(told.clone()).is_ok());
    told["groups"][0].as_object_mut().unwrap().remove("gets");
    let error = serde_json::from_value::<Snapshot>(told).unwrap_err();
    assert_eq!(error.to_string(), "missing field `gets`");
}
