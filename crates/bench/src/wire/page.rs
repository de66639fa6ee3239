//! docs/wire.md, and the same tables for the terminal; made from the results and nothing else.

use std::fmt::Write as _;

use anyhow::Context as _;

use crate::report::{Report, Runs};
use crate::table::Table;
use crate::wire::goals;
use crate::wire::results::{Cell, Run, Sample};
use crate::wire::rows::Row;

/// The page, by its path in the repository.
///
/// # Errors
/// When the report says something else than a bench of the wire.
pub(crate) fn page(report: &Report<Run>) -> anyhow::Result<(String, String)> {
    let runs = &report.rows;
    let mut page = format!(
        "# The wire, measured\n\n\
         Remote gets of the library, and the fronts of the program, beside what one would use instead, on one machine over\n\
         loopback. Made by `cargo run --release -p carrot-bench -- tables` from `results/wire.json`, which holds every\n\
         round: {}; commit {}; `{}`.\n\n\
         `cargo run --release -p carrot-bench -- wire --runs 3` builds our own programs and measures it anew; the servers of\n\
         others are got by `scripts/wire-anchors`. Client and server share the machine, so CPU time a get is the sound figure,\n\
         and ratios within a run: absolute speeds change with the machine's load.\n\n\
         Every get is answered from the other process's memory: counters say so, and one that is not ends the round. Values\n\
         are looked at by their length. A get of many is told by its keys.\n",
        report.machine()?,
        report.commit.get(..12).context("a commit has 40 digits")?,
        report.command_line,
    );
    for (title, text, table) in sections(runs) {
        write!(page, "\n## {title}\n\n{text}\n\n{table}")?;
    }
    write!(page, "\n## Commands\n\n{}", commands(runs))?;
    if let Some(missing) = missing(runs) {
        write!(page, "\n## Missing\n\n{missing}")?;
    }
    Ok(("docs/wire.md".to_owned(), page))
}

/// The same for reading at once.
pub(crate) fn tables(runs: &[Run]) -> String {
    let mut text: String =
        sections(runs).into_iter().rev().map(|(title, _, table)| format!("{title}\n\n{table}\n")).collect();
    if let Some(missing) = missing(runs) {
        text.push_str(&format!("Missing\n\n{missing}"));
    }
    text
}

fn sections(runs: &[Run]) -> [(&'static str, &'static str, Table); 2] {
    [
        (
            "Figures to reach",
            "A ratio is of a round, in which ours and the anchor took turns; of a run it is the median of its rounds, and\n\
             what is judged is the median of the runs, with the least and the most in brackets. \"NO\" is a loss.",
            goals::table(runs),
        ),
        (
            "Every cell",
            "Medians over all rounds of all runs, with the least and the most in brackets. Times are from the call to the\n\
             value; at a planned rate from the planned time. CPU is of all threads, user and system. Other cores: what the machine did\n\
             besides, in cores; above some tenths a rate was held down by others.",
            cells(runs),
        ),
    ]
}

fn cells(runs: &[Run]) -> Table {
    let mut table = Table::new([
        "contestant",
        "a second",
        "p50 µs",
        "p99 µs",
        "p99.9 µs",
        "client CPU µs",
        "server CPU µs",
        "other cores",
        "system calls",
    ]);
    for row in Row::ALL {
        let mut subjects: Vec<&str> = Vec::new();
        for cell in runs.iter().flat_map(|run| &run.cells).filter(|cell| cell.row == row.name()) {
            if !subjects.contains(&cell.subject.as_str()) {
                subjects.push(&cell.subject);
            }
        }
        if subjects.is_empty() {
            continue;
        }
        let mut heading = vec![String::new(); 9];
        heading[0] = format!("**{}**", row.title());
        table.push(heading);
        for subject in subjects {
            let cells: Vec<&Cell> = runs.iter().filter_map(|run| run.cell(row.name(), subject)).collect();
            table.push(line(subject, &cells));
        }
    }
    table
}

