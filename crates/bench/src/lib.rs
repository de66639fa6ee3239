//! carrotcache's parts beside their anchors, measured in one run: `carrot-bench placement`, `carrot-bench engine`,
//! `carrot-bench wire`; and `carrot-bench tables`, which makes the tables and plots in `docs/` from what was measured.
//!
//! Prints a table and writes every run to `results/NAME.json`, with commit, machine and command line, so that a
//! figure in the docs can be traced to how it was made.
//!
//! Two programs: `carrot-bench`, and `carrot-bench-nodes`, which is the same with the allocator that `carrot` has. The nodes
//! that `wire` measures run in the second, as they would in a service that cares; the engine beside other caches in the first,
//! where all have the system's allocator and its bytes can be counted.

#![deny(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints its findings")]

pub mod alloc;
mod bars;
mod cli;
mod engine;
mod placement;
mod report;
mod table;
mod tables;
mod wire;

pub use crate::cli::main;
