//! Miss-ratio curves as a picture: a panel for each trace, a line for each policy, capacities on a logarithmic axis.

use crate::amount::count;
use crate::plot::{BLUE, Line, Look, ORANGE, Panel, Scale};
use crate::replay::axis::{capacities, capacity_at, place, ratios};
use crate::replay::driver::{Curves, Outcome};
use crate::replay::policy::Policy;
use crate::table::fit;

/// The longest name of a trace in a heading.
const NAME: usize = 24;

/// A panel for each trace.
pub fn panels(curves: &[Curves]) -> Vec<Panel> {
    curves.iter().map(panel).collect()
}

fn panel(curves: &Curves) -> Panel {
    let weigh = curves.weigh;
    let keys = count(curves.unique);
    Panel {
        title: format!("{}: {} requests, {keys} keys", fit(&curves.trace, NAME), count(curves.requests)),
        x: Scale {
            axis: capacities(curves.outcomes.iter().map(|outcome| outcome.cell.capacity), weigh),
            name: format!("capacity ({})", weigh.measure()),
            written: Box::new(move |place| weigh.amount(capacity_at(place))),
        },
        y: Scale {
            axis: ratios(),
            name: "miss ratio".to_owned(),
            written: Box::new(|ratio| format!("{:.0} %", ratio * 100.0)),
        },
        lines: lines(curves),
    }
}

fn look(policy: Policy) -> Look {
    match policy {
        Policy::Default => BLUE,
        Policy::Lru => ORANGE,
    }
}

/// The curves of the trace, in the order in which they are drawn: the default last, above the others.
fn lines(curves: &Curves) -> Vec<Line> {
    let of = |policy: Policy| {
        let outcomes = curves.outcomes.iter().filter(|outcome| outcome.cell.policy == policy);
        let mut points: Vec<_> = outcomes.filter_map(|outcome| point(curves, outcome)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line { label: policy.name().to_owned(), points, look: look(policy) }
    };
    [Policy::Lru, Policy::Default].map(of).into_iter().filter(|line| !line.points.is_empty()).collect()
}

fn point(curves: &Curves, outcome: &Outcome) -> Option<(f64, f64)> {
    let missed = (curves.requests - outcome.hits) as f64 / curves.requests as f64;
    Some((place(outcome.cell.capacity)?, missed))
}
