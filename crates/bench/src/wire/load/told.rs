//! What a client of ours prints for the bench: `begin` and `end JSON` at the ends of the stretch that counts.

use std::io::Write as _;

use carrot_load::drive::Findings;
use carrot_load::window::Edge;

use crate::wire::measure::Found;

/// At once, since the bench takes the time.
pub(crate) fn edge(edge: Edge) {
    if edge == Edge::Opens {
        line("begin");
    }
}

/// What was found.
///
/// # Errors
/// None that is known: names and numbers are JSON.
pub(crate) fn end(findings: &Findings) -> anyhow::Result<()> {
    let tally = &findings.tally;
    let micros = |part: f64| tally.latency.quantile(part).as_secs_f64() * 1e6;
    let found = Found {
        asked: tally.values,
        seconds: findings.lasted.as_secs_f64(),
        errors: tally.failed(),
        first_error: tally.errors.keys().next().cloned().unwrap_or_default(),
        p50_us: micros(0.5),
        p90_us: micros(0.9),
        p99_us: micros(0.99),
        p99_9_us: micros(0.999),
        max_us: tally.latency.max().as_secs_f64() * 1e6,
    };
    line(&format!("end {}", serde_json::to_string(&found)?));
    Ok(())
}

fn line(text: &str) {
    // With nobody to read there is nobody to measure either.
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}
