//! `carrot-bench wire`: remote gets and the fronts beside what one would use instead, all on this machine, in one run.
//!
//! One file an anchor, one a client. For each row all contestants are started, take turns round by round, and are ended;
//! what is not here is told with how to get it, and written down as missing. What it prints and what stands in
//! docs/wire.md are made by the same functions, from the same figures.

mod anchors;
mod goals;
mod load;
mod measure;
mod page;
mod programs;
mod puppet;
mod results;
mod rows;
mod running;
mod stat;
mod syscalls;
mod versions;

use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(crate) use self::load::gets::{CHILD as GETS, Gets};
pub(crate) use self::load::node::{CHILD as NODE, Pair, child as node};
pub(crate) use self::load::pipes::{CHILD as PIPES, Pipes};
pub(crate) use self::page::page;
use self::programs::{Missing, Programs};
pub(crate) use self::results::Run;
use self::results::{Absent, Cell};
use self::rows::{Ground, Playing, Row};
use crate::report;

/// Where scripts/wire-anchors unpacks packages, and where the Go program is built: in the repository.
const UNPACKED: &str = "target/wire/root";
const BUILT: &str = "target/wire/go";

/// What is measured, and how often.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Repetitions of everything; what is judged is the median over them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Rounds of each row in a run, in which its contestants take turns.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// How long each round counts.
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    seconds: f64,
    /// Only these rows. What is found is printed and not kept.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    only: Vec<Row>,
    /// Few keys and short rounds, to see that everything runs. What is found says little, is printed and not kept.
    #[arg(long)]
    quick: bool,
    /// Print what was found as the file in results/ has it, in place of tables.
    #[arg(long)]
    json: bool,
    /// Different keys.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    keys: u64,
    /// Threads of the runtime of each of our two nodes that ask each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    threads: u8,
    /// Where packages are unpacked whose programs are not installed [default: target/wire/root].
    #[arg(long, value_name = "DIR")]
    unpacked: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds")?;
    if (0.1..=600.0).contains(&seconds) { Ok(seconds) } else { Err("it is not from 0.1 to 600") }
}

impl Options {
    fn ground(&self) -> anyhow::Result<Ground> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let built = root.join(BUILT);
        std::fs::create_dir_all(&built).with_context(|| format!("cannot make {}", built.display()))?;
        let unpacked = self.unpacked.clone().unwrap_or_else(|| root.join(UNPACKED));
        Ok(Ground {
            programs: Programs::new(unpacked),
            built,
            warm: if self.quick { 0.2 } else { 1.0 },
            seconds: if self.quick { 0.5 } else { self.seconds },
            keys: if self.quick { 1000 } else { self.keys },
            threads: self.threads.into(),
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row> {
        Row::ALL.iter().copied().filter(|row| self.only.is_empty() || self.only.contains(row))
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.into() }
    }
}

/// Measures, prints the tables, and writes `results/wire.json` if everything was measured at full size.
///
/// # Errors
/// When our own programs cannot be built, or the results cannot be written. A contestant that is not here, or fails, is none: it is told and written down.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    programs::build_ours()?;
    let ground = options.ground()?;
    if cfg!(debug_assertions) {
        eprintln!("carrot-bench was built without optimisation: figures of ours say nothing.");
    }
    let mut runs = Vec::new();
    for number in 1..=options.runs {
        let mut run = Run { versions: versions::told(&ground.programs), ..Run::default() };
        for row in options.rows() {
            eprintln!("run {number} of {}: {}", options.runs, row.title());
            measure(row, options.rounds(), &ground, &mut run);
        }
        runs.push(run);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&runs)?);
    } else {
        println!("{}", page::tables(&runs));
    }
    if options.only.is_empty() && !options.quick {
        eprintln!("written to {}", report::write("wire", &runs)?.display());
    } else {
        eprintln!("Not written down: --only and --quick give no whole result.");
    }
    Ok(())
}

/// All rounds of one row. Who fails in one is out, with all that was found of it.
fn measure(row: Row, rounds: usize, ground: &Ground, run: &mut Run) {
    let mut playing: Vec<(Playing, Cell)> = Vec::new();
    let mut absent = |subject: &str, why: &anyhow::Error| {
        let why = why.downcast_ref::<Missing>().map_or_else(|| format!("{why:#}"), ToString::to_string);
        eprintln!("  {subject} is missing from this row: {why}");
        run.missing.push(Absent { row: row.name().to_owned(), subject: subject.to_owned(), why });
    };
    for contestant in row.contestants() {
        let subject = contestant.subject;
        match contestant.start(ground) {
            Ok(started) => {
                let cell = Cell {
                    row: row.name().to_owned(),
                    subject: subject.to_owned(),
                    server: started.server.clone(),
                    client: String::new(),
                    samples: Vec::new(),
                };
                playing.push((started, cell));
            }
            Err(why) => absent(subject, &why),
        }
    }
    for number in 0..rounds {
        // Turned by one each round, so that nobody is always the first.
        let first = number % playing.len().max(1);
        let mut out = Vec::new();
        for at in (first..playing.len()).chain(0..first) {
            let (playing, cell) = &mut playing[at];
            match (playing.round)() {
                Ok(played) => {
                    cell.samples.push(played.sample);
                    cell.client = played.client;
                }
                Err(why) => {
                    absent(&cell.subject, &why);
                    out.push(at);
                }
            }
        }
        out.sort_unstable();
        // From the end, so that who is out moves nobody that stays.
        out.into_iter().rev().for_each(|at| drop(playing.remove(at)));
    }
    run.cells.extend(playing.into_iter().map(|(_, cell)| cell));
}
