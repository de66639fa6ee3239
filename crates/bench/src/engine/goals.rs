//! The figures to reach: what the engine must be ahead of, by how much, and whether it is.
//!
//! Each is a figure of one run, since the machine's speed changes from run to run; what is judged is the median over
//! the runs. By two threads only runs count in which the bare map is at least 1.6 times as fast as by one: in others
//! the machine had no second core to give.

use std::collections::BTreeMap;

use crate::engine::entrants::{BARE, FASTEST, OURS, OURS_AS_BYTES, is_anchor};
use crate::engine::results::{Cell, Latency, Memory, Pace, Run, Speed, TIMER};
use crate::report::Runs;
use crate::table::Table;

/// Below this the two-thread figures of a run are not judged.
const SCALING: f64 = 1.6;

/// The cells that the limits for hit ratios were set on: those of the twelve shared traces.
const CELLS: usize = 36;

/// The concurrent anchors are to be compared in memory; one behind a single mutex needs less.
const NOT_CONCURRENT: &str = "mutexed lru";

/// One line of the table.
struct Goal {
    measure: &'static str,
    must: Limit,
    aim: Option<Limit>,
    unit: Unit,
    /// `None`: not measured in this run, or not to be judged.
    find: fn(&Run) -> Option<Found>,
    by_two_threads: bool,
}

/// What one run says.
struct Found {
    ours: f64,
    /// The best anchor's name and its own figure.
    anchor: (String, f64),
}

#[derive(Clone, Copy)]
enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// As much as the anchor in the same run.
    NotBelowAnchor,
}

/// How figures are written: of ours, and of the anchor.
#[derive(Clone, Copy)]
enum Unit {
    Percent,
    Points,
    Part,
    /// Ours is a ratio, the anchor's figure is in millions a second.
    Times,
    Bytes,
    Nanoseconds,
}

const GOALS: [Goal; 14] = {
    use Limit::{AtLeast, AtMost, NotBelowAnchor};
    [
        goal(
            "mean object hit ratio, 36 cells",
            AtLeast(36.0),
            Some(AtLeast(36.4)),
            Unit::Percent,
            mean_hit_ratio,
        ),
        goal(
            "largest loss to a cell's best anchor",
            AtMost(6.5),
            Some(AtMost(4.0)),
            Unit::Points,
            largest_loss,
        ),
        goal(
            "read-through hit ratio, 2 threads",
            AtLeast(0.812),
            Some(NotBelowAnchor),
            Unit::Part,
            readthrough_ratio,
        ),
        goal("get, 1 thread, handle out", AtLeast(1.8), Some(AtLeast(2.5)), Unit::Times, |run| {
            times(&run.hits, OURS, FASTEST, |speed| &speed.threads_1)
        }),
        goal("– of the bare map", AtLeast(1.1), Some(AtLeast(1.4)), Unit::Times, |run| {
            times(&run.hits, OURS, BARE, |speed| &speed.threads_1)
        }),
        goal("– Bytes out", AtLeast(1.3), Some(AtLeast(1.6)), Unit::Times, |run| {
            times(&run.hits, OURS_AS_BYTES, FASTEST, |speed| &speed.threads_1)
        }),
        goal("get, 2 threads, handle out", AtLeast(1.7), Some(AtLeast(2.2)), Unit::Times, |run| {
            times(&run.hits, OURS, FASTEST, |speed| &speed.threads_2)
        })
        .by_two_threads(),
        goal("– of the bare map", AtLeast(1.0), None, Unit::Times, |run| {
            times(&run.hits, OURS, BARE, |speed| &speed.threads_2)
        })
        .by_two_threads(),
        goal("read-through, 1 thread", AtLeast(1.7), Some(AtLeast(2.0)), Unit::Times, |run| {
            times(&run.readthrough, OURS, FASTEST, |speed| &speed.threads_1)
        }),
        goal("read-through, 2 threads", AtLeast(1.6), Some(AtLeast(2.0)), Unit::Times, |run| {
            times(&run.readthrough, OURS, FASTEST, |speed| &speed.threads_2)
        })
        .by_two_threads(),
        goal("bytes asked per entry beyond 120", AtMost(65.0), Some(AtMost(56.0)), Unit::Bytes, |run| {
            memory(run, |memory| memory.asked_per_entry)
        }),
        goal("– RSS", AtMost(75.0), Some(AtMost(62.0)), Unit::Bytes, |run| {
            memory(run, |memory| memory.resident_per_entry)
        }),
        goal("get under inserts, p99", AtMost(700.0), Some(AtMost(500.0)), Unit::Nanoseconds, |run| {
            latency(run, |latency| &latency.p99)
        }),
        goal("– p99.9", AtMost(1600.0), Some(AtMost(800.0)), Unit::Nanoseconds, |run| {
            latency(run, |latency| &latency.p99_9)
        }),
    ]
};

