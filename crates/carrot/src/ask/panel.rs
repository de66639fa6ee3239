//! What `carrot stat` shows: a node's counts as four tables.
//!
//! Pure: one or two snapshots in, text out, at most a hundred columns wide. Each group and each peer has a line for
//! what came since the snapshot before, if there was one, and a line for all since the node's start.

use std::collections::HashMap;

use crate::amount::{bytes, count, long_time, percent, rate, seconds, signed};
use crate::ask::counts::{GroupCounts, PeerCounts, Snapshot, Tally};
use crate::line::in_one_line;
use crate::table::{Column, Table, fit, name, number};

/// As much of a group's name as is shown; it may be 64 characters long.
const GROUP: Column = name("group", 16);
/// Over which time a line counts.
const OVER: Column = name("over", 8);

/// Counts over one stretch of time.
struct Period {
    /// How long it was.
    label: String,
    seconds: f64,
    counts: Snapshot,
}

/// The tables of `now`, with what came since `before`.
pub fn panel(now: &Snapshot, before: Option<&Snapshot>) -> String {
    let since = before.and_then(|before| now.since(before));
    let lately = since.map(|counts| Period::new(seconds(counts.uptime_seconds), counts));
    let periods: Vec<Period> =
        lately.into_iter().chain([Period::new("start".to_owned(), now.clone())]).collect();
    let tables = [gets(&periods), times(&periods), memory(&periods), troubles(&periods), peers(&periods)];
    let shown = tables.iter().filter(|table| !table.is_empty()).map(|table| format!("\n{table}"));
    format!("{}\n{}", title(now), shown.collect::<String>())
}

impl Period {
    fn new(label: String, counts: Snapshot) -> Self {
        Self { label, seconds: counts.uptime_seconds, counts }
    }

    /// What went wrong in the group at that place, or in the node.
    fn troubles(&self, at: Option<usize>) -> Vec<(String, u64)> {
        at.map_or_else(|| of_node(&self.counts), |at| of_group(&self.counts.groups[at]))
    }
}

/// One line on the node itself.
fn title(now: &Snapshot) -> String {
    let text = |text: &str| fit(&in_one_line(text), 24);
    format!(
        "node {}, carrot {}, up {}, {}, {}, view {}",
        text(&now.node),
        text(&now.version),
        long_time((now.uptime_seconds * 1000.0) as u64),
        text(&now.dialect),
        text(&now.placement),
        text(&now.view)
    )
}

/// Where gets were answered.
fn gets(periods: &[Period]) -> Table {
    let mut table = Table::new(&[
        GROUP,
        OVER,
        number("gets"),
        number("/s"),
        number("memory"),
        number("mirror"),
        number("shared"),
        number("fetched"),
        number("loaded"),
        number("loads"),
        number("saved"),
    ]);
    of_groups(&mut table, periods, |group, seconds| {
        let part = |n| percent(n, group.gets);
        vec![
            count(group.gets),
            rate(group.gets, seconds),
            part(group.hits.memory),
            part(group.hits.mirror),
            part(group.shares),
            part(group.fetches.total()),
            part(group.loads.total()),
            count(group.loads.total()),
            signed(group.saved()),
        ]
    });
    table
}

/// How long it took.
fn times(periods: &[Period]) -> Table {
    let mut table = Table::new(&[
        GROUP,
        OVER,
        number("hit p50"),
        number("p99"),
        number("fetch p50"),
        number("p99"),
        number("load p50"),
        number("p99"),
    ]);
    of_groups(&mut table, periods, |group, _| {
        let all = [&group.hit_seconds, &group.fetch_seconds, &group.load_seconds];
        all.iter()
            .flat_map(|times| [times.quantile(0.5), times.quantile(0.99)])
            .map(|q| q.to_string())
            .collect()
    });
    table
}

/// What is held, and what had to leave.
fn memory(periods: &[Period]) -> Table {
    let mut table = Table::new(&[
        GROUP,
        OVER,
        number("evicted"),
        number("expired"),
        number("weight"),
        number("capacity"),
        number("full"),
        number("mirrors"),
    ]);
    of_groups(&mut table, periods, |group, _| {
        let mirrors = group.weight_bytes.mirrors;
        vec![
            count(group.evictions.get("room")),
            count(group.evictions.get("expired")),
            bytes(group.weight()),
            bytes(group.capacity_bytes),
            percent(group.weight(), group.capacity_bytes),
            bytes(mirrors),
        ]
    });
    table
}

