//! The figures to reach: what ours must be of the anchor's, and whether it is.
//!
//! A ratio is of one round, in which both took turns on the same machine in the same minute; of a run it is the median over
//! its rounds, and what is judged is the median over the runs.

use crate::report::Runs;
use crate::table::Table;
use crate::wire::results::{Cell, Run, Sample};
use crate::wire::rows::{MEMCACHED, NGINX, OURS, REDIS, Row, SERVE, TUNED, VARNISH};

/// One line of the table.
struct Goal {
    measure: &'static str,
    row: Row,
    ours: &'static str,
    /// `None`: ours is judged by itself.
    anchor: Option<&'static str>,
    figure: Figure,
    must: Limit,
    aim: Limit,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Rate,
    Cpu,
    ServerCpu,
    P50,
    P99,
    Syscalls,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Limit {
    /// Ours is so many times the anchor's.
    Times(f64),
    /// The anchor's is so many times ours.
    TimesLess(f64),
    /// Ours is at most so many times the anchor's, or at most this.
    AtMost(f64),
}

const GOALS: [Goal; 17] = {
    use Figure::{Cpu, P50, P99, Rate, ServerCpu, Syscalls};
    use Limit::{AtMost, Times, TimesLess};
    [
        goal("remote get, 64 callers: gets/s", Row::Remote, [OURS, TUNED], Rate, [Times(12.0), Times(20.0)]),
        goal("– CPU a get", Row::Remote, [OURS, TUNED], Cpu, [TimesLess(18.0), TimesLess(35.0)]),
        goal("256 callers: gets/s", Row::Remote256, [OURS, TUNED], Rate, [Times(20.0), Times(30.0)]),
        goal(
            "get_many(16): keys/s, of its gets/s",
            Row::Many,
            [OURS, TUNED],
            Rate,
            [Times(45.0), Times(60.0)],
        ),
        goal("10 KB, 64 callers: gets/s", Row::Large, [OURS, TUNED], Rate, [Times(7.0), Times(15.0)]),
        goal("– CPU a get", Row::Large, [OURS, TUNED], Cpu, [TimesLess(9.0), TimesLess(16.0)]),
        goal(
            "10,000 gets/s planned: p99",
            Row::Paced,
            [OURS, TUNED],
            P99,
            [TimesLess(10.0), TimesLess(25.0)],
        ),
        goal("one caller on one core: p50", Row::Single, [OURS, REDIS], P50, [AtMost(1.15), AtMost(1.0)]),
        goal(
            "HTTP/1.1 with protobuf: gets/s",
            Row::Compatible,
            [OURS, TUNED],
            Rate,
            [Times(3.0), Times(4.0)],
        ),
        goal("RESP GET, pipeline 1: gets/s", Row::Resp1, [SERVE, REDIS], Rate, [Times(1.0), Times(1.1)]),
        goal("– pipeline 16", Row::Resp16, [SERVE, REDIS], Rate, [Times(1.3), Times(1.7)]),
        goal("– pipeline 64", Row::Resp64, [SERVE, REDIS], Rate, [Times(1.6), Times(2.0)]),
        goal(
            "RESP, pipeline 16: server CPU a get",
            Row::RespCpu,
            [SERVE, MEMCACHED],
            ServerCpu,
            [AtMost(1.0), AtMost(0.7)],
        ),
        goal("HTTP API hit: gets/s", Row::Http, [SERVE, REDIS], Rate, [Times(0.9), Times(1.1)]),
        goal("HTTP API hit by wrk: gets/s", Row::Wrk, [SERVE, NGINX], Rate, [Times(1.1), Times(1.3)]),
        goal("– gets/s", Row::Wrk, [SERVE, VARNISH], Rate, [Times(1.4), Times(1.7)]),
        alone("system calls a remote get, 64 callers", Row::Syscalls, Syscalls, [AtMost(0.4), AtMost(0.15)]),
    ]
};

const fn goal(
    measure: &'static str,
    row: Row,
    [ours, anchor]: [&'static str; 2],
    figure: Figure,
    [must, aim]: [Limit; 2],
) -> Goal {
    Goal { measure, row, ours, anchor: Some(anchor), figure, must, aim }
}

const fn alone(measure: &'static str, row: Row, figure: Figure, [must, aim]: [Limit; 2]) -> Goal {
    Goal { measure, row, ours: OURS, anchor: None, figure, must, aim }
}

/// What the runs say of one goal.
struct Judged {
    /// Of ours and of the anchor's, the medians of each run.
    ours: Runs,
    anchor: Option<Runs>,
    /// What the limits are of, for each run.
    ratios: Runs,
}

/// The table, of the rows that were asked for; a line whose contestants were not there says so.
pub(crate) fn table(runs: &[Run]) -> Table {
    let head = ["measure", "ours", "anchor", "its figure", "ratio", "must", "holds", "aim", "holds"];
    let mut table = Table::new(head);
    for goal in GOALS.iter().filter(|goal| runs.iter().any(|run| run.asked_for(goal.row.name()))) {
        table.push(goal.line(runs));
    }
    table
}

impl Goal {
    fn line(&self, runs: &[Run]) -> Vec<String> {
        let judged = self.judged(runs);
        let holds = |limit: Limit| match &judged {
            None => "–".to_owned(),
            Some(judged) if limit.holds(judged.ratios.median()) => "yes".to_owned(),
            Some(_) => "NO".to_owned(),
        };
        let anchor = judged.as_ref().and_then(|judged| judged.anchor.as_ref());
        vec![
            self.measure.to_owned(),
            judged
                .as_ref()
                .map_or("not measured".to_owned(), |judged| self.figure.told(judged.ours.median())),
            self.anchor.unwrap_or("none").to_owned(),
            anchor.map_or("–".to_owned(), |anchor| self.figure.told(anchor.median())),
            judged.as_ref().map_or("–".to_owned(), |judged| self.must.ratio(&judged.ratios)),
            self.must.to_string(),
            holds(self.must),
            self.aim.to_string(),
            holds(self.aim),
        ]
    }

    /// `None` where no run has both.
    fn judged(&self, runs: &[Run]) -> Option<Judged> {
        let cells = |subject: &str| {
            runs.iter().map(|run| run.cell(self.row.name(), subject)).collect::<Vec<Option<&Cell>>>()
        };
        let (ours, anchors) = (cells(self.ours), self.anchor.map(cells));
        let mut found = (Vec::new(), Vec::new(), Vec::new());
        for (run, ours) in ours.into_iter().enumerate() {
            let Some(ours) = ours.and_then(|cell| self.figures(cell)) else { continue };
            let anchor = match &anchors {
                None => None,
                Some(anchors) => match anchors[run].and_then(|cell| self.figures(cell)) {
                    Some(anchor) => Some(anchor),
                    None => continue,
                },
            };
            let rounds: Runs = match &anchor {
                None => ours.clone(),
                Some(anchor) => {
                    ours.all().iter().zip(anchor.all()).map(|(o, a)| self.must.of(*o, *a)).collect()
                }
            };
            found.0.push(ours.median());
            found.1.extend(anchor.map(|anchor| anchor.median()));
            found.2.push(rounds.median());
        }
        let runs = |figures: Vec<f64>| (!figures.is_empty()).then(|| figures.into_iter().collect::<Runs>());
        Some(Judged { ours: runs(found.0)?, anchor: runs(found.1), ratios: runs(found.2)? })
    }

    /// Of each round; `None` where one has none.
    fn figures(&self, cell: &Cell) -> Option<Runs> {
        let figures: Option<Vec<f64>> = cell.samples.iter().map(|sample| self.figure.of(sample)).collect();
        figures.filter(|figures| !figures.is_empty()).map(|figures| figures.into_iter().collect())
    }
}

impl Figure {
    fn of(self, sample: &Sample) -> Option<f64> {
        Some(match self {
            Self::Rate => sample.rate(),
            Self::Cpu => sample.cpu_us(),
            Self::ServerCpu => sample.server_us,
            Self::P50 => sample.p50_us,
            Self::P99 => sample.p99_us,
            Self::Syscalls => sample.syscalls?,
        })
    }

    fn told(self, figure: f64) -> String {
        match self {
            Self::Rate => format!("{:.1} k/s", figure / 1e3),
            Self::Cpu | Self::ServerCpu => format!("{figure:.2} µs"),
            Self::P50 | Self::P99 => format!("{figure:.0} µs"),
            Self::Syscalls => format!("{figure:.2}"),
        }
    }
}

impl Limit {
    /// What it is of, in one round.
    fn of(self, ours: f64, anchor: f64) -> f64 {
        match self {
            Self::Times(_) | Self::AtMost(_) => ours / anchor,
            Self::TimesLess(_) => anchor / ours,
        }
    }

    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::Times(least) | Self::TimesLess(least) => ratio >= least,
            Self::AtMost(most) => ratio <= most,
        }
    }

