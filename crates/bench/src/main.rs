//! carrotcache's parts beside their anchors, measured in one run: `carrot-bench placement`; and
//! `carrot-bench tables`, which makes the tables in `docs/` from what was measured.
//!
//! Prints a table and writes every run to `results/NAME.json`, with commit, machine and command line, so that a
//! figure in the docs can be traced to how it was made.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

mod placement;
mod report;
mod tables;

use std::process::ExitCode;

const USAGE: &str = "usage: carrot-bench placement | tables";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["placement"] => placement::run(),
        ["tables"] => tables::run(),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carrot-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
