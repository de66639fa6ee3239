//! `carrot-bench engine`: carrot-engine beside the caches that a Rust user would take instead, in one run.
//!
//! One file a workload, one an engine family; every engine is asked the same in the same round, and all take turns.
//! What it prints and what stands in docs/engine.md are made by the same functions, from the same figures.

mod bare;
mod collisions;
mod entrants;
mod face;
mod figures;
mod foyer;
mod goals;
mod hits;
mod latency;
mod lru;
mod memory;
mod moka;
mod ours;
mod page;
mod parallel;
mod quick;
mod readthrough;
mod replay;
mod results;
mod scale;
mod section;
mod seedless;
mod speed;
mod subject;
mod zipf;

use std::path::PathBuf;

pub(crate) use self::memory::child;
pub(crate) use self::page::pages;
use self::results::Run;
use self::scale::Scale;
use self::speed::Streams;
use crate::report;

/// What is measured, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Directory with the traces, NAME.trace.zst each. Without it the hit ratios on traces are not measured.
    #[arg(long, value_name = "DIR")]
    traces: Option<PathBuf>,
    /// Rounds of each timed workload, in which all engines take turns [default: 9, or 3 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// Repetitions of everything; what is judged is the median over them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Only these workloads. What is found is printed and not kept.
    #[arg(long, value_name = "WORKLOADS", value_delimiter = ',')]
    only: Vec<Workload>,
    /// Small sizes, to see that everything runs. What is found says little, is printed and not kept.
    #[arg(long)]
    quick: bool,
}

/// One of the things that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Workload {
    Traces,
    Hits,
    Readthrough,
    Memory,
    Latency,
    Collisions,
}

impl Options {
    fn wants(&self, workload: Workload) -> bool {
        self.only.is_empty() || self.only.contains(&workload)
    }

    fn scale(&self) -> Scale {
        let rounds = self.rounds.map(usize::from);
        if self.quick { Scale::quick(rounds.unwrap_or(3)) } else { Scale::full(rounds.unwrap_or(9)) }
    }
}

/// Measures, prints the tables, and writes `results/engine.json` if everything was measured at full size.
///
/// # Errors
/// When a trace cannot be read, a measuring process fails, or the results cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let traces = match &options.traces {
        Some(directory) if options.wants(Workload::Traces) => replay::files(directory)?,
        _ => Vec::new(),
    };
    let mut runs = Vec::new();
    for number in 1..=usize::from(options.runs) {
        runs.push(measure(options, &traces, number)?);
    }
    println!("{}", page::tables(&runs));
    if traces.is_empty() {
        println!("Hit ratios on traces were not measured: they are replayed from --traces DIR.");
    }
    if options.only.is_empty() && !options.quick {
        println!("written to {}", report::write("engine", &runs)?.display());
    } else {
        println!("Not written down: --only and --quick give no whole result.");
    }
    Ok(())
}

/// One repetition.
fn measure(options: &Options, traces: &[PathBuf], number: usize) -> anyhow::Result<Run> {
    let tell = |what: &str| eprintln!("run {number} of {}: {what}", options.runs);
    let scale = options.scale();
    let mut streams = Streams::new(scale.keys, number);
    let mut run = Run::default();
    // Processes of their own first, while this one is small.
    if options.wants(Workload::Memory) {
        tell("memory");
        run.memory = memory::measure(scale.keys)?;
    }
    if options.wants(Workload::Hits) {
        tell("gets that all hit");
        run.hits = hits::measure(scale, &mut streams);
    }
    if options.wants(Workload::Readthrough) {
        tell("read-through");
        run.readthrough = readthrough::measure(scale, &mut streams);
    }
    if options.wants(Workload::Latency) {
        tell("latency");
        run.latency = latency::measure(scale, &mut streams);
    }
    if options.wants(Workload::Collisions) {
        tell("collisions");
        run.collisions = collisions::measure(scale);
    }
    if !traces.is_empty() {
        run.traces = replay::measure(traces, &mut |cell| tell(&format!("trace {cell}")))?;
    }
    Ok(run)
}
