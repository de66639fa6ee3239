//! `carrot`: a node of a distributed read-through cache, for any language.
//!
//! Reads the command line, runs what was asked for, and turns whatever stopped it into lines on standard error and an
//! exit code. The only place that handles errors without knowing them.

#![forbid(unsafe_code)]
#![allow(unreachable_pub, reason = "a program has no outside: here `pub` means beyond the file")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod admin;
mod amount;
mod ask;
mod auth;
mod awake;
mod bench;
mod check;
mod cli;
mod config;
mod cores;
mod data;
mod demo;
mod demo_data;
mod escape;
mod help;
mod host;
mod line;
mod log;
mod many;
mod metrics;
mod node;
mod origin;
mod plan;
mod plot;
mod print;
mod readiness;
mod refusal;
mod reload;
mod replay;
mod resp;
mod secret;
mod serve;
mod settings;
mod some;
mod statistics;
mod stop;
mod table;
mod target;
mod whereabouts;

use std::io::Write;
use std::process::ExitCode;

use mimalloc::MiMalloc;
use tokio::runtime::Handle;

use crate::cli::Command;
use crate::cores::on_all_cores;
use crate::line::in_one_line;

/// By figures: DESIGN.md.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Wrong usage, wrong settings, or a node that could not start.
const NOT_STARTED: u8 = 2;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let (lines, code) = match error.downcast::<ask::Failed>() {
        Ok(failed) => (failed.lines().to_vec(), failed.code()),
        Err(error) => {
            let code = error.downcast_ref::<bench::BenchError>().map(bench::BenchError::exit_code);
            (vec![format!("{error:#}")], code.unwrap_or(NOT_STARTED))
        }
    };
    for line in lines {
        // With standard error gone there is nobody left to tell; the exit code stands.
        let _ = writeln!(std::io::stderr(), "carrot: {}", in_one_line(&line));
    }
    ExitCode::from(code)
}

fn run() -> anyhow::Result<()> {
    match cli::read()? {
        Command::Serve(args) => with_a_log(|cores| serve::serve(*args, cores)),
        Command::Demo(args) => with_a_log(|cores| demo::demo(args.offset, cores)),
        Command::Init => check::init(),
        Command::Check(args) => on_all_cores(|_| check::check(&args.file, args.origins)),
        Command::Replay(args) => replay::replay(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Ask(ask) => Ok(ask.run()?),
    }
}

/// Runs what answers others, and reports what it sees.
fn with_a_log<F>(work: impl FnOnce(Vec<Handle>) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    log::begin()?;
    on_all_cores(work)
}
