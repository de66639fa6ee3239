//! That no count is lost, and that labels and snapshots say what was counted.

use std::collections::HashSet;
use std::thread;

use super::*;

#[test]
fn no_addition_is_lost_however_many_threads_add() {
    let counter = Counter::default();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| (0..10_000).for_each(|_| counter.add(2)));
        }
    });
    assert_eq!(counter.get(), 400_000);
}

#[test]
fn a_thread_keeps_its_stripe_and_threads_do_not_all_share_one() {
    let mine = stripe();
    assert!((0..100).all(|_| stripe() == mine));
    // All alive at once, so that their stacks and thread-locals are 32 different places.
    let barrier = std::sync::Barrier::new(32);
    let stripes: HashSet<usize> = thread::scope(|scope| {
        let threads: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    stripe()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(stripes.len() >= 4, "{stripes:?}");
}

#[test]
fn each_label_is_counted_for_itself_and_read_by_its_name() {
    let tally = Tally::new(LoadOutcome::ALL);
    tally.add(LoadOutcome::Found);
    tally.add(LoadOutcome::Busy);
    tally.add(LoadOutcome::Busy);
    let counts = tally.snapshot();
    tally.add(LoadOutcome::Failed);
    assert_eq!(counts.get(LoadOutcome::Busy), 2);
    assert_eq!(counts.total(), 3, "a snapshot stands still");
    let seen: Vec<_> = counts.iter().filter(|(_, n)| *n > 0).map(|(l, n)| (l.as_str(), n)).collect();
    assert_eq!(seen, [("found", 1), ("busy", 2)]);
}

fn names_are_distinct_labels<L: Copy + Into<usize>>(all: &[L], as_str: fn(L) -> &'static str) {
    let names: HashSet<_> = all.iter().map(|label| as_str(*label)).collect();
    assert_eq!(names.len(), all.len());
    assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
    assert!(all.iter().enumerate().all(|(n, label)| (*label).into() == n), "ALL is in counting order");
}

#[test]
fn labels_are_distinct_and_fit_to_be_metric_labels() {
    names_are_distinct_labels(HitSource::ALL, HitSource::as_str);
    names_are_distinct_labels(FetchOutcome::ALL, FetchOutcome::as_str);
    names_are_distinct_labels(LoadOutcome::ALL, LoadOutcome::as_str);
    names_are_distinct_labels(EvictionCause::ALL, EvictionCause::as_str);
    names_are_distinct_labels(Region::ALL, Region::as_str);
    names_are_distinct_labels(Refusal::ALL, Refusal::as_str);
}

#[test]
fn a_histogram_counts_each_in_its_bucket_and_those_above() {
    let histogram = Histogram::default();
    for us in [0, 2, 40, 1000, 2000, 30_000, 60_000_000] {
        histogram.observe(Duration::from_micros(us));
    }
    let seen = histogram.snapshot();
    let up_to = |bound: f64| seen.buckets.iter().find(|(b, _)| *b == bound).unwrap().1;
    // 1 ms lies on a bound, and a bound belongs to the bucket below it.
    assert_eq!([0.000_001, 0.000_002_5, 0.000_025, 0.000_05].map(up_to), [1, 2, 2, 3]);
    assert_eq!([0.0005, 0.001, 0.0025, 0.025, 0.05, 10.0].map(up_to), [3, 4, 5, 5, 6, 6]);
    assert_eq!(seen.count, 7);
    assert!((seen.sum_seconds - 60.033_042).abs() < 1e-9, "{}", seen.sum_seconds);
}

#[test]
fn bounds_rise() {
    assert!(BOUNDS.is_sorted());
}

#[test]
fn a_snapshot_holds_what_was_counted_and_what_the_group_holds() {
    let (group, node) = (GroupStats::default(), NodeStats::default());
    group.gets.add(3);
    group.hits.add(HitSource::Mirror);
    group.fetches.add(FetchOutcome::Unreachable);
    group.stand_ins.add(1);
    group.fetch_seconds.observe(Duration::from_millis(500));
    node.refusals.add(Refusal::Malformed);
    node.view_mismatches.add(1);
    let gauges = Gauges { owned_bytes: 70, mirrors_bytes: 10, capacity_bytes: 80, flights: 2, waiters: 5 };
    let stats = node.snapshot(vec![group.snapshot(GroupName::new("scores").unwrap(), gauges)]);

    let scores = &stats.groups[0];
    assert_eq!((scores.group.as_str(), scores.gets, scores.hits.total()), ("scores", 3, 1));
    assert_eq!(scores.hits.get(HitSource::Mirror), 1);
    assert_eq!(scores.fetches.get(FetchOutcome::Unreachable), 1);
    assert_eq!((scores.stand_ins, scores.fetch_seconds.count), (1, 1));
    let regions = [Region::Owned, Region::Mirrors].map(|region| scores.weight_bytes.get(region));
    assert_eq!((regions, scores.capacity_bytes), ([70, 10], 80));
    assert_eq!((scores.flights, scores.waiters), (2, 5));
    assert_eq!((stats.refusals.get(Refusal::Malformed), stats.view_mismatches), (1, 1));
}