fn line(subject: &str, cells: &[&Cell]) -> Vec<String> {
    let figure = |of: fn(&Sample) -> Option<f64>, digits: usize| {
        let all: Option<Vec<f64>> = cells.iter().flat_map(|cell| &cell.samples).map(of).collect();
        let Some(all) = all.filter(|all| !all.is_empty()) else { return "–".to_owned() };
        let runs: Runs = all.into_iter().collect();
        format!("{:.digits$} ({:.digits$}–{:.digits$})", runs.median(), runs.least(), runs.most())
    };
    vec![
        subject.to_owned(),
        figure(|sample| Some(sample.rate()), 0),
        figure(|sample| Some(sample.p50_us), 0),
        figure(|sample| Some(sample.p99_us), 0),
        figure(|sample| sample.p99_9_us, 0),
        figure(|sample| Some(sample.client_us), 2),
        figure(|sample| Some(sample.server_us), 2),
        figure(|sample| Some(sample.other_cores), 1),
        figure(|sample| sample.syscalls, 3),
    ]
}

/// What ran, each contestant once, and of which version it was.
fn commands(runs: &[Run]) -> String {
    let mut text = String::from(
        "As they ran in the last round of the last run; our own programs are told by their first word.\n\n",
    );
    for (program, version) in runs.last().iter().flat_map(|run| &run.versions) {
        text.push_str(&format!("- {program}: {version}\n"));
    }
    for cell in runs.last().iter().flat_map(|run| &run.cells) {
        let Cell { row, subject, server, client, .. } = cell;
        text.push_str(&format!("- {row}: {subject}: `{server}`, asked by `{client}`\n"));
    }
    text
}

/// Who was not there, each row and reason once.
fn missing(runs: &[Run]) -> Option<String> {
    let mut lines: Vec<String> = Vec::new();
    for absent in runs.iter().flat_map(|run| &run.missing) {
        let line = format!("- {}: {}: {}\n", absent.row, absent.subject, absent.why);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    (!lines.is_empty()).then(|| lines.concat())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wire::results::Absent;

    fn report(runs: &[Run]) -> Report<Run> {
        let machine = json!({"cpu": "a core", "cores": 2});
        let report = json!({"commit": "0".repeat(40), "command_line": "x", "machine": machine, "rows": runs});
        serde_json::from_value(report).unwrap()
    }

    fn sample(asked: u64) -> Sample {
        Sample { asked, seconds: 2.0, p50_us: 1.4, server_us: 0.5, ..Sample::default() }
    }

    #[test]
    fn a_page_tells_every_round_and_who_is_missing() {
        let cell = Cell {
            row: "remote".to_owned(),
            subject: "carrotcache".to_owned(),
            server: "carrot-bench wire-node".to_owned(),
            client: "carrot-bench wire-gets".to_owned(),
            samples: vec![sample(1000), sample(3000), sample(2000)],
        };
        let absent = Absent {
            row: "remote".to_owned(),
            subject: "groupcache, tuned".to_owned(),
            why: "no go here".to_owned(),
        };
        let versions = [("redis-server".to_owned(), "v=7".to_owned())].into();
        let run = Run { versions, cells: vec![cell], missing: vec![absent.clone(), absent] };
        let (path, page) = page(&report(&[run.clone(), run])).unwrap();
        assert_eq!(path, "docs/wire.md");
        let line = page.lines().find(|line| line.starts_with("| carrotcache")).unwrap();
        let told: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(told[2..4], ["1000 (500–1500)", "1 (1–1)"]);
        assert_eq!(told[5..10], ["–", "0.00 (0.00–0.00)", "0.50 (0.50–0.50)", "0.0 (0.0–0.0)", "–"]);
        assert_eq!(page.matches("- remote: groupcache, tuned: no go here\n").count(), 1);
        let command = "- remote: carrotcache: `carrot-bench wire-node`, asked by `carrot-bench wire-gets`\n";
        assert!(page.contains(command) && page.contains("- redis-server: v=7\n"));
    }

    #[test]
    fn a_row_that_nobody_was_there_for_is_said_to_be_not_measured_and_one_that_was_not_asked_for_is_not_told()
    {
        let absent = |row: &str| Absent { row: row.to_owned(), subject: "x".to_owned(), why: "y".to_owned() };
        let run = Run { missing: vec![absent("remote"), absent("http")], ..Run::default() };
        let (_, page) = page(&report(&[run])).unwrap();
        assert_eq!(page.matches("not measured").count(), 3, "two figures of one row, one of the other");
        assert!(page.contains("- http: x: y\n"));
    }
}
