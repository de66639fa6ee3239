//! The sections on what a cache costs: memory, the slow gets, and what keys that collide can do.

use crate::bars::{Bar, Panel, svg};
use crate::engine::results::{Collision, Latency, Memory, Run, TIMER};
use crate::engine::section::{Section, bar, engines, pooled};
use crate::report::Runs;
use crate::table::Table;

pub(crate) fn memory(runs: &[Run]) -> Section {
    let mut table = Table::new(["engine", "entries", "bytes asked an entry", "resident bytes an entry"]);
    let (mut asked_bars, mut resident_bars) = (Vec::new(), Vec::new());
    for (name, found) in engines(runs, |run| &run.memory, |memory: &Memory| &memory.engine) {
        let figure =
            |figure: fn(&Memory) -> f64| found.iter().map(|(_, memory)| figure(memory)).collect::<Runs>();
        let (asked, resident) =
            (figure(|memory| memory.asked_per_entry), figure(|memory| memory.resident_per_entry));
        let entries = figure(|memory| memory.entries as f64).median();
        table.push(vec![name.to_owned(), format!("{entries}"), asked.to_string(), resident.to_string()]);
        asked_bars.push(bar(name, &asked, 0));
        resident_bars.push(bar(name, &resident, 0));
    }
    let text = "What an entry takes beyond the 120 bytes of its key and value: as asked of the allocator, and as the process\n\
                grew. Each engine in a process of its own, with room for a million entries, after half as many again were\n\
                stored. The mutexed LRU is the only one whose threads all wait for each other.";
    let panels = [("bytes asked", asked_bars), ("resident", resident_bars)]
        .map(|(title, bars)| Panel { bars, ..Panel::new(format!("{title} an entry")) });
    let plot = (!table.is_empty()).then(|| ("memory", svg(&panels)));
    Section { title: "Memory", text: text.to_owned(), table, plot }
}

pub(crate) fn latency(runs: &[Run]) -> Section {
    let mut table = Table::new(["engine", "p50, ns", "p99", "p99.9", "p99.99"]);
    let mut panels = ["get under inserts, p99, ns", "p99.9, ns"].map(Panel::new);
    for (name, found) in engines(runs, |run| &run.latency, |latency: &Latency| &latency.engine) {
        let quantile =
            |quantile: fn(&Latency) -> &Runs| pooled(found.iter().map(|(_, latency)| quantile(latency)));
        let quantiles = [
            quantile(|latency| &latency.p50),
            quantile(|latency| &latency.p99),
            quantile(|latency| &latency.p99_9),
            quantile(|latency| &latency.p99_99),
        ];
        let tell = |runs: &Runs| format!("{:.0} ({:.0}–{:.0})", runs.median(), runs.least(), runs.most());
        table.push([name.to_owned()].into_iter().chain(quantiles.iter().map(tell)).collect());
        if name != TIMER {
            for (panel, runs) in panels.iter_mut().zip(&quantiles[1..3]) {
                panel.bars.push(Bar { spread: None, ..bar(name, runs, 0) });
            }
        }
    }
    for panel in panels.iter_mut().filter(|panel| !panel.bars.is_empty()) {
        // Whoever waits for a lock is so far off that beside it nobody else could be told apart.
        let values: Runs = panel.bars.iter().map(|bar| bar.value).collect();
        panel.longest = 4.0 * values.median();
    }
    let text = "How long single gets take while a second thread stores without pause; room for a tenth of the keys. The time\n\
                of the timer is part of each. A bar with » is cut short.";
    let plot = (!table.is_empty()).then(|| ("latency", svg(&panels)));
    Section { title: "Get under inserts", text: text.to_owned(), table, plot }
}

pub(crate) fn collisions(runs: &[Run]) -> Section {
    let found = engines(runs, |run| &run.collisions, |collision: &Collision| &collision.engine);
    let kinds: Vec<&String> = found.iter().take(1).flat_map(|(_, rows)| rows[0].1.get_ns.keys()).collect();
    let mut table =
        Table::new(["engine".to_owned()].into_iter().chain(kinds.iter().map(|kind| format!("{kind}, ns"))));
    for (name, rows) in &found {
        let get_ns =
            |kind: &&String| pooled(rows.iter().filter_map(|(_, collision)| collision.get_ns.get(*kind)));
        let tell = |runs: Runs| format!("{:.0} ({:.0}–{:.0})", runs.median(), runs.least(), runs.most());
        table.push([(*name).to_owned()].into_iter().chain(kinds.iter().map(get_ns).map(tell)).collect());
    }
    let text = "A get that hits, in ns, in a cache full of keys which collide under a hash that anybody can compute, beside\n\
                random keys. The two maps use these hashes, to show that the keys do what they were made for; the caches draw\n\
                a seed.";
    Section { title: "Keys that collide", text: text.to_owned(), table, plot: None }
}
