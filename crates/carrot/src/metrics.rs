//! What a node has counted, as OpenMetrics text.
//!
//! Made anew for each scrape from the library's snapshot: no second set of numbers, and nothing that grows between
//! scrapes. Labels are groups of the configuration and fixed words, never what a client sent.

use std::collections::HashMap;
use std::fmt;

use carrotcache::net::listen::ListenStats;
use carrotcache::{
    Counts, EvictionCause, FetchOutcome, GroupSnapshot, HistogramSnapshot, HitSource, LoadOutcome, Region,
    Stats,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::resp::CountsSnapshot;

/// The page that `/metrics` answers. `hit_seconds` are the data front's, by group.
///
/// # Errors
/// Never in practice: it is written into memory.
pub fn encode(
    stats: Stats,
    hit_seconds: HashMap<String, HistogramSnapshot>,
    listeners: Vec<(&'static str, ListenStats)>,
    commands: Option<CountsSnapshot>,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { stats, hit_seconds, listeners, commands }));
    let mut page = String::new();
    text::encode(&mut page, &registry)?;
    Ok(page)
}

#[derive(Debug)]
struct Page {
    stats: Stats,
    hit_seconds: HashMap<String, HistogramSnapshot>,
    /// Each by its name.
    listeners: Vec<(&'static str, ListenStats)>,
    /// Of the Redis front.
    commands: Option<CountsSnapshot>,
}

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut sheet = Sheet { encoder, groups: &self.stats.groups };
        sheet.count("carrot_gets", "Gets of callers and of peers", |group| group.gets)?;
        sheet.counts("carrot_hits", "Gets answered from this node's memory", "source", |group| {
            labelled(&group.hits, HitSource::as_str)
        })?;
        sheet.count("carrot_stale", "Answers marked stale, past their ttl", |group| group.stale)?;
        sheet.count("carrot_shares", "Gets that joined another's flight", |group| group.shares)?;
        sheet.counts("carrot_fetches", "Requests to other nodes", "outcome", |group| {
            labelled(&group.fetches, FetchOutcome::as_str)
        })?;
        sheet.counts("carrot_loads", "Requests to the origin", "outcome", |group| {
            labelled(&group.loads, LoadOutcome::as_str)
        })?;
        sheet
            .count("carrot_stand_ins", "Flights whose owner could not be reached", |group| group.stand_ins)?;
        sheet.count("carrot_mirrors", "Fetched values kept as mirrors", |group| group.mirrors)?;
        sheet.counts("carrot_evictions", "Entries that left memory", "cause", |group| {
            labelled(&group.evictions, EvictionCause::as_str)
        })?;
        sheet.refusals(&self.stats)?;
        sheet.cuts(&self.stats)?;
        sheet.gauges("carrot_weight", Some(&Unit::Bytes), "What entries are charged", "region", |group| {
            labelled(&group.weight_bytes, Region::as_str)
        })?;
        sheet.gauge("carrot_capacity", Some(&Unit::Bytes), "What entries may be charged", |group| {
            group.capacity_bytes
        })?;
        if let Some(memory) = self.stats.memory {
            sheet.node_bytes(
                "carrot_memory",
                "What entries and values on their way are charged",
                memory.used_bytes,
            )?;
            sheet.node_bytes(
                "carrot_memory_capacity",
                "What they may be charged together",
                memory.capacity_bytes,
            )?;
        }
        sheet.gauge("carrot_flights", None, "Flights under way", |group| group.flights)?;
        sheet.gauge("carrot_waiters", None, "Callers waiting for a flight", |group| group.waiters)?;
        sheet.times(
            "carrot_hit",
            "How long GETs of one key over HTTP took to answer from memory",
            |group| self.hit_seconds.get(group.group.as_str()),
        )?;
        sheet.times("carrot_load", "How long loads took", |group| Some(&group.load_seconds))?;
        sheet.times("carrot_fetch", "How long fetches took", |group| Some(&group.fetch_seconds))?;
        sheet.node_count(
            "carrot_view_mismatches",
            "Replies of peers whose list of members is another",
            self.stats.view_mismatches,
        )?;
        if let Some(CountsSnapshot { commands, errors }) = self.commands {
            sheet.node_count("carrot_resp_commands", "Commands of Redis clients", commands)?;
            sheet.node_count("carrot_resp_errors", "Replies to them that are errors", errors)?;
        }
        sheet.connections(&self.listeners)
    }
}

/// A family of counters: its name, what it says, and its number for one listener.
type OfListener = (&'static str, &'static str, fn(&ListenStats) -> u64);

const CONNECTIONS: [OfListener; 4] = [
    ("carrot_connections_accepted", "Connections accepted", |stats| stats.accepted),
    ("carrot_connections_full", "Times that the limit of connections was reached", |stats| stats.full),
    ("carrot_connections_overdue", "Connections closed because a deadline passed", |stats| stats.overdue),
    ("carrot_connections_broken", "Connections broken by a panic", |stats| stats.panics),
];

