//! A table for each trace: what is missed and what is hit, by capacity, the policies side by side.

use crate::amount::{bytes, count};
use crate::replay::driver::{Curves, Outcome};
use crate::replay::policy::Policy;
use crate::replay::weigh::Weigh;
use crate::table::{Column, Table, fit, number};

/// The longest name of a trace.
const NAME: usize = 60;

/// One table after the other.
pub fn text(curves: &[Curves]) -> String {
    curves.iter().map(of_trace).collect::<Vec<_>>().join("\n")
}

fn of_trace(curves: &Curves) -> String {
    let mut policies: Vec<Policy> = Vec::new();
    let mut capacities: Vec<u64> = Vec::new();
    for outcome in &curves.outcomes {
        if !policies.contains(&outcome.cell.policy) {
            policies.push(outcome.cell.policy);
        }
        if !capacities.contains(&outcome.cell.capacity) {
            capacities.push(outcome.cell.capacity);
        }
    }
    let mut columns = vec![number("capacity"), number("of all")];
    columns.extend(policies.iter().flat_map(|&policy| titles(policy, curves.sized)));
    let mut table = Table::new(&columns);
    for capacity in capacities {
        let part = percent(capacity, curves.whole, 1);
        let of_policy = policies.iter().flat_map(|&policy| {
            let outcome = curves
                .outcomes
                .iter()
                .find(|outcome| outcome.cell.capacity == capacity && outcome.cell.policy == policy);
            outcome.map(|outcome| cells(curves, outcome)).unwrap_or_default()
        });
        table.row([curves.weigh.amount(capacity), part].into_iter().chain(of_policy));
    }
    format!("{}\n{table}", heading(curves))
}

fn heading(curves: &Curves) -> String {
    let mut line = format!(
        "{}: {} requests, {} keys",
        fit(&curves.trace, NAME),
        count(curves.requests),
        count(curves.unique)
    );
    match curves.weigh {
        Weigh::Entries => line.push_str("; capacity in entries"),
        Weigh::Payload => line.push_str(&format!(" with values of {}; by payload", bytes(curves.whole))),
        Weigh::Real => line.push_str(&format!(" that take {} in all; by real weight", bytes(curves.whole))),
    }
    line
}

fn titles(policy: Policy, sized: bool) -> Vec<Column> {
    let [miss, hit, byte_miss] = match policy {
        Policy::Default => ["default miss", "hit", "byte miss"],
        Policy::Lru => ["lru miss", "hit", "byte miss"],
    };
    let mut columns = vec![number(miss), number(hit)];
    if sized {
        columns.push(number(byte_miss));
    }
    columns
}

fn cells(curves: &Curves, outcome: &Outcome) -> Vec<String> {
    let Outcome { hits, hit_bytes, .. } = *outcome;
    let mut cells =
        vec![percent(curves.requests - hits, curves.requests, 2), percent(hits, curves.requests, 2)];
    if curves.sized {
        cells.push(percent(curves.bytes - hit_bytes, curves.bytes, 2));
    }
    cells
}

/// With as many digits in each row, so that points stand below each other.
fn percent(part: u64, whole: u64, behind: usize) -> String {
    let percent = if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 };
    format!("{percent:.behind$}%")
}
