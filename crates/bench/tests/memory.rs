//! The memory of an engine, measured as the bench does: in a process that does nothing else.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::Command;

use serde_json::Value;

fn measured(name: &str, entries: u64) -> Value {
    let bench = env!("CARGO_BIN_EXE_carrot-bench");
    let output = Command::new(bench).args(["engine-memory", name, &entries.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_mutexed_lru_asks_for_what_can_be_counted_by_hand() {
    let memory = measured("mutexed lru", 14_000);
    assert_eq!(memory["entries"], 14_000);
    // Structs of key and value (24 and 32), two links (16), and a table with two pointers and a control byte in each
    // slot. Half as many would do, but a table that is nearly full grows when evictions have used up its free slots.
    let by_hand = 24.0 + 32.0 + 16.0 + 17.0 * 32_768.0 / 14_000.0;
    let asked = memory["asked_per_entry"].as_f64().unwrap();
    assert!((asked - by_hand).abs() < 2.0, "{asked} instead of {by_hand}");
    assert!(memory["resident_per_entry"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_bare_map_holds_what_was_put_in() {
    assert_eq!(measured("bare hashbrown", 1000)["entries"], 1000);
}

#[test]
fn an_engine_that_is_not_there_is_an_error() {
    let bench = env!("CARGO_BIN_EXE_carrot-bench");
    let output = Command::new(bench).args(["engine-memory", "redis", "10"]).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no engine is named redis"));
}
