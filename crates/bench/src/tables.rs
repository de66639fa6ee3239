//! The tables and plots in `docs/`, made from `results/` and from nothing else, so that no figure is written by hand.
//!
//! A page is text with tables and plots, from one result; a test fails when page or plots and the result differ.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::Value;

use crate::engine;
use crate::report::Report;
use crate::wire;

/// Writes every page and plot anew. Run from anywhere in the repository's source tree.
///
/// # Errors
/// When a result is missing or is none, or a page cannot be written.
pub(crate) fn run() -> anyhow::Result<()> {
    for (path, text) in pages()? {
        let page = root().join(&path);
        let cannot = || format!("cannot write {}", page.display());
        fs::create_dir_all(page.parent().unwrap_or(&page)).with_context(cannot)?;
        fs::write(&page, text).with_context(cannot)?;
        println!("written: {path}");
    }
    Ok(())
}

/// Each file by its path in the repository.
fn pages() -> anyhow::Result<Vec<(String, String)>> {
    let mut pages = vec![("docs/placement.md".to_owned(), placement()?)];
    pages.extend(engine::pages(&Report::read(&root().join("results/engine.json"))?)?);
    // There is no page before there is a result.
    let wire = root().join("results/wire.json");
    if wire.exists() {
        pages.push(wire::page(&Report::read(&wire)?)?);
    }
    Ok(pages)
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
    fn every_page_and_plot_says_what_the_result_says() {
        let pages = pages().unwrap();
        for (path, text) in &pages {
            let page = fs::read_to_string(root().join(path)).unwrap_or_default();
            assert!(page == *text, "{path} differs; run: cargo run --release -p carrot-bench -- tables");
        }
        let wire = "docs/wire.md";
        assert_eq!(
            root().join(wire).exists(),
            pages.iter().any(|(made, _)| made == wire),
            "{wire} is of no result"
        );
        for plot in fs::read_dir(root().join("docs/engine")).unwrap() {
            let name = plot.unwrap().file_name().into_string().unwrap();
            let path = format!("docs/engine/{name}");
            assert!(pages.iter().any(|(made, _)| *made == path), "{path} is of no result");
        }
    }
}
