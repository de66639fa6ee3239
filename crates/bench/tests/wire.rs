//! The wire, measured for a moment over our own nodes, on a machine that has nobody else's servers.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::{Command, Output};

use serde_json::Value;

/// Runs the bench where no program of others is to be found.
fn wire(arguments: &[&str]) -> Output {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_carrot-bench"));
    // Without cargo, which built what is measured already.
    bench.arg("wire").args(arguments).env("PATH", "/nowhere").env_remove("CARGO").output().unwrap()
}

#[test]
fn our_nodes_are_measured_and_who_is_not_here_is_written_down_as_missing() {
    let output =
        wire(&["--quick", "--json", "--unpacked", "/nowhere", "--only", "remote,many,compatible,paced"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let runs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (cells, missing) = (runs[0]["cells"].as_array().unwrap(), runs[0]["missing"].as_array().unwrap());
    let name = |cell: &Value, what: &str| cell[what].as_str().unwrap().to_owned();
    let measured: Vec<_> = cells.iter().map(|cell| (name(cell, "row"), name(cell, "subject"))).collect();
    let ours =
        ["remote", "many", "paced", "compatible"].map(|row| (row.to_owned(), "carrotcache".to_owned()));
    assert_eq!(measured, ours, "{said}");
    for cell in cells {
        let sample = &cell["samples"][0];
        assert!(sample["asked"].as_u64().unwrap() > 0 && sample["p50_us"].as_f64().unwrap() > 0.0, "{cell}");
    }
    // Half a second of 10,000 a second: each that was planned has its answer in the figures.
    assert_eq!(cells[2]["samples"][0]["asked"], 5000);
    assert_eq!(missing.len(), 5, "{missing:?}");
    let how = "no go here: Debian's packages golang-go and golang-github-golang-groupcache-dev have it";
    assert!(missing.iter().all(|absent| absent["why"] == how), "{missing:?}");
    assert!(said.contains(&format!("groupcache, tuned is missing from this row: {how}")), "{said}");
}

#[test]
fn what_cannot_be_measured_is_refused_in_a_line() {
    for (arguments, why) in [
        (["--only", "grpc"], "invalid value 'grpc'"),
        (["--seconds", "0"], "it is not from 0.1 to 600"),
        (["--keys", "0"], "0 is not in 1..=10000000"),
        (["--rounds", "0"], "0 is not in 1..=65535"),
    ] {
        let output = wire(&arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{arguments:?}: {said}");
    }
}
