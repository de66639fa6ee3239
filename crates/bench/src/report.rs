//! How a measurement is kept: where, by what and on what it was made, and the spread of its runs.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One figure measured several times; never empty. In a file: all of them, and what is told of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Written")]
pub(crate) struct Runs {
    /// As they came.
    all: Vec<f64>,
    sorted: Vec<f64>,
}

impl Runs {
    /// Measures `rounds` times; `rounds` is at least 1.
    pub(crate) fn of(rounds: usize, mut measure: impl FnMut() -> f64) -> Self {
        (0..rounds).map(|_| measure()).collect()
    }

    /// Of an even number the mean of the middle two.
    pub(crate) fn median(&self) -> f64 {
        let count = self.sorted.len();
        f64::midpoint(self.sorted[(count - 1) / 2], self.sorted[count / 2])
    }

    pub(crate) fn mean(&self) -> f64 {
        self.all.iter().sum::<f64>() / self.all.len() as f64
    }

    /// As they came.
    pub(crate) fn all(&self) -> &[f64] {
        &self.all
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted[0]
    }

    pub(crate) fn most(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// All that is known, to be written down.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "median": self.median(), "mean": self.mean(), "least": self.least(), "most": self.most(), "runs": self.all,
        })
    }
}

impl FromIterator<f64> for Runs {
    fn from_iter<I: IntoIterator<Item = f64>>(runs: I) -> Self {
        let all: Vec<f64> = runs.into_iter().collect();
        assert!(!all.is_empty(), "a figure is measured at least once");
        let mut sorted = all.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Self { all, sorted }
    }
}

/// What is read of `Runs`: the rest follows from it.
#[derive(Deserialize)]
struct Written {
    runs: Vec<f64>,
}

impl TryFrom<Written> for Runs {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        if written.runs.is_empty() {
            Err("a figure without a run")
        } else {
            Ok(written.runs.into_iter().collect())
        }
    }
}

impl From<Runs> for Value {
    fn from(runs: Runs) -> Self {
        runs.to_json()
    }
}

/// The median and, in brackets, the least and the most.
impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ({:.2}–{:.2})", self.median(), self.least(), self.most())
    }
}

/// What `write` wrote.
#[derive(Deserialize)]
pub(crate) struct Report<T> {
    pub(crate) commit: String,
    pub(crate) command_line: String,
    machine: Value,
    pub(crate) rows: Vec<T>,
}

impl<T: DeserializeOwned> Report<T> {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such file, or it holds something else.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// `AMD EPYC, 2 cores`.
    pub(crate) fn machine(&self) -> anyhow::Result<String> {
        let cpu = self.machine["cpu"].as_str().context("no cpu in the report")?;
        let cores = self.machine["cores"].as_u64().context("no cores in the report")?;
        Ok(format!("{cpu}, {cores} cores"))
    }
}

/// Writes `results/NAME.json` in the repository: the rows, and how they were made. Gives the file's path.
pub(crate) fn write(name: &str, rows: &[impl Serialize]) -> anyhow::Result<PathBuf> {
    let root = git(&["rev-parse", "--show-toplevel"])?;
    let report = json!({
        "name": name,
        "commit": git(&["rev-parse", "HEAD"])?,
        "uncommitted_changes": !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty(),
        "command_line": command_line(),
        "machine": machine(),
        "rows": rows,
    });
    let folder = Path::new(&root).join("results");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{name}.json"));
    fs::write(&path, format!("{report:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// What git says, without the line's end.
fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("git").args(arguments).output().context("cannot run git")?;
    anyhow::ensure!(output.status.success(), "git {} failed: not in the repository?", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The program by its name and its arguments. Where it was built and where it finds its input is no part of the finding.
fn command_line() -> String {
    let arguments = std::env::args().skip(1).map(|argument| without_place(&argument));
    [env!("CARGO_PKG_NAME").to_owned()].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

/// `…/NAME` for a path from the root of a file system, or out of the folder one is in; else as it is.
pub(crate) fn without_place(argument: &str) -> String {
    let path = Path::new(argument);
    match path.file_name() {
        Some(name) if path.is_absolute() || path.starts_with("..") => format!("…/{}", name.display()),
        _ => argument.to_owned(),
    }
}

fn machine() -> Value {
    json!({
        "cpu": cpu_model().unwrap_or_else(|| "unknown".to_owned()),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "optimised": !cfg!(debug_assertions),
    })
}

/// The first core's model, as Linux tells it.
fn cpu_model() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_the_name_is_told_and_not_the_place() {
        let told = ["/a/b/traces", "traces", "--runs", "../c"].map(without_place);
        assert_eq!(told, ["…/traces", "traces", "--runs", "…/c"]);
    }

    #[test]
    fn runs_come_back_from_a_file_as_they_went_into_it() {
        let runs: Runs = [0.1, 1e9, -3.5].into_iter().collect();
        let text = serde_json::to_string(&runs).unwrap();
        assert_eq!(serde_json::from_str::<Runs>(&text).unwrap().to_json(), runs.to_json());
        assert!(serde_json::from_str::<Runs>(r#"{"runs": []}"#).is_err());
    }

    #[test]
    fn runs_are_kept_as_they_came_and_told_by_their_median() {
        let runs: Runs = [5.0, 1.0, 3.0].into_iter().collect();
        assert_eq!(runs.to_string(), "3.00 (1.00–5.00)");
        assert_eq!(runs.to_json()["runs"], json!([5.0, 1.0, 3.0]));
        assert!((runs.mean() - 3.0).abs() < 1e-9);
        let runs: Runs = [5.0, 1.0, 2.0, 3.0].into_iter().collect();
        assert!((runs.median() - 2.5).abs() < 1e-9);
    }
}
