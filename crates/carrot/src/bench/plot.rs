//! Latency by percentile as a picture: the higher percentiles spread out, since they are what a stall shows in.

use carrot_load::drive::Findings;
use carrotcache::GroupName;

use crate::amount::{count, seconds};
use crate::bench::summary::PERCENTILES;
use crate::bench::target::Target;
use crate::plot::{Axis, BLUE, Line, Panel, Scale};
use crate::table::fit;

/// Percentiles with a mark: each is a tenth of the requests of the one before.
const MARKS: [f64; 6] = [0.0, 90.0, 99.0, 99.9, 99.99, 99.999];
/// The longest name in a heading.
const NAME: usize = 40;

/// The curve of what was found.
pub fn panel(node: &Target, group: &GroupName, found: &Findings) -> Panel {
    let latency = &found.tally.latency;
    // Past the last request a percentile says nothing that the one before does not.
    let enough = |percent: f64| (1.0 - percent / 100.0) * latency.count() as f64 >= 0.999;
    let told = PERCENTILES.iter().copied().filter(|percent| enough(*percent));
    let points: Vec<(f64, f64)> = told
        .map(|percent| (place(percent), latency.quantile(percent / 100.0).as_secs_f64().max(1e-6).log10()))
        .collect();
    let end = points.last().map_or(1.0, |point| point.0.max(1.0));
    let (least, most) = points
        .iter()
        .map(|point| point.1)
        .fold(None, |ends: Option<(f64, f64)>, y| {
            Some(ends.map_or((y, y), |(least, most)| (least.min(y), most.max(y))))
        })
        .unwrap_or((-6.0, 0.0));
    let tens = (least.floor() as i32..=most.ceil() as i32).map(f64::from).collect::<Vec<_>>();
    let answers = count(latency.count());
    Panel {
        title: format!("{} {}: {answers} answers", fit(&node.to_string(), NAME), fit(group.as_str(), NAME)),
        x: Scale {
            axis: Axis {
                range: 0.0..end + 0.1,
                marks: MARKS.map(place).into_iter().filter(|place| *place <= end).collect(),
            },
            name: "percentile of answers".to_owned(),
            written: Box::new(|place| format!("{}", percent(place))),
        },
        y: Scale {
            axis: Axis { range: least.floor() - 0.05..most.ceil() + 0.05, marks: tens },
            name: "latency".to_owned(),
            written: Box::new(|place| seconds(10_f64.powf(place))),
        },
        lines: vec![Line { label: String::new(), points, look: BLUE }],
    }
}

/// How often the requests above it can be cut to a tenth.
fn place(percent: f64) -> f64 {
    -(1.0 - percent / 100.0).log10()
}

fn percent(place: f64) -> f64 {
    ((1.0 - 10_f64.powf(-place)) * 1e6).round() / 1e4
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use carrot_load::Tally;

    use super::*;

    fn found(answers: u64) -> Findings {
        let mut tally = Tally::default();
        (1..=answers).for_each(|us| tally.value(3, Duration::from_micros(us)));
        Findings { tally, lasted: Duration::from_secs(1) }
    }

    fn drawn(answers: u64) -> Panel {
        let node = "http://127.0.0.1:9999".parse().unwrap();
        panel(&node, &"scores".parse().unwrap(), &found(answers))
    }

    #[test]
    fn percentiles_are_marked_as_they_are_written() {
        let panel = drawn(10_000);
        let marks: Vec<String> = panel.x.axis.marks.iter().map(|mark| (panel.x.written)(*mark)).collect();
        assert_eq!(marks, ["0", "90", "99", "99.9", "99.99"]);
        let last = panel.lines[0].points.last().unwrap();
        assert!((last.0 - 4.0).abs() < 1e-9 && (last.1 + 2.0).abs() < 0.01, "{last:?}");
        assert!(
            panel.lines[0]
                .points
                .iter()
                .all(|(x, y)| panel.x.axis.range.contains(x) && panel.y.axis.range.contains(y))
        );
    }

    #[test]
    fn few_answers_have_few_percentiles_and_none_are_no_panic() {
        assert_eq!(drawn(100).lines[0].points.last().unwrap().0, place(99.0));
        assert!(drawn(0).lines[0].points.is_empty() && drawn(0).y.axis.range.contains(&-3.0));
        assert_eq!(drawn(1).lines[0].points.len(), 1);
    }
}
