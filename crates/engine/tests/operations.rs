//! Operations as bytes say them, against naive maps: over the kept corpus, and over random bytes. `scripts/fuzz` looks
//! for more by the same function.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;

#[path = "operations/run.rs"]
mod run;

/// Random bytes of a seed (splitmix64).
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = (0..len.div_ceil(8)).flat_map(|_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).to_le_bytes()
    });
    words.take(len).collect()
}

#[test]
fn what_the_fuzzer_found_worth_keeping_holds_to_the_contract() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/operations/corpus");
    let mut ran = 0;
    for file in fs::read_dir(corpus).unwrap() {
        run::run(&fs::read(file.unwrap().path()).unwrap());
        ran += 1;
    }
    assert!(ran > 0);
}

#[test]
fn random_operations_hold_to_the_contract() {
    for seed in 0..50 {
        let failed = std::panic::catch_unwind(|| run::run(&random(seed, 1000))).is_err();
        assert!(!failed, "with seed {seed}");
    }
}

#[test]
fn long_runs_hold_to_it_too() {
    for seed in 1000..1002 {
        let failed = std::panic::catch_unwind(|| run::run(&random(seed, 20_000))).is_err();
        assert!(!failed, "with seed {seed}");
    }
}