const fn goal(
    measure: &'static str,
    must: Limit,
    aim: Option<Limit>,
    unit: Unit,
    find: fn(&Run) -> Option<Found>,
) -> Goal {
    Goal { measure, must, aim, unit, find, by_two_threads: false }
}

/// The table, and below it why some lines are not judged.
pub(crate) fn table(runs: &[Run]) -> Table {
    let head = ["measure", "best anchor", "ours", "must", "holds", "aim", "holds", "judged by"];
    let mut table = Table::new(head);
    for goal in &GOALS {
        table.push(goal.row(runs));
    }
    table
}

/// How much faster the bare map is by two threads than by one; `None`: not measured.
pub(crate) fn scaling(run: &Run) -> Option<f64> {
    let bare = run.hits.iter().find(|speed| speed.engine == BARE)?;
    Some(bare.threads_2.mops.median() / bare.threads_1.mops.median())
}

/// Whether the two-thread figures of this run are to be judged.
pub(crate) fn scales(run: &Run) -> bool {
    scaling(run).is_some_and(|scaling| scaling >= SCALING)
}

impl Goal {
    const fn by_two_threads(mut self) -> Self {
        self.by_two_threads = true;
        self
    }

    fn row(&self, runs: &[Run]) -> Vec<String> {
        let found: Vec<(&Run, Found)> =
            runs.iter().filter_map(|run| Some((run, (self.find)(run)?))).collect();
        let measured = found.len();
        let judged: Vec<Found> = found
            .into_iter()
            .filter(|(run, _)| !self.by_two_threads || scales(run))
            .map(|(_, found)| found)
            .collect();
        let mut row = vec![self.measure.to_owned()];
        let none = String::from("–");
        let (must, aim) = (self.limit(Some(self.must)), self.limit(self.aim));
        if judged.is_empty() {
            let why = if measured == 0 { "not measured" } else { "no run: bare does not scale" };
            row.extend([none.clone(), none.clone(), must, none.clone(), aim, none, why.to_owned()]);
            return row;
        }
        let ours: Runs = judged.iter().map(|found| found.ours).collect();
        let holds = |limit: Option<Limit>| match limit {
            None => "–",
            Some(limit) if limit.holds(&judged) => "yes",
            Some(_) => "NO",
        };
        row.extend([
            self.anchor(&judged),
            self.unit.spread(&ours),
            must,
            holds(Some(self.must)).to_owned(),
            aim,
            holds(self.aim).to_owned(),
            format!("{} of {} runs", judged.len(), runs.len()),
        ]);
        row
    }

    /// The anchor that is best in most runs, the first of them where several are, and its median there.
    fn anchor(&self, judged: &[Found]) -> String {
        let mut by_name: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for Found { anchor: (name, figure), .. } in judged {
            by_name.entry(name).or_default().push(*figure);
        }
        let most = by_name.values().map(Vec::len).max();
        let best = by_name.into_iter().find(|(_, figures)| Some(figures.len()) == most);
        best.map_or_else(String::new, |(name, figures)| {
            format!("{name} {}", self.unit.of_anchor(figures.into_iter().collect::<Runs>().median()))
        })
    }

    fn limit(&self, limit: Option<Limit>) -> String {
        match limit {
            None => "–".to_owned(),
            Some(Limit::AtLeast(least)) => format!("≥ {}", self.unit.of_ours(least)),
            Some(Limit::AtMost(most)) => format!("≤ {}", self.unit.of_ours(most)),
            Some(Limit::NotBelowAnchor) => "not below it".to_owned(),
        }
    }
}

