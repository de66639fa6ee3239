//! `carrot replay`: a log of requests, run through the engine at several capacities. How much memory does it need?
//!
//! What is asked for is looked through, then all traces are read, each whole, then every capacity is tried under every
//! policy, then it is shown; so a fault in the last trace leaves no result of the first that could be taken for all.

mod axis;
mod capacity;
mod driver;
mod plot;
mod policy;
mod progress;
mod rows;
mod summary;
mod weigh;

use std::path::PathBuf;

use carrot_trace::Trace;
use clap::Args;

use crate::plot::PlotFile;
use crate::print::print_whole;
use crate::replay::capacity::{CURVE, Capacity};
use crate::replay::driver::{Cell, Curves};
use crate::replay::policy::Policy;
use crate::replay::progress::Progress;
use crate::replay::weigh::Weigh;

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot replay access.tsv --weigh real       how much memory for which miss ratio
  carrot replay access.tsv --weigh real --capacity 64MiB,256MiB --policy default
  carrot replay oltp.trace.zst --capacity 0.1%,1%,10% --json
  carrot replay a.csv b.csv --plot curves.svg --plot curves.png

A log of nginx in its combined format, brought into columns
  awk '$9 == 200 && $10 > 0 { print $7 \"\\t\" $10 }' access.log > access.tsv

Traces, each also packed by zstd, with .zst behind its name
  .trace      records of 12 bytes: key as u64, dense ids in order of first use, and
              size as u32, both little-endian
  .keys       one key a line, whatever is in it
  .csv .tsv   columns: the key, its size in bytes, the time; or as a first line with
              the word key names them. A field may stand in \"quotes\"
  any other   columns between tabs, commas or spaces, or one key a line
The size that is first seen with a key is its size; without sizes each is 1. The time
is not looked at: nothing expires. A trace takes 8 bytes of memory a request.

Each request is a get, and where it misses, an insert of that size, in an engine of
the given capacity that begins empty. A capacity is a number of entries, a size
(512B, 4KiB, 64MiB, 1GiB), or a part of what all keys of the trace weigh together.
Entries are weighed as one each, by their payload (the size alone), or by what they
really take with key and bookkeeping, as a node charges them.

--json prints an array of rows: trace, policy, capacity (in entries or bytes),
requests, hits, hit_bytes, bytes (of all requests).
The same traces, flags and seed give the same numbers.
Exit codes: 0 done, 2 wrong usage, or a trace that is not whole.";

/// Arguments of `carrot replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// Files of requests, in order
    #[arg(value_name = "TRACE", required = true)]
    traces: Vec<PathBuf>,
    /// Capacities to try: entries, sizes, or parts of what all keys weigh; by default ten parts, from 0.1% to 100%
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    capacity: Vec<Capacity>,
    /// Policies to try
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "default,lru")]
    policy: Vec<Policy>,
    /// How an entry is weighed: entries (as one), payload or real; by default payload where a capacity is a size,
    /// else entries
    #[arg(long, value_name = "WAY")]
    weigh: Option<Weigh>,
    /// Print rows for programs
    #[arg(long)]
    json: bool,
    /// Also draw the miss-ratio curves into this file, .svg or .png; may be given again
    #[arg(long, value_name = "FILE")]
    plot: Vec<PlotFile>,
    /// The seed of the engine's hash
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Reads the traces, replays them, and shows what came of it.
///
/// # Errors
/// What is wrong with the arguments or with a trace; then there is no result at all. A plot that cannot be written.
pub fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let weigh = capacity::weighed(&args.capacity, args.weigh)?;
    args.plot.iter().try_for_each(PlotFile::has_a_place)?;
    let progress = Progress::on_a_terminal();
    let traces = read(args, &progress)?;
    let runs: Vec<(&Trace, Vec<Cell>)> =
        traces.iter().map(|trace| (trace, cells(args, trace, weigh))).collect();
    progress.replaying(runs.iter().map(|(trace, cells)| (trace.requests.len() * cells.len()) as u64).sum());
    let mut curves = Vec::new();
    for (trace, cells) in &runs {
        curves.push(Curves::run(trace, cells, weigh, args.seed, &|requests| progress.add(requests)));
    }
    progress.end();
    let text = if args.json { rows::json(&curves)? } else { summary::text(&curves) };
    print_whole(&text)?;
    // Last, so that one that cannot be written takes nothing else away.
    for file in &args.plot {
        file.draw(&plot::panels(&curves))?;
    }
    Ok(())
}

fn read(args: &ReplayArgs, progress: &Progress) -> anyhow::Result<Vec<Trace>> {
    let read = |file: &PathBuf| {
        progress.reading(file);
        Trace::read(file, &mut |read, of| progress.read(read, of))
    };
    let traces = args.traces.iter().map(read).collect::<Result<_, _>>();
    // What is wrong is not to be said behind a bar.
    traces.inspect_err(|_| progress.end()).map_err(anyhow::Error::from)
}

/// Every capacity under every policy, in the order asked. Without a word the whole curve, of which a small trace has
/// some points twice: then once is enough.
fn cells(args: &ReplayArgs, trace: &Trace, weigh: Weigh) -> Vec<Cell> {
    let whole = weigh.of_all(trace);
    let mut capacities: Vec<u64> = args.capacity.iter().map(|capacity| capacity.of(whole)).collect();
    if capacities.is_empty() {
        capacities = CURVE.map(|capacity| capacity.of(whole)).to_vec();
        capacities.dedup();
    }
    let under = |&capacity: &u64| args.policy.iter().map(move |&policy| Cell { capacity, policy });
    capacities.iter().flat_map(under).collect()
}
