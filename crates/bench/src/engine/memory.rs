//! What an entry takes beyond its key and value: as asked of the allocator, and as the process grew.
//!
//! One engine a process, which the bench starts itself: a heap that others have torn up says nothing of growth.

use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::Context as _;

use crate::alloc;
use crate::engine::entrants::{BARE, bare, distinct};
use crate::engine::face::Capacity;
use crate::engine::results::Memory;
use crate::engine::subject::{Subject, VALUE};
use crate::engine::zipf::{KEY, Requests};

/// The subcommand by which the bench starts itself.
pub(crate) const CHILD: &str = "engine-memory";

/// Longer than any engine puts work off.
const SETTLED_AFTER: Duration = Duration::from_millis(400);

/// Every cache with room for so many entries, and the bare map; each in a process of its own.
pub(crate) fn measure(entries: usize) -> anyhow::Result<Vec<Memory>> {
    let names = [BARE].into_iter().chain(distinct().map(|entrant| entrant.name));
    names.map(|name| in_child(name, entries)).collect()
}

fn in_child(name: &str, entries: usize) -> anyhow::Result<Memory> {
    let program = std::env::current_exe().context("cannot find the program itself")?;
    let output = Command::new(program)
        .args([CHILD, name, &entries.to_string()])
        .output()
        .with_context(|| format!("cannot start {CHILD} {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{CHILD} {name}: {said}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("what {CHILD} {name} printed"))
}

/// Measures one engine here, and prints what came of it; to be run in a process that has done nothing before.
///
/// # Errors
/// When there is no such engine, or the system does not tell how large the process is.
pub(crate) fn child(name: &str, entries: usize) -> anyhow::Result<()> {
    let entrant = distinct().find(|entrant| entrant.name == name);
    anyhow::ensure!(entrant.is_some() || name == BARE, "no engine is named {name}");
    // A cache is filled past its capacity, so that it holds whatever it keeps of what it evicted.
    let keys = Requests::each(0..if entrant.is_some() { entries + entries / 2 } else { entries });
    let resident = resident_bytes()?;
    alloc::start();
    let mut subject: Box<dyn Subject> = match entrant {
        Some(entrant) => (entrant.cache)(Capacity::of_entries(entries)),
        None => bare(entries),
    };
    subject.fill(&keys);
    thread::sleep(SETTLED_AFTER);
    let held = subject.len();
    anyhow::ensure!(held > 0, "{name} holds nothing");
    let per_entry = |bytes: f64| bytes / held as f64 - (KEY + VALUE) as f64;
    let asked_per_entry = per_entry(alloc::asked_bytes() as f64);
    let resident_per_entry = per_entry(resident_bytes()? as f64 - resident as f64);
    anyhow::ensure!(
        asked_per_entry >= 0.0,
        "{name} holds more than the allocator was asked for: it has memory of its own"
    );
    let memory =
        Memory { engine: name.to_owned(), entries: held as u64, asked_per_entry, resident_per_entry };
    println!("{}", serde_json::to_string(&memory)?);
    Ok(())
}

/// How much of this process is in memory, as Linux tells it.
fn resident_bytes() -> anyhow::Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("resident memory is read from Linux's /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in /proc")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")?;
    Ok(kib * 1024)
}
