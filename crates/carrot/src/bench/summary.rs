//! What was found, for eyes and for programs.

use std::collections::BTreeMap;
use std::fmt::Write;

use carrot_load::drive::{Findings, Load};
use carrotcache::GroupName;
use serde::Serialize;

use crate::amount::{bytes, count, rate, seconds};
use crate::bench::target::Target;
use crate::table::{Table, name, number};

/// Percentiles that are told, of those that a plot has too.
pub const PERCENTILES: [f64; 12] = [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 99.999];
/// The longest name of a kind of error.
const KIND: usize = 60;

/// A finding and what it is of.
pub struct Summary<'a> {
    pub node: &'a Target,
    pub group: &'a GroupName,
    pub load: &'a Load,
    pub found: &'a Findings,
}

#[derive(Serialize)]
struct Object<'a> {
    node: String,
    group: &'a str,
    connections: usize,
    pipeline: usize,
    rate: Option<f64>,
    seconds: f64,
    values: u64,
    value_bytes: u64,
    not_found: u64,
    errors: &'a BTreeMap<String, u64>,
    per_second: f64,
    latency_us: Latency,
    percentiles: Vec<(f64, f64)>,
}

#[derive(Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Summary<'_> {
    /// An object in one line.
    ///
    /// # Errors
    /// None that is known: names and numbers are JSON.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        let tally = &self.found.tally;
        let object = Object {
            node: self.node.to_string(),
            group: self.group.as_str(),
            connections: self.load.connections,
            pipeline: self.load.depth,
            rate: self.load.rate,
            seconds: self.found.lasted.as_secs_f64(),
            values: tally.values,
            value_bytes: tally.value_bytes,
            not_found: tally.missing,
            errors: &tally.errors,
            per_second: (tally.values + tally.missing) as f64 / self.found.lasted.as_secs_f64(),
            latency_us: Latency {
                p50: self.micros(50.0),
                p90: self.micros(90.0),
                p99: self.micros(99.0),
                p99_9: self.micros(99.9),
                max: tally.latency.max().as_secs_f64() * 1e6,
            },
            percentiles: PERCENTILES.map(|percent| (percent, self.micros(percent))).to_vec(),
        };
        Ok(format!("{}\n", serde_json::to_string(&object)?))
    }

    fn micros(&self, percent: f64) -> f64 {
        // Told to a hundredth anyway.
        (self.found.tally.latency.quantile(percent / 100.0).as_secs_f64() * 1e8).round() / 100.0
    }

    /// A few lines.
    pub fn text(&self) -> String {
        let (tally, lasted) = (&self.found.tally, self.found.lasted.as_secs_f64());
        let how = match self.load.rate {
            Some(rate) => format!("{} a second planned", count(rate.round() as u64)),
            None => "as fast as it answers".to_owned(),
        };
        let mut text = format!(
            "{} group {}: {} connections, pipeline {}, {how}, {}\n\n",
            self.node,
            self.group,
            self.load.connections,
            self.load.depth,
            seconds(lasted),
        );
        let mut table = Table::new(&[name("", KIND), number("in all"), number("a second")]);
        let mut row = |what: &str, n: u64| table.row([what.to_owned(), count(n), rate(n, lasted)]);
        row("values", tally.values);
        row("not found", tally.missing);
        row("errors", tally.failed());
        for (kind, count) in &tally.errors {
            row(&format!("  {kind}"), *count);
        }
        let mean = tally.value_bytes.checked_div(tally.values).unwrap_or_default();
        let traffic = bytes((tally.value_bytes as f64 / lasted) as u64);
        let _ = write!(text, "{table}values of {} on average, {traffic} a second\n\n", bytes(mean));
        if tally.missing > 0 {
            text.push_str(
                "each key not found was asked of the origin: its absence is not cached; see --keys-from\n\n",
            );
        }
        let told = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];
        let mut latency =
            Table::new(&[number("p50"), number("p90"), number("p99"), number("p99.9"), number("max")]);
        let at = |(_, percent): (&str, f64)| seconds(tally.latency.quantile(percent / 100.0).as_secs_f64());
        latency.row(told.map(at).into_iter().chain([seconds(tally.latency.max().as_secs_f64())]));
        let from = if self.load.rate.is_some() { "its planned time" } else { "the time it was sent" };
        let _ = write!(text, "latency of an answer, from {from}\n{latency}");
        text
    }
}