/// Pairs of a label's name and its number.
type Labelled = Vec<(&'static str, u64)>;

fn labelled<L: Copy + Into<usize>>(counts: &Counts<L>, name: impl Fn(L) -> &'static str) -> Labelled {
    counts.iter().map(|(label, count)| (name(label), count)).collect()
}

/// Writes one family of numbers after another.
struct Sheet<'e, 'g> {
    encoder: DescriptorEncoder<'e>,
    groups: &'g [GroupSnapshot],
}

impl<'g> Sheet<'_, 'g> {
    fn count(&mut self, name: &str, help: &str, of: impl Fn(&GroupSnapshot) -> u64) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for group in self.groups {
            add_counter(family.encode_family(&[("group", group.group.as_str())])?, of(group))?;
        }
        Ok(())
    }

    fn node_count(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        add_counter(self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?, count)
    }

    fn node_bytes(&mut self, name: &str, help: &str, bytes: u64) -> fmt::Result {
        let unit = Some(&Unit::Bytes);
        self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?.encode_gauge(&bytes)
    }

    fn counts(
        &mut self,
        name: &str,
        help: &str,
        by: &str,
        of: impl Fn(&GroupSnapshot) -> Labelled,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for group in self.groups {
            for (label, count) in of(group) {
                add_counter(family.encode_family(&[("group", group.group.as_str()), (by, label)])?, count)?;
            }
        }
        Ok(())
    }

    /// Refusals of all groups and of none, by cause.
    fn refusals(&mut self, stats: &Stats) -> fmt::Result {
        let help = "Calls and requests refused before anything was started";
        let mut family =
            self.encoder.encode_descriptor("carrot_refusals", help, None, MetricType::Counter)?;
        for (cause, of_node) in stats.refusals.iter() {
            let of_groups: u64 = stats.groups.iter().map(|group| group.refusals.get(cause)).sum();
            add_counter(family.encode_family(&[("cause", cause.as_str())])?, of_node + of_groups)?;
        }
        Ok(())
    }

    /// Connections of frames between nodes, dialled and accepted, that this node has cut, by cause.
    fn cuts(&mut self, stats: &Stats) -> fmt::Result {
        let help = "Connections of frames to and from peers that this node has cut";
        let mut family = self.encoder.encode_descriptor("carrot_cuts", help, None, MetricType::Counter)?;
        for (cause, count) in stats.cuts.iter() {
            add_counter(family.encode_family(&[("cause", cause.as_str())])?, count)?;
        }
        Ok(())
    }

    /// What happened on each listener.
    fn connections(&mut self, listeners: &[(&'static str, ListenStats)]) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(
            "carrot_connections",
            "Connections open now",
            None,
            MetricType::Gauge,
        )?;
        for (name, stats) in listeners {
            family.encode_family(&[("listener", *name)])?.encode_gauge(&(stats.open as u64))?;
        }
        for (family, help, of) in CONNECTIONS {
            let mut family = self.encoder.encode_descriptor(family, help, None, MetricType::Counter)?;
            for (name, stats) in listeners {
                add_counter(family.encode_family(&[("listener", *name)])?, of(stats))?;
            }
        }
        Ok(())
    }

    fn gauge(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        of: impl Fn(&GroupSnapshot) -> u64,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for group in self.groups {
            family.encode_family(&[("group", group.group.as_str())])?.encode_gauge(&of(group))?;
        }
        Ok(())
    }

    fn gauges(
        &mut self,
        name: &str,
        unit: Option<&Unit>,
        help: &str,
        by: &str,
        of: impl Fn(&GroupSnapshot) -> Labelled,
    ) -> fmt::Result {
        let mut family = self.encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for group in self.groups {
            for (label, number) in of(group) {
                family
                    .encode_family(&[("group", group.group.as_str()), (by, label)])?
                    .encode_gauge(&number)?;
            }
        }
        Ok(())
    }

    fn times(
        &mut self,
        name: &str,
        help: &str,
        of: impl Fn(&'g GroupSnapshot) -> Option<&'g HistogramSnapshot>,
    ) -> fmt::Result {
        let unit = Unit::Seconds;
        let mut family = self.encoder.encode_descriptor(name, help, Some(&unit), MetricType::Histogram)?;
        for group in self.groups {
            let Some(times) = of(group) else { continue };
            family.encode_family(&[("group", group.group.as_str())])?.encode_histogram::<NoLabelSet>(
                times.sum_seconds,
                times.count,
                &in_each_bucket(times),
                None,
            )?;
        }
        Ok(())
    }
}

fn add_counter(mut encoder: MetricEncoder<'_>, count: u64) -> fmt::Result {
    encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
}

/// The encoder adds up by itself, and wants the bucket without a bound too.
fn in_each_bucket(times: &HistogramSnapshot) -> Vec<(f64, u64)> {
    let mut below = 0;
    let unbounded = (f64::INFINITY, times.count);
    let cumulative = times.buckets.iter().copied().chain([unbounded]);
    cumulative
        .map(|(bound, count)| (bound, count.saturating_sub(std::mem::replace(&mut below, count))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carrotcache::{BoxError, Cluster, Histogram, Key};
    use std::time::Duration;

    /// The number behind a name and its labels.
    fn number(page: &str, name: &str) -> f64 {
        let line =
            page.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        line.unwrap_or_else(|| panic!("{name} is not in\n{page}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    #[tokio::test]
    async fn the_memory_that_groups_share_is_on_the_page_where_there_is_one() {
        let page = |cluster: &Cluster| encode(cluster.stats(), HashMap::new(), Vec::new(), None).unwrap();
        let cluster = Cluster::local().memory(carrotcache::ByteSize::mib(1)).start().await.unwrap();
        let charge = cluster.memory().charge();
        charge.grow(1000).unwrap();
        let with = page(&cluster);
        assert!((number(&with, "carrot_memory_bytes") - 1000.0).abs() < f64::EPSILON);
        assert!((number(&with, "carrot_memory_capacity_bytes") - f64::from(1 << 20)).abs() < f64::EPSILON);
        assert!((number(&with, r#"carrot_refusals_total{cause="memory"}"#)).abs() < f64::EPSILON);
        assert!(!page(&Cluster::local().start().await.unwrap()).contains("carrot_memory"));
    }

    #[tokio::test]
    async fn what_happened_is_on_the_page_under_its_name() {
        let cluster = Cluster::local().start().await.unwrap();
        let scores = cluster
            .group("scores")
            .open(|key: Key| async move { Ok::<_, BoxError>((key.as_bytes() == b"Tom").then_some("630")) })
            .unwrap();
        for _ in 0..3 {
            scores.get("Tom").await.unwrap();
        }
        scores.get("Tim").await.unwrap_err();
        let hits = Histogram::default();
        hits.observe(Duration::from_micros(2));
        let hits = HashMap::from([("scores".to_owned(), hits.snapshot())]);
        let page = encode(
            cluster.stats(),
            hits,
            vec![("http", ListenStats::default())],
            Some(CountsSnapshot { commands: 9, errors: 2 }),
        )
        .unwrap();
        for (name, expected) in [
            (r#"carrot_gets_total{group="scores"}"#, 4.0),
            (r#"carrot_hits_total{group="scores",source="memory"}"#, 2.0),
            (r#"carrot_loads_total{group="scores",outcome="found"}"#, 1.0),
            (r#"carrot_loads_total{group="scores",outcome="not_found"}"#, 1.0),
            (r#"carrot_fetches_total{group="scores",outcome="found"}"#, 0.0),
            (r#"carrot_shares_total{group="scores"}"#, 0.0),
            (r#"carrot_evictions_total{group="scores",cause="room"}"#, 0.0),
            (r#"carrot_weight_bytes{group="scores",region="mirrors"}"#, 0.0),
            (r#"carrot_capacity_bytes{group="scores"}"#, f64::from(64 << 20)),
            (r#"carrot_flights{group="scores"}"#, 0.0),
            (r#"carrot_refusals_total{cause="waiters"}"#, 0.0),
            (r#"carrot_cuts_total{cause="unasked"}"#, 0.0),
            (r#"carrot_load_seconds_count{group="scores"}"#, 2.0),
            (r#"carrot_load_seconds_bucket{le="+Inf",group="scores"}"#, 2.0),
            (r#"carrot_load_seconds_bucket{le="10.0",group="scores"}"#, 2.0),
            (r#"carrot_hit_seconds_count{group="scores"}"#, 1.0),
            (r#"carrot_hit_seconds_bucket{le="0.000001",group="scores"}"#, 0.0),
            (r#"carrot_hit_seconds_bucket{le="0.0000025",group="scores"}"#, 1.0),
            ("carrot_view_mismatches_total", 0.0),
            ("carrot_resp_commands_total", 9.0),
            ("carrot_resp_errors_total", 2.0),
            (r#"carrot_connections{listener="http"}"#, 0.0),
            (r#"carrot_connections_broken_total{listener="http"}"#, 0.0),
        ] {
            assert!(
                (number(&page, name) - expected).abs() < f64::EPSILON,
                "{name} is not {expected} in\n{page}"
            );
        }
        assert!(number(&page, r#"carrot_weight_bytes{group="scores",region="owned"}"#) > 6.0);
        assert!(page.ends_with("# EOF\n"));
    }
}
