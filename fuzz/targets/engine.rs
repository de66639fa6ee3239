//! Operations on two caches of one budget, against naive maps: the function is the one that `cargo test` runs.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/engine/tests/operations/run.rs"]
mod run;

fuzz_target!(|bytes: &[u8]| run::run(bytes));