    /// The median, and the least and the most of the runs.
    fn ratio(self, ratios: &Runs) -> String {
        let less = if matches!(self, Self::TimesLess(_)) { " less" } else { "" };
        let spread = match ratios.all() {
            [_] => String::new(),
            _ => format!(" ({:.2}–{:.2})", ratios.least(), ratios.most()),
        };
        format!("{:.2}{spread}{less}", ratios.median())
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Times(least) => write!(f, "≥ {least}"),
            Self::TimesLess(least) => write!(f, "≥ {least} less"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(row: Row, subject: &str, rates: &[f64], p50_us: f64) -> Cell {
        let sample = |rate: &f64| Sample {
            asked: *rate as u64,
            seconds: 1.0,
            p50_us,
            p99_us: 10.0 * p50_us,
            client_us: p50_us,
            server_us: p50_us / 2.0,
            syscalls: (row == Row::Syscalls).then_some(p50_us),
            ..Sample::default()
        };
        Cell {
            row: row.name().to_owned(),
            subject: subject.to_owned(),
            server: String::new(),
            client: String::new(),
            samples: rates.iter().map(sample).collect(),
        }
    }

    fn line(runs: &[Run], measure: &str) -> Vec<String> {
        GOALS.iter().find(|goal| goal.measure == measure).unwrap().line(runs).split_off(1)
    }

    fn run(ours: &[f64], anchor: &[f64]) -> Run {
        let cells = vec![cell(Row::Remote, OURS, ours, 1.0), cell(Row::Remote, TUNED, anchor, 30.0)];
        Run { cells, ..Run::default() }
    }

    #[test]
    fn a_ratio_is_of_rounds_that_belong_together_and_judged_by_the_median_of_runs() {
        // By round 10, 10 and 40; the medians of either alone would say 20.
        let odd = run(&[100.0, 400.0, 200.0], &[10.0, 40.0, 5.0]);
        let runs = [odd, run(&[300.0], &[10.0]), run(&[150.0], &[10.0])];
        let expected = ["0.2 k/s", TUNED, "0.0 k/s", "15.00 (10.00–30.00)", "≥ 12", "yes", "≥ 20", "NO"];
        assert_eq!(line(&runs, "remote get, 64 callers: gets/s"), expected);
    }

    #[test]
    fn less_is_better_where_the_limit_says_less() {
        let runs = [run(&[100.0], &[10.0])];
        // GOALS has two lines of this name; the first is of 100 B.
        let expected = ["1.50 µs", TUNED, "45.00 µs", "30.00 less", "≥ 18 less", "yes", "≥ 35 less", "NO"];
        assert_eq!(line(&runs, "– CPU a get"), expected);
        let cells = vec![cell(Row::Single, OURS, &[1.0], 21.0), cell(Row::Single, REDIS, &[1.0], 20.0)];
        let single = line(&[Run { cells, ..Run::default() }], "one caller on one core: p50");
        assert_eq!(single[3..], ["1.05", "≤ 1.15", "yes", "≤ 1", "NO"]);
    }

    #[test]
    fn a_figure_of_ours_alone_needs_no_anchor() {
        let cells = vec![cell(Row::Syscalls, OURS, &[1.0], 0.2)];
        let syscalls = line(&[Run { cells, ..Run::default() }], "system calls a remote get, 64 callers");
        assert_eq!(syscalls, ["0.20", "none", "–", "0.20", "≤ 0.4", "yes", "≤ 0.15", "NO"]);
    }

    #[test]
    fn without_the_anchor_nothing_is_judged() {
        let alone = Run { cells: vec![cell(Row::Remote, OURS, &[100.0], 1.0)], ..Run::default() };
        let expected = ["not measured", TUNED, "–", "–", "≥ 12", "–", "≥ 20", "–"];
        assert_eq!(line(&[alone], "remote get, 64 callers: gets/s"), expected);
    }

    #[test]
    fn each_goal_is_of_contestants_of_its_row() {
        for goal in &GOALS {
            let subjects: Vec<_> =
                goal.row.contestants().iter().map(|contestant| contestant.subject).collect();
            assert_eq!(subjects[0], goal.ours, "{}", goal.measure);
            assert!(goal.anchor.is_none_or(|anchor| subjects.contains(&anchor)), "{}", goal.measure);
        }
    }
}
