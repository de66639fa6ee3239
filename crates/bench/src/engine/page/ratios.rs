//! The sections on hit ratios: each engine in the mean, and all of them in every cell.

use crate::bars::{Bar, Hue, Panel, svg};
use crate::engine::entrants::{OURS, is_anchor};
use crate::engine::figures::{best_anchor, largest_losses, mean_hit_ratios};
use crate::engine::results::{Cell, Counts, HitRatio, Run};
use crate::engine::section::{Section, hue};
use crate::report::Runs;
use crate::table::Table;

/// The cells, each ratio the median of the runs that have it.
fn medians(runs: &[Run]) -> Vec<Cell> {
    let same = |a: &Cell, b: &Cell| (&a.trace, a.percent, a.counts) == (&b.trace, b.percent, b.counts);
    let first = runs.iter().map(|run| &run.traces).find(|cells| !cells.is_empty());
    let median = |cell: &Cell| {
        let all: Vec<&Cell> =
            runs.iter().flat_map(|run| &run.traces).filter(|other| same(cell, other)).collect();
        let ratio = |engine: &String| {
            let figure = |figure: fn(&HitRatio) -> f64| {
                all.iter()
                    .filter_map(|cell| cell.hit_ratio.get(engine))
                    .map(figure)
                    .collect::<Runs>()
                    .median()
            };
            HitRatio { object: figure(|ratio| ratio.object), byte: figure(|ratio| ratio.byte) }
        };
        let hit_ratio = cell.hit_ratio.keys().map(|engine| (engine.clone(), ratio(engine))).collect();
        Cell { hit_ratio, ..cell.clone() }
    };
    first.into_iter().flatten().map(median).collect()
}

/// `vm-sized, bytes, 1 %`.
fn name(cell: &Cell) -> String {
    let counts = match cell.counts {
        Counts::Entries => "",
        Counts::Bytes => " bytes",
    };
    format!("{}{counts} {} %", cell.trace, cell.percent)
}

pub(crate) fn means(runs: &[Run]) -> Section {
    let cells = medians(runs);
    let (means, losses) = (mean_hit_ratios(&cells), largest_losses(&cells));
    let mut table = Table::new(["engine", "mean, %", "largest loss, points", "in"]);
    let mut by_mean: Vec<(&String, &f64)> = means.iter().collect();
    by_mean.sort_by(|a, b| b.1.total_cmp(a.1));
    let mut bars = Vec::new();
    for (engine, mean) in by_mean {
        let loss = |cell: &&Cell| best_anchor(cell).unwrap_or_default() - cell.hit_ratio[engine].object;
        let worst = cells.iter().max_by(|a, b| loss(a).total_cmp(&loss(b)));
        let worst = worst.map(name).unwrap_or_default();
        table.push(vec![engine.clone(), format!("{mean:.2}"), format!("{:.2}", losses[engine]), worst]);
        let text = format!("{mean:.2}");
        bars.push(Bar { label: engine.clone(), value: *mean, text, spread: None, hue: hue(engine) });
    }
    let text = format!(
        "The part of the requests that hit, in percent, in the mean of {} cells: recorded traces, each at a capacity of\n\
         0.1 %, 1 % and 10 % of its keys, or of its bytes where it tells sizes. And how far an engine is behind the best\n\
         anchor in the cell that suits it least. One thread; every engine with its own settings.",
        cells.len()
    );
    let panel = Panel { bars, ..Panel::new("mean object hit ratio, %") };
    let plot = (!table.is_empty()).then(|| ("hit-ratio", svg(&[panel])));
    Section { title: "Hit ratio on traces", text, table, plot }
}

pub(crate) fn cells(runs: &[Run]) -> Section {
    let cells = medians(runs);
    let anchors: Vec<&String> = cells
        .iter()
        .take(1)
        .flat_map(|cell| cell.hit_ratio.keys())
        .filter(|engine| is_anchor(engine))
        .collect();
    let head =
        ["cell", "requests", "capacity", OURS].into_iter().chain(anchors.iter().map(|name| name.as_str()));
    let mut table = Table::new(head.chain(["ours over best anchor"]));
    let mut bars = Vec::new();
    for cell in &cells {
        let ratio = |engine: &str| cell.hit_ratio.get(engine).map_or(f64::NAN, |ratio| ratio.object);
        let best = cell.hit_ratio.values().map(|ratio| ratio.object).fold(f64::MIN, f64::max);
        let tell = |engine: &str| match ratio(engine) {
            ratio if ratio >= best => format!("**{ratio:.2}**"),
            ratio => format!("{ratio:.2}"),
        };
        let ahead = ratio(OURS) - best_anchor(cell).unwrap_or(f64::NAN);
        let mut row = vec![name(cell), cell.requests.to_string(), cell.capacity.to_string(), tell(OURS)];
        row.extend(anchors.iter().map(|engine| tell(engine)));
        row.push(format!("{ahead:+.2}"));
        table.push(row);
        let hue = if ahead < 0.0 { Hue::Behind } else { Hue::Ahead };
        bars.push(Bar { label: name(cell), value: ahead, text: format!("{ahead:+.2}"), spread: None, hue });
    }
    let text = "Object hit ratio in percent, the best in bold. Where a capacity is of bytes an entry weighs its payload, else\n\
                it is one of so many. The plot shows how far carrot-engine is ahead of the best anchor of each cell, whichever\n\
                that is, or behind.";
    let panel = Panel { bars, ..Panel::new("ahead of the best anchor, points") };
    let plot = (!table.is_empty()).then(|| ("cells", svg(&[panel])));
    Section { title: "Every cell", text: text.to_owned(), table, plot }
}
