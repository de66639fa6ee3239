//! The walls of the house: reads every source file of the repository and holds it to the rules of ARCHITECTURE.md.
//!
//! Who may import whom is in floors.rs, what each file holds to by itself in rules.rs. The same checker runs over
//! planted violations (planted.rs), since a rule that finds nothing in a clean house has shown nothing.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod dependencies;
mod floors;
mod imports;
mod planted;
mod rules;
mod scan;

use std::fs;
use std::path::{Path, PathBuf};

/// The root of the repository, wherever the test is started.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every text file that may be committed, as path from the root and text, in order.
fn repository(root: &Path) -> Vec<(String, String)> {
    // Git is not among the programs a test may rely on. The ignored paths of this repository are all `/name`.
    let ignored = fs::read_to_string(root.join(".gitignore")).unwrap();
    let ignored: Vec<_> = ignored.lines().filter_map(|line| line.strip_prefix('/')).chain([".git"]).collect();
    let mut files = Vec::new();
    let mut left = vec![root.to_path_buf()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if ignored.contains(&name.trim_end_matches('/')) {
                continue;
            }
            if path.is_dir() {
                left.push(path);
            } else if let Ok(text) = String::from_utf8(fs::read(path).unwrap()) {
                files.push((name.replace('\\', "/"), text));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn the_house_keeps_its_rules() {
    let files = repository(&root());
    for read in ["Cargo.toml", "crates/carrotcache/src/lib.rs", "crates/engine/src/lib.rs"] {
        assert!(files.iter().any(|(path, _)| path == read), "{read} was not read");
    }
    let lines: Vec<_> = rules::check(&files).iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{} violations:\n{}", lines.len(), lines.join("\n"));
}
