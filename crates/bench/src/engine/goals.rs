//! The figures to reach: what the engine must be ahead of, by how much, and whether it is.
//!
//! Each is a figure of one run, since the machine's speed changes from run to run; what is judged is the median over
//! the runs. By two threads only runs count in which the bare map is at least 1.6 times as fast as by one: in others
//! the machine had no second core to give.

use std::collections::BTreeMap;

use crate::engine::entrants::{BARE, FASTEST, OURS, OURS_AS_BYTES, is_anchor};
use crate::engine::figures::{largest_losses, mean_hit_ratios, mops, scales};
use crate::engine::results::{Latency, Memory, Pace, Run, Speed, TIMER};
use crate::report::Runs;
use crate::table::Table;

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

/// The table; of a line that is not judged it says why.
pub(crate) fn table(runs: &[Run]) -> Table {
    let head = ["measure", "best anchor", "ours", "must", "holds", "aim", "holds", "judged by"];
    let mut table = Table::new(head);
    for goal in &GOALS {
        table.push(goal.row(runs));
    }
    table
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

/// The anchor with the best of these figures.
fn best(figures: &BTreeMap<String, f64>, better: fn(f64, f64) -> f64) -> Option<(String, f64)> {
    let anchors = figures.iter().filter(|(name, _)| is_anchor(name));
    anchors
        .map(|(name, figure)| (name.clone(), *figure))
        .reduce(|best, next| if better(best.1, next.1) == best.1 { best } else { next })
}

fn readthrough_ratio(run: &Run) -> Option<Found> {
    let engine = |name| run.readthrough.iter().find(|speed| speed.engine == name);
    let ratio = |name| Some(engine(name)?.threads_2.hit_ratio.median());
    Some(Found { ours: ratio(OURS)?, anchor: (FASTEST.to_owned(), ratio(FASTEST)?) })
}

fn times(speeds: &[Speed], ours: &str, other: &str, pace: fn(&Speed) -> &Pace) -> Option<Found> {
    let theirs = mops(speeds, other, pace)?;
    Some(Found { ours: mops(speeds, ours, pace)? / theirs, anchor: (other.to_owned(), theirs) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::results::Collision;

    fn pace(mops: f64, hit_ratio: f64) -> Pace {
        Pace { mops: [mops].into_iter().collect(), hit_ratio: [hit_ratio].into_iter().collect() }
    }

    fn speed(engine: &str, one: f64, two: f64, hit_ratio: f64) -> Speed {
        Speed { engine: engine.to_owned(), threads_1: pace(one, hit_ratio), threads_2: pace(two, hit_ratio) }
    }

    /// A run in which the bare map scales by `scaling`, and ours is `times` as fast as quick_cache.
    fn run(scaling: f64, times: f64) -> Run {
        let hits = vec![
            speed(BARE, 4.0, 4.0 * scaling, 1.0),
            speed(OURS, times * 2.0, times * 4.0, 1.0),
            speed(FASTEST, 2.0, 4.0, 1.0),
        ];
        let readthrough = vec![speed(OURS, 1.0, 1.0, 0.8130), speed(FASTEST, 1.0, 1.0, 0.8131)];
        Run { hits, readthrough, collisions: Vec::<Collision>::new(), ..Run::default() }
    }

    /// The cells of one line, by its first.
    fn line(runs: &[Run], measure: &str) -> Vec<String> {
        let goal = GOALS.iter().find(|goal| goal.measure == measure).unwrap();
        goal.row(runs).split_off(1)
    }

    #[test]
    fn a_speed_is_judged_by_the_median_of_its_ratios() {
        let runs = [run(2.0, 1.9), run(2.0, 3.0), run(2.0, 1.0)];
        let expected = [
            "quick_cache 2.00 M/s",
            "1.90 × (1.00 ×–3.00 ×)",
            "≥ 1.80 ×",
            "yes",
            "≥ 2.50 ×",
            "NO",
            "3 of 3 runs",
        ];
        assert_eq!(line(&runs, "get, 1 thread, handle out"), expected);
    }

    #[test]
    fn by_two_threads_only_runs_count_in_which_the_bare_map_scales() {
        let runs = [run(1.5, 9.0), run(1.7, 1.6), run(1.0, 9.0)];
        let line = |runs| line(runs, "get, 2 threads, handle out");
        assert_eq!(line(&runs)[1], "1.60 ×");
        assert_eq!(line(&runs)[3..], ["NO", "≥ 2.20 ×", "NO", "1 of 3 runs"]);
        assert_eq!(line(&runs[..1])[6], "no run: bare does not scale");
    }

    #[test]
    fn an_aim_may_be_what_the_anchor_has() {
        let line = line(&[run(2.0, 1.0)], "read-through hit ratio, 2 threads");
        let expected =
            ["quick_cache 0.8131", "0.8130", "≥ 0.8120", "yes", "not below it", "NO", "1 of 1 runs"];
        assert_eq!(line, expected);
    }

    #[test]
    fn what_was_not_measured_holds_nothing() {
        let line = line(&[Run::default()], "mean object hit ratio, 36 cells");
        assert_eq!(line, ["–", "–", "≥ 36.00 %", "–", "≥ 36.40 %", "–", "not measured"]);
    }

    #[test]
    fn less_memory_and_less_time_is_better_and_the_timer_is_no_anchor() {
        let memory = |engine: &str, bytes| Memory {
            engine: engine.to_owned(),
            entries: 1,
            asked_per_entry: bytes,
            resident_per_entry: bytes,
        };
        let latency = |engine: &str, ns: f64| {
            let runs = || [ns].into_iter().collect();
            Latency { engine: engine.to_owned(), p50: runs(), p99: runs(), p99_9: runs(), p99_99: runs() }
        };
        let run = Run {
            memory: vec![
                memory(OURS, 60.0),
                memory("moka", 300.0),
                memory("foyer lru", 150.0),
                memory(NOT_CONCURRENT, 9.0),
            ],
            latency: vec![
                latency(OURS, 700.0),
                latency(TIMER, 20.0),
                latency("moka", 9000.0),
                latency(FASTEST, 1000.0),
            ],
            ..Run::default()
        };
        let runs = [run];
        assert_eq!(
            line(&runs, "bytes asked per entry beyond 120")[..4],
            ["foyer lru 150.0 B", "60.0 B", "≤ 65.0 B", "yes"]
        );
        assert_eq!(
            line(&runs, "get under inserts, p99")[..4],
            ["quick_cache 1000 ns", "700 ns", "≤ 700 ns", "yes"]
        );
    }
}
