//! Rows for programs: what `--json` prints.

use serde::Serialize;

use crate::replay::driver::Curves;

/// One cell of one trace.
#[derive(Debug, Serialize)]
struct Row<'c> {
    trace: &'c str,
    policy: &'c str,
    capacity: u64,
    requests: u64,
    hits: u64,
    hit_bytes: u64,
    bytes: u64,
}

/// An array with a row a line.
///
/// # Errors
/// None that is known: a name and numbers are JSON.
pub fn json(curves: &[Curves]) -> Result<String, serde_json::Error> {
    let rows = curves.iter().flat_map(rows);
    let lines = rows.map(|row| serde_json::to_string(&row)).collect::<Result<Vec<_>, _>>()?;
    Ok(format!("[\n{}\n]\n", lines.join(",\n")))
}

fn rows(curves: &Curves) -> impl Iterator<Item = Row<'_>> {
    curves.outcomes.iter().map(|outcome| Row {
        trace: &curves.trace,
        policy: outcome.cell.policy.name(),
        capacity: outcome.cell.capacity,
        requests: curves.requests,
        hits: outcome.hits,
        hit_bytes: outcome.hit_bytes,
        bytes: curves.bytes,
    })
}
