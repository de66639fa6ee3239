//! A section of the page: text, table, plot; and what all of them are made with.

use crate::bars::{Bar, Hue};
use crate::engine::entrants::{BARE, OURS, OURS_AS_BYTES};
use crate::engine::results::Run;
use crate::report::Runs;
use crate::table::Table;

/// What is told of one thing: its table, and below it a plot.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) text: String,
    pub(crate) table: Table,
    /// Name and picture.
    pub(crate) plot: Option<(&'static str, String)>,
}

/// The engines of a workload, in the order measured, each with what every run says of it.
pub(crate) fn engines<'a, T>(
    runs: &'a [Run],
    rows: fn(&Run) -> &[T],
    name: fn(&T) -> &str,
) -> Vec<(&'a str, Vec<(&'a Run, &'a T)>)> {
    let first = runs.iter().map(rows).find(|rows| !rows.is_empty()).unwrap_or_default();
    first
        .iter()
        .map(|row| {
            let of =
                |run: &'a Run| rows(run).iter().find(|other| name(other) == name(row)).map(|row| (run, row));
            (name(row), runs.iter().filter_map(of).collect())
        })
        .collect()
}

/// All rounds of all runs.
pub(crate) fn pooled<'a>(runs: impl IntoIterator<Item = &'a Runs>) -> Runs {
    runs.into_iter().flat_map(Runs::all).copied().collect()
}

pub(crate) fn hue(engine: &str) -> Hue {
    match engine {
        OURS | OURS_AS_BYTES => Hue::Ours,
        BARE => Hue::Bound,
        _ => Hue::Anchor,
    }
}

/// A bar for what was measured several times.
pub(crate) fn bar(engine: &str, runs: &Runs, digits: usize) -> Bar {
    let value = runs.median();
    Bar {
        label: engine.to_owned(),
        value,
        text: format!("{value:.digits$}"),
        spread: Some((runs.least(), runs.most())),
        hue: hue(engine),
    }
}
