//! The examples, run as their readers run them: as processes, asked over sockets, stopped by their ids.
//!
//! Cargo builds examples before it runs a package's tests. A test may rely on no program but Rust's, so each example
//! is reached over sockets of the test's own. How a process is started and watched is in process.rs, how it is asked
//! in client.rs; `own_clock` is not among them, since it consists of tests.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod axum_service;
mod client;
mod process;
mod three_processes;
mod typed_rows;
