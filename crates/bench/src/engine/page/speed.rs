//! The sections on speed: gets that all hit, and read-through.

use crate::bars::{Panel, svg};
use crate::engine::entrants::{BARE, FASTEST};
use crate::engine::figures::{mops, scales};
use crate::engine::results::{Pace, Run, Speed};
use crate::engine::section::{Section, bar, engines, pooled};
use crate::report::Runs;
use crate::table::Table;

/// The median over the runs of how many times as fast an engine is as another.
fn ratio<'a>(
    runs: impl Iterator<Item = &'a Run>,
    rows: fn(&Run) -> &[Speed],
    names: [&str; 2],
    pace: OfSpeed,
) -> String {
    let mops = |run, name| mops(rows(run), name, pace);
    let ratios: Vec<f64> = runs.filter_map(|run| Some(mops(run, names[0])? / mops(run, names[1])?)).collect();
    if ratios.is_empty() {
        "–".to_owned()
    } else {
        format!("{:.2}", ratios.into_iter().collect::<Runs>().median())
    }
}

/// The runs whose figures are compared: by two threads those in which the second one was of use, if there are any.
fn compared(runs: &[Run], threads: usize) -> impl Iterator<Item = &Run> {
    let all = threads == 1 || !runs.iter().any(scales);
    runs.iter().filter(move |run| all || scales(run))
}

type OfSpeed = fn(&Speed) -> &Pace;

/// By how many threads, and where that stands.
const PACES: [(usize, OfSpeed); 2] = [(1, |speed| &speed.threads_1), (2, |speed| &speed.threads_2)];

/// What marks figures by two threads of which none is to be judged.
fn mark(runs: &[Run]) -> &'static str {
    if runs.iter().any(scales) { "" } else { " (not judged)" }
}

fn speeds(what: &str, runs: &[Run], rows: fn(&Run) -> &[Speed]) -> [Panel; 2] {
    let panel = |title: String, pace: OfSpeed| Panel {
        bars: engines(runs, rows, |speed| &speed.engine)
            .into_iter()
            .map(|(name, rows)| bar(name, &pooled(rows.iter().map(|(_, row)| &pace(row).mops)), 2))
            .collect(),
        ..Panel::new(title)
    };
    [
        panel(format!("{what}, 1 thread, M/s"), |speed| &speed.threads_1),
        panel(format!("{what}, 2 threads, M/s{}", mark(runs)), |speed| &speed.threads_2),
    ]
}

pub(crate) fn hits(runs: &[Run]) -> Section {
    let rows: fn(&Run) -> &[Speed] = |run| &run.hits;
    let two = format!("2 threads{}", mark(runs));
    let head = [
        "engine",
        "1 thread, M/s",
        "of quick_cache",
        "of bare",
        &two,
        "of quick_cache",
        "of bare",
        "2 over 1",
    ];
    let mut table = Table::new(head);
    for (name, found) in engines(runs, rows, |speed| &speed.engine) {
        let mut row = vec![name.to_owned()];
        for (threads, pace) in PACES {
            row.push(pooled(found.iter().map(|(_, speed)| &pace(speed).mops)).to_string());
            row.extend(
                [FASTEST, BARE].map(|other| ratio(compared(runs, threads), rows, [name, other], pace)),
            );
        }
        let scalings =
            found.iter().map(|(_, speed)| speed.threads_2.mops.median() / speed.threads_1.mops.median());
        row.push(format!("{:.2}", scalings.collect::<Runs>().median()));
        table.push(row);
    }
    let text = "Every get hits: Zipf 0.99 over a million keys of 20 bytes with values of 100, room for all. Each get hands out\n\
                an owned value: the anchors a clone of a `Bytes`, carrot-engine its handle, or a `Bytes` made around it. The\n\
                bare map has no lock and evicts nothing.";
    let plot = (!table.is_empty()).then(|| ("hits", svg(&speeds("get", runs, rows))));
    Section { title: "Get, all hits", text: text.to_owned(), table, plot }
}

pub(crate) fn readthrough(runs: &[Run]) -> Section {
    let rows: fn(&Run) -> &[Speed] = |run| &run.readthrough;
    let two = format!("2 threads{}", mark(runs));
    let head =
        ["engine", "1 thread, M/s", "of quick_cache", "hit ratio", &two, "of quick_cache", "hit ratio"];
    let mut table = Table::new(head);
    for (name, found) in engines(runs, rows, |speed| &speed.engine) {
        let mut row = vec![name.to_owned()];
        for (threads, pace) in PACES {
            row.push(pooled(found.iter().map(|(_, speed)| &pace(speed).mops)).to_string());
            row.push(ratio(compared(runs, threads), rows, [name, FASTEST], pace));
            let hit_ratio = pooled(found.iter().map(|(_, speed)| &pace(speed).hit_ratio)).median();
            row.push(format!("{hit_ratio:.4}"));
        }
        table.push(row);
    }
    let text =
        "Get, else load and store, by the same law, with room for a tenth of the keys, after a warm-up.";
    let plot = (!table.is_empty()).then(|| ("readthrough", svg(&speeds("read-through", runs, rows))));
    Section { title: "Read-through", text: text.to_owned(), table, plot }
}
