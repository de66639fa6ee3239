//! A small script, and every counter of the nodes that played it.

use super::*;
use crate::stats::{Counts, EvictionCause, FetchOutcome, GroupSnapshot, HitSource, LoadOutcome, Region};

fn stats(node: &Node) -> GroupSnapshot {
    node.stats().groups.remove(0)
}

/// Asserts that just these labels count, and so much.
fn check<L: Copy + Into<usize> + std::fmt::Debug + PartialEq>(counts: &Counts<L>, expected: &[(L, u64)]) {
    let counted: Vec<_> = counts.iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(counted, expected);
}

#[tokio::test(start_paused = true)]
async fn the_counters_say_what_happened() {
    let origin = Origin::new(|key, _| async move {
        clock::sleep(A_SECOND).await;
        match key.to_str()?.parse::<u32>() {
            Ok(_) => Ok(None),
            Err(_) => Ok(Some(Loaded::from(value_of(key.to_str()?)))),
        }
    });
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&with_hot(Hot::Always), &origin);
    let theirs = key(&groups[0], &["b", "c"]);
    let unknown = (0..).map(|n: u32| n.to_string());
    let view = groups[0].shared.around.views.current();
    let unknown =
        unknown.into_iter().find(|key| view.place(groups[0].shared.seed, key.as_bytes()).is_local()).unwrap();

    // Three callers share one flight on a, whose one fetch costs b one load; then a mirror serves a, memory b.
    let three: Vec<_> = (0..3)
        .map(|_| {
            let (group, key) = (groups[0].clone(), theirs.clone());
            tokio::spawn(async move { group.get(key).await })
        })
        .collect();
    settle().await;
    let up = stats(&town.nodes[0]);
    assert_eq!((up.flights, up.waiters, stats(&town.nodes[1]).flights), (1, 3, 1));
    for get in three {
        get.await.unwrap().unwrap();
    }
    groups[0].get(&theirs).await.unwrap();
    groups[1].get(&theirs).await.unwrap();
    // A key the origin does not have, at its owner.
    assert!(matches!(groups[0].get(&unknown).await, Err(GetError::NotFound { .. })));
    // With b away c stands in.
    groups[0].remove(&theirs).await.unwrap();
    town.wires.set("b", Health::Down);
    groups[0].get(&theirs).await.unwrap();

    let a = stats(&town.nodes[0]);
    assert_eq!((a.gets, a.shares, a.stand_ins, a.mirrors), (6, 2, 1, 2));
    check(&a.hits, &[(HitSource::Mirror, 1)]);
    check(&a.fetches, &[(FetchOutcome::Found, 2), (FetchOutcome::Unreachable, 1)]);
    check(&a.loads, &[(LoadOutcome::NotFound, 1)]);
    check(&a.evictions, &[(EvictionCause::Removed, 1)]);
    assert_eq!((a.load_seconds.count, a.fetch_seconds.count), (1, 3));
    assert_eq!(a.weight_bytes.get(Region::Owned), 0);
    assert!(a.weight_bytes.get(Region::Mirrors) > 0);

    let b = stats(&town.nodes[1]);
    assert_eq!((b.gets, b.shares, b.mirrors), (2, 0, 0));
    check(&b.hits, &[(HitSource::Memory, 1)]);
    check(&b.loads, &[(LoadOutcome::Found, 1)]);
    check(&b.fetches, &[]);
    check(&b.evictions, &[(EvictionCause::Removed, 1)]);
    assert_eq!((b.load_seconds.count, b.load_seconds.sum_seconds), (1, 1.0));

    let c = stats(&town.nodes[2]);
    assert_eq!(c.gets, 1);
    check(&c.hits, &[]);
    check(&c.loads, &[(LoadOutcome::Found, 1)]);
    for node in [&a, &b, &c] {
        check(&node.refusals, &[]);
        assert_eq!((node.flights, node.waiters), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn loads_are_counted_by_how_they_ended_and_refused_ones_as_refusals() {
    let origin = Origin::new(|key, _| async move {
        match key.as_bytes() {
            b"fails" => Err("as planned".into()),
            b"panics" => panic!("as planned"),
            b"hangs" => std::future::pending().await,
            _ => Ok(None),
        }
    });
    let town = Town::of(&["a"]);
    let group = open(&town.nodes[0], &Settings { max_loads: 1, ..Settings::default() }, &origin);
    for key in ["fails", "panics", "nothing"] {
        assert!(group.get(key).await.is_err());
    }
    let hanging = tokio::spawn({
        let group = group.clone();
        async move { group.get("hangs").await }
    });
    settle().await;
    assert!(matches!(group.get("nothing").await, Err(GetError::Busy { .. })));
    let late = hanging.await.unwrap().unwrap_err();
    assert_eq!(late.to_string(), "no value of hangs in group scores within 10s");
    let counted = stats(&town.nodes[0]);
    check(
        &counted.loads,
        &[
            (LoadOutcome::NotFound, 1),
            (LoadOutcome::Failed, 1),
            (LoadOutcome::Panicked, 1),
            (LoadOutcome::Deadline, 1),
            (LoadOutcome::Busy, 1),
        ],
    );
    check(&counted.refusals, &[(Refusal::Loads, 1)]);
    assert_eq!(counted.load_seconds.count, 4);
}