impl Limit {
    /// Whether it holds in the median.
    fn holds(self, judged: &[Found]) -> bool {
        let median = |figure: fn(&Found) -> f64| judged.iter().map(figure).collect::<Runs>().median();
        match self {
            Self::AtLeast(least) => median(|found| found.ours) >= least,
            Self::AtMost(most) => median(|found| found.ours) <= most,
            Self::NotBelowAnchor => median(|found| found.ours - found.anchor.1) >= 0.0,
        }
    }
}

impl Unit {
    fn of_ours(self, figure: f64) -> String {
        match self {
            Self::Percent => format!("{figure:.2} %"),
            Self::Points => format!("{figure:.2}"),
            Self::Part => format!("{figure:.4}"),
            Self::Times => format!("{figure:.2} ×"),
            Self::Bytes => format!("{figure:.1} B"),
            Self::Nanoseconds => format!("{figure:.0} ns"),
        }
    }

    fn of_anchor(self, figure: f64) -> String {
        match self {
            Self::Times => format!("{figure:.2} M/s"),
            _ => self.of_ours(figure),
        }
    }

    fn spread(self, runs: &Runs) -> String {
        let median = self.of_ours(runs.median());
        if runs.least() == runs.most() {
            return median;
        }
        format!("{median} ({}–{})", self.of_ours(runs.least()), self.of_ours(runs.most()))
    }
}

fn mean_hit_ratio(run: &Run) -> Option<Found> {
    let means = (run.traces.len() == CELLS).then(|| mean_hit_ratios(&run.traces))?;
    Some(Found { ours: *means.get(OURS)?, anchor: best(&means, f64::max)? })
}

fn largest_loss(run: &Run) -> Option<Found> {
    let losses = (run.traces.len() == CELLS).then(|| largest_losses(&run.traces))?;
    Some(Found { ours: *losses.get(OURS)?, anchor: best(&losses, f64::min)? })
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

/// The anchor with the best of these figures.
fn best(figures: &BTreeMap<String, f64>, better: fn(f64, f64) -> f64) -> Option<(String, f64)> {
    let anchors = figures.iter().filter(|(name, _)| is_anchor(name));
    anchors
        .map(|(name, figure)| (name.clone(), *figure))
        .reduce(|best, next| if better(best.1, next.1) == best.1 { best } else { next })
}

fn readthrough_ratio(run: &Run) -> Option<Found> {
    let ratio = |name| Some(engine(&run.readthrough, name)?.threads_2.hit_ratio.median());
    Some(Found { ours: ratio(OURS)?, anchor: (FASTEST.to_owned(), ratio(FASTEST)?) })
}

fn times(speeds: &[Speed], ours: &str, other: &str, pace: fn(&Speed) -> &Pace) -> Option<Found> {
    let mops = |name| Some(pace(engine(speeds, name)?).mops.median());
    let theirs = mops(other)?;
    Some(Found { ours: mops(ours)? / theirs, anchor: (other.to_owned(), theirs) })
}

fn engine<'a>(speeds: &'a [Speed], name: &str) -> Option<&'a Speed> {
    speeds.iter().find(|speed| speed.engine == name)
}

fn memory(run: &Run, figure: fn(&Memory) -> f64) -> Option<Found> {
    let figures: BTreeMap<String, f64> = run
        .memory
        .iter()
        .filter(|memory| memory.engine != NOT_CONCURRENT)
        .map(|memory| (memory.engine.clone(), figure(memory)))
        .collect();
    Some(Found { ours: *figures.get(OURS)?, anchor: best(&figures, f64::min)? })
}

fn latency(run: &Run, figure: fn(&Latency) -> &Runs) -> Option<Found> {
    let engines = run.latency.iter().filter(|latency| latency.engine != TIMER);
    let figures: BTreeMap<String, f64> =
        engines.map(|latency| (latency.engine.clone(), figure(latency).median())).collect();
    Some(Found { ours: *figures.get(OURS)?, anchor: best(&figures, f64::min)? })
}
