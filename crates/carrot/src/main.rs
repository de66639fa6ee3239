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
mod check;
mod cli;
mod config;
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
use std::time::Duration;

use crate::cli::Command;
use crate::line::in_one_line;

/// Wrong usage, wrong settings, or a node that could not start.
const NOT_STARTED: u8 = 2;

/// For threads that are in the midst of a read when all is done.
const LAST_WAIT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let (lines, code) = match error.downcast::<ask::Failed>() {
        Ok(failed) => (failed.lines().to_vec(), failed.code()),
        Err(error) => (vec![format!("{error:#}")], NOT_STARTED),
    };
    for line in lines {
        // With standard error gone there is nobody left to tell; the exit code stands.
        let _ = writeln!(std::io::stderr(), "carrot: {}", in_one_line(&line));
    }
    ExitCode::from(code)
}

fn run() -> anyhow::Result<()> {
    match cli::read()? {
        Command::Serve(args) => with_a_log(serve::serve(*args)),
        Command::Demo(args) => with_a_log(demo::demo(args.offset)),
        Command::Init => check::init(),
        Command::Check(args) => until_it_ends(check::check(&args.file, args.origins)),
        Command::Replay(args) => replay::replay(&args),
        Command::Ask(ask) => Ok(ask.run()?),
    }
}

/// Runs what answers others, and reports what it sees.
fn with_a_log(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    log::begin()?;
    until_it_ends(work)
}

/// Runs it on all cores.
fn until_it_ends(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(work);
    // A runtime that is dropped waits for them without end, also where a file system hangs.
    runtime.shutdown_timeout(LAST_WAIT);
    ended
}