/// Adds the lines of all groups.
fn of_groups(table: &mut Table, periods: &[Period], cells: impl Fn(&GroupCounts, f64) -> Vec<String>) {
    let groups = periods.first().map_or(0, |period| period.counts.groups.len());
    for at in 0..groups {
        for (n, period) in periods.iter().enumerate() {
            // A period holds the groups of the present snapshot, in its order.
            let group = &period.counts.groups[at];
            let named = if n == 0 { group.group.clone() } else { String::new() };
            table.row([named, period.label.clone()].into_iter().chain(cells(group, period.seconds)));
        }
    }
}

/// What was refused or failed since the start, and lately; nothing where nothing was.
fn troubles(periods: &[Period]) -> Table {
    let columns = [GROUP, name("trouble", 40), number("since start"), number("lately")];
    let Some((start, lately)) = periods.split_last() else { return Table::new(&columns) };
    let mut table = Table::new(&columns[..3 + lately.len()]);
    let groups = start.counts.groups.len();
    for at in [None].into_iter().chain((0..groups).map(Some)) {
        let group = at.map_or("-", |at| start.counts.groups[at].group.as_str());
        let lately = lately.iter().map(|period| period.troubles(at).into_iter().collect());
        let lately: Vec<HashMap<String, u64>> = lately.collect();
        for (trouble, all) in start.troubles(at) {
            let recent = lately.iter().map(|of| of.get(&trouble).copied().unwrap_or_default());
            let numbers = [all].into_iter().chain(recent).map(count);
            table.row([group.to_owned(), trouble.clone()].into_iter().chain(numbers));
        }
    }
    table
}

/// Troubles of a node that no group has seen, with their counts.
fn of_node(counts: &Snapshot) -> Vec<(String, u64)> {
    let of = |what: &'static str, tally: &Tally| {
        tally.counted().map(|cause| (format!("{what}: {cause}"), tally.get(cause))).collect::<Vec<_>>()
    };
    let cut = of("connection cut", &counts.cuts);
    let mismatches = (counts.view_mismatches > 0).then_some(counts.view_mismatches);
    let mismatches = mismatches.map(|n| ("view of a peer differs".to_owned(), n));
    of("refused", &counts.refusals).into_iter().chain(cut).chain(mismatches).collect()
}

/// Troubles of a group, with their counts. That a key has no value is none.
fn of_group(group: &GroupCounts) -> Vec<(String, u64)> {
    let of = |what: &'static str, tally: &Tally| {
        let counted = tally.counted().filter(|name| !matches!(*name, "found" | "not_found" | "not_cached"));
        counted.map(|name| (format!("{what}: {name}"), tally.get(name))).collect::<Vec<_>>()
    };
    let plain = [("owner out of reach", group.stand_ins), ("answered stale", group.stale)];
    let plain = plain.into_iter().filter(|(_, n)| *n > 0).map(|(what, n)| (what.to_owned(), n));
    [of("refused", &group.refusals), of("fetch", &group.fetches), of("load", &group.loads)]
        .into_iter()
        .flatten()
        .chain(plain)
        .collect()
}

/// Whom this node asks.
fn peers(periods: &[Period]) -> Table {
    let mut table = Table::new(&[
        name("member", 32),
        number("share"),
        name("state", 16),
        OVER,
        number("requests"),
        number("/s"),
        number("p50"),
        number("p99"),
    ]);
    let peers = periods.first().map_or(0, |period| period.counts.peers.len());
    for at in 0..peers {
        for (n, period) in periods.iter().enumerate() {
            let peer = &period.counts.peers[at];
            let known = if n == 0 { of_peer(peer) } else { Default::default() };
            // Nobody asks itself.
            let asked = (!peer.is_self).then(|| asked(peer, period));
            if n == 0 || asked.is_some() {
                table.row(known.into_iter().chain(asked.into_iter().flatten()));
            }
        }
    }
    table
}

fn of_peer(peer: &PeerCounts) -> [String; 3] {
    let rest = peer.rest_ms.filter(|ms| *ms > 0).map(|ms| format!(" {}", seconds(ms as f64 / 1000.0)));
    let state = if peer.is_self { "this node" } else { peer.state.as_deref().unwrap_or("-") };
    let share = percent((peer.share.clamp(0.0, 1.0) * 1e6) as u64, 1_000_000);
    [peer.member.clone(), share, format!("{state}{}", rest.unwrap_or_default())]
}

fn asked(peer: &PeerCounts, period: &Period) -> [String; 5] {
    let quantile = |q| peer.seconds.quantile(q).to_string();
    [
        period.label.clone(),
        count(peer.requests),
        rate(peer.requests, period.seconds),
        quantile(0.5),
        quantile(0.99),
    ]
}

#[cfg(test)]
mod tests;
