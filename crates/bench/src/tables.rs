//! The tables in `docs/`, made from `results/` and from nothing else, so that no figure is written by hand.
//!
//! A page is text with a table per result; a test fails when the page and the result differ.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

/// Writes every page anew. Run from anywhere in the repository's source tree.
///
/// # Errors
/// When a result is missing or is none, or a page cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    let page = root().join("docs/placement.md");
    fs::write(&page, placement()?).with_context(|| format!("cannot write {}", page.display()))?;
    println!("written: {}", page.display());
    Ok(())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// `docs/placement.md`.
fn placement() -> anyhow::Result<String> {
    let result = root().join("results/placement.json");
    let text = fs::read_to_string(&result).with_context(|| format!("cannot read {}", result.display()))?;
    let result: Value = serde_json::from_str(&text).context("results/placement.json")?;
    let mut page = String::from(
        "# Placement, measured\n\n\
         Made by `cargo run --release -p carrot-bench -- tables` from `results/placement.json`, which holds every run.\n\
         `slots` is the default; `ring` is the circle of the Go family, kept for its peers.\n\n\
         | placement | members | fullest over mean | join | leave | build ms | lookup with the hash, ns |\n\
         |---|---|---|---|---|---|---|\n",
    );
    for row in result["rows"].as_array().context("results/placement.json has no rows")? {
        let cells = [
            row["placement"].as_str().context("placement")?.to_owned(),
            row["members"].to_string(),
            figure(&row["max_over_mean"], "median")?,
            figure(&row["join_moves_over_least"], "mean")?,
            figure(&row["leave_moves_over_least"], "mean")?,
            figure(&row["build_ms"], "median")?,
            figure(&row["lookup_ns_with_hash"], "median")?,
        ];
        writeln!(page, "| {} |", cells.join(" | "))?;
    }
    let machine = &result["machine"];
    write!(
        page,
        "\nMedian (least to most) of ten lists of members, or of as many rounds as the result holds; for join and leave\n\
         the mean, as a multiple of what has to move. {}, {} cores; commit {}; `{}`.\n",
        machine["cpu"].as_str().unwrap_or("unknown"),
        machine["cores"],
        result["commit"].as_str().context("commit")?.get(..12).unwrap_or("unknown"),
        result["command_line"].as_str().context("command_line")?,
    )?;
    Ok(page)
}

/// A figure with its spread.
fn figure(runs: &Value, middle: &str) -> anyhow::Result<String> {
    let number = |name: &str| runs[name].as_f64().with_context(|| format!("{name} of {runs}"));
    Ok(format!("{:.2} ({:.2}–{:.2})", number(middle)?, number("least")?, number("most")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_what_the_result_says() {
        let page = fs::read_to_string(root().join("docs/placement.md")).unwrap();
        assert_eq!(page, placement().unwrap(), "run: cargo run --release -p carrot-bench -- tables");
    }
}
