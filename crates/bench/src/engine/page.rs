//! docs/engine.md and its plots, and the same tables for the terminal; made from the results and nothing else.

mod cost;
mod ratios;
mod speed;

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::engine::figures::scaling;
use crate::engine::goals;
use crate::engine::results::Run;
use crate::engine::section::Section;
use crate::report::Report;

/// The page and its plots, each by its path in the repository.
///
/// # Errors
/// When the report says something else than a bench of the engine.
pub(crate) fn pages(report: &Report<Run>) -> anyhow::Result<Vec<(String, String)>> {
    let mut page = format!(
        "# The engine, measured\n\n\
         carrot-engine beside the caches that a Rust user would take instead. Made by\n\
         `cargo run --release -p carrot-bench -- tables` from `results/engine.json`, which holds every run: {}; commit {};\n\
         `{}`.\n\n\
         All engines were measured in one run and took turns in each round, on the same requests, fresh in each. They\n\
         hash with ahash; carrot-engine has its own hash. Figures are medians, with the least and the most in brackets.\n\
         Trust ratios within a run, not absolute speeds: these change with the machine's load.\n",
        report.machine()?,
        report.commit.get(..12).context("a commit has 40 digits")?,
        report.command_line,
    );
    let mut pages = Vec::new();
    for section in sections(&report.rows) {
        write!(page, "\n## {}\n\n{}\n\n", section.title, section.text)?;
        if section.table.is_empty() {
            page.push_str("Not measured.\n");
        } else {
            write!(page, "{}", section.table)?;
        }
        if let Some((name, picture)) = section.plot {
            write!(page, "\n![{}](engine/{name}.svg)\n", section.title)?;
            pages.push((format!("docs/engine/{name}.svg"), picture));
        }
    }
    pages.push(("docs/engine.md".to_owned(), page));
    Ok(pages)
}

/// The same for reading at once.
pub(crate) fn tables(runs: &[Run]) -> String {
    let told = sections(runs).into_iter().filter(|section| !section.table.is_empty()).rev();
    told.map(|section| format!("{}\n\n{}\n", section.title, section.table)).collect()
}

fn sections(runs: &[Run]) -> Vec<Section> {
    vec![
        reach(runs),
        speed::hits(runs),
        speed::readthrough(runs),
        cost::memory(runs),
        cost::latency(runs),
        cost::collisions(runs),
        ratios::means(runs),
        ratios::cells(runs),
    ]
}

fn reach(runs: &[Run]) -> Section {
    let scalings: Vec<String> =
        runs.iter().filter_map(scaling).map(|scaling| format!("{scaling:.2}")).collect();
    let text = format!(
        "Speeds of carrot-engine are multiples of the anchor's in the same run, or of a bare hash map's. \"NO\" is a loss.\n\
         Two-thread speeds are judged only by runs in which the bare map is at least 1.6 times as fast by two threads as\n\
         by one; here it was {} times as fast.",
        if scalings.is_empty() { "not measured how many".to_owned() } else { scalings.join(", ") },
    );
    Section { title: "Figures to reach", text, table: goals::table(runs), plot: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_measured_is_said_to_be_so_and_has_no_plot() {
        let machine = json!({"cpu": "a core", "cores": 2});
        let report = json!({"commit": "0".repeat(40), "command_line": "x", "machine": machine, "rows": [Run::default()]});
        let pages = pages(&serde_json::from_value(report).unwrap()).unwrap();
        let [(path, page)] = &pages[..] else { panic!("a page and no plots, not {}", pages.len()) };
        assert_eq!(path, "docs/engine.md");
        assert!(page.contains("a core, 2 cores") && page.contains("## Every cell"));
        assert_eq!(page.matches("\nNot measured.\n").count(), 7);
    }
}
