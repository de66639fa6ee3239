//! Figures that take more than one measurement: means and losses over cells, ratios, and which runs may be judged.

use std::collections::BTreeMap;

use crate::engine::entrants::{BARE, is_anchor};
use crate::engine::results::{Cell, Pace, Run, Speed};

/// Below this the two-thread figures of a run are not judged.
const SCALING: f64 = 1.6;

/// How much faster the bare map is by two threads than by one; `None`: not measured.
pub(crate) fn scaling(run: &Run) -> Option<f64> {
    let bare = run.hits.iter().find(|speed| speed.engine == BARE)?;
    Some(bare.threads_2.mops.median() / bare.threads_1.mops.median())
}

/// Whether the two-thread figures of this run are to be judged.
pub(crate) fn scales(run: &Run) -> bool {
    scaling(run).is_some_and(|scaling| scaling >= SCALING)
}

/// How fast the engine of this name is, in the median of the rounds.
pub(crate) fn mops(speeds: &[Speed], engine: &str, pace: fn(&Speed) -> &Pace) -> Option<f64> {
    let speed = speeds.iter().find(|speed| speed.engine == engine)?;
    Some(pace(speed).mops.median())
}

/// Each engine's object hit ratio, in the mean of all cells.
pub(crate) fn mean_hit_ratios(cells: &[Cell]) -> BTreeMap<String, f64> {
    by_engine(
        cells,
        |cell, engine| cell.hit_ratio.get(engine).map(|ratio| ratio.object),
        |ratios| ratios.iter().sum::<f64>() / ratios.len() as f64,
    )
}

/// How far each engine is behind the best anchor in the cell where it is furthest behind, in points.
pub(crate) fn largest_losses(cells: &[Cell]) -> BTreeMap<String, f64> {
    by_engine(
        cells,
        |cell, engine| Some(best_anchor(cell)? - cell.hit_ratio.get(engine)?.object),
        |losses| losses.iter().copied().fold(f64::MIN, f64::max),
    )
}

/// What the best anchor hits in this cell, in percent.
pub(crate) fn best_anchor(cell: &Cell) -> Option<f64> {
    let anchors = cell.hit_ratio.iter().filter(|(name, _)| is_anchor(name));
    anchors.map(|(_, ratio)| ratio.object).reduce(f64::max)
}

/// One figure for each engine that has one in every cell.
fn by_engine(
    cells: &[Cell],
    figure: impl Fn(&Cell, &str) -> Option<f64>,
    sum: impl Fn(&[f64]) -> f64,
) -> BTreeMap<String, f64> {
    let engines = cells.first().into_iter().flat_map(|cell| cell.hit_ratio.keys());
    engines
        .filter_map(|engine| {
            let figures: Vec<f64> = cells.iter().map(|cell| figure(cell, engine)).collect::<Option<_>>()?;
            Some((engine.clone(), sum(&figures)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::entrants::{FASTEST, OURS};
    use crate::engine::results::{Counts, HitRatio};

    fn cell(ratios: [(&str, f64); 3]) -> Cell {
        let ratio = |object| HitRatio { object, byte: 0.0 };
        Cell {
            trace: "loop".to_owned(),
            percent: 1.0,
            counts: Counts::Entries,
            capacity: 10,
            requests: 100,
            hit_ratio: ratios
                .into_iter()
                .map(|(engine, object)| (engine.to_owned(), ratio(object)))
                .collect(),
        }
    }

    #[test]
    fn a_loss_is_to_the_best_anchor_of_the_cell_and_never_to_ours() {
        let cells = [
            cell([(OURS, 30.0), (FASTEST, 20.0), ("moka", 25.0)]),
            cell([(OURS, 10.0), (FASTEST, 12.0), ("moka", 11.0)]),
        ];
        assert_eq!(best_anchor(&cells[0]), Some(25.0));
        let losses = largest_losses(&cells);
        assert_eq!((losses[OURS], losses[FASTEST], losses["moka"]), (2.0, 5.0, 1.0));
        let means = mean_hit_ratios(&cells);
        assert_eq!((means[OURS], means[FASTEST], means["moka"]), (20.0, 16.0, 18.0));
    }

    #[test]
    fn a_run_without_the_bare_map_is_not_judged() {
        assert!(!scales(&Run::default()));
        assert_eq!(scaling(&Run::default()), None);
    }
}
