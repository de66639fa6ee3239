//! CPU time of processes and their children, as Linux's /proc tells it: to a hundredth of a second.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context as _;

/// Ticks a second in which the kernel tells times to programs; on all of Linux's machines that Rust knows.
const TICKS: f64 = 100.0;

/// What /proc/PID/stat says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// Of the process, its threads that are gone included.
    ticks: u64,
    /// Of its children that ended and were waited for.
    ended: u64,
}

/// CPU seconds of these processes with all that descends from them and still runs.
pub(crate) fn cpu_seconds(roots: &[u32]) -> anyhow::Result<f64> {
    let all = everybody()?;
    let ticks: u64 = tree(&all, roots).iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum();
    Ok(ticks as f64 / TICKS)
}

/// CPU seconds of this process's children that have ended.
pub(crate) fn ended_children_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("CPU times are read from Linux's /proc")?;
    Ok(parse(&text).context("/proc/self/stat")?.ended as f64 / TICKS)
}

/// CPU seconds that all cores together were at work, the host's other guests included.
pub(crate) fn machine_seconds() -> anyhow::Result<f64> {
    let text = fs::read_to_string("/proc/stat").context("CPU times are read from Linux's /proc")?;
    at_work(&text).map(|ticks| ticks as f64 / TICKS).context("/proc/stat")
}

/// `cpu user nice system idle iowait irq softirq steal …`, all but the two of idle cores.
fn at_work(text: &str) -> Option<u64> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map_while(|ticks| ticks.parse().ok()).collect();
    (ticks.len() >= 8).then(|| ticks[..8].iter().sum::<u64>() - ticks[3] - ticks[4])
}

/// These processes and all that descends from them.
pub(crate) fn with_children(roots: &[u32]) -> anyhow::Result<Vec<u32>> {
    Ok(tree(&everybody()?, roots))
}

fn everybody() -> anyhow::Result<BTreeMap<u32, Stat>> {
    let entries = fs::read_dir("/proc").context("CPU times are read from Linux's /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    // One that ended between the two reads is no more.
    Ok(pids
        .filter_map(|pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect())
}

fn tree(all: &BTreeMap<u32, Stat>, roots: &[u32]) -> Vec<u32> {
    let mut tree = roots.to_vec();
    let mut at = 0;
    while at < tree.len() {
        let parent = tree[at];
        tree.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    tree.sort_unstable();
    tree.dedup();
    tree
}

/// Fields are counted from behind the name, which may hold anything.
fn parse(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        ended: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::wire::puppet::puppet;

    #[test]
    fn fields_are_those_of_the_manual_whatever_the_name_is() {
        let text = "42 (a) b (c) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 20 5 20 0 1 0 100 1000 10 18446744073709551615";
        assert_eq!(parse(text), Some(Stat { parent: 7, ticks: 200, ended: 25 }));
        assert_eq!(parse("42 (a"), None);
        assert_eq!(parse("42 (a) S 7"), None);
    }

    #[test]
    fn a_core_at_work_is_one_that_does_not_idle() {
        assert_eq!(at_work("cpu  10 1 5 1000 100 2 3 4 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n"), Some(25));
        assert_eq!(at_work("cpu  10 1 5"), None);
        assert_eq!(at_work(""), None);
        assert!(machine_seconds().unwrap() > 0.0);
    }

    #[test]
    fn children_of_children_count_and_strangers_do_not() {
        let stat = |parent| Stat { parent, ticks: 0, ended: 0 };
        let all = BTreeMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1)), (5, stat(9))]);
        assert_eq!(tree(&all, &[2]), [2, 3]);
        assert_eq!(tree(&all, &[1]), [1, 2, 3, 4]);
    }

    #[test]
    fn what_a_child_takes_counts_as_its_own_while_it_runs_and_as_ended_when_it_has() {
        let before = ended_children_seconds().unwrap();
        let mut child = puppet(&["work", "read"]).stdin(Stdio::piped()).spawn().unwrap();
        let pids = with_children(&[std::process::id()]).unwrap();
        assert!(pids.contains(&child.id()) && pids.contains(&std::process::id()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(ended_children_seconds().unwrap() - before >= 0.04);
        assert!(cpu_seconds(&[child.id()]).unwrap().abs() < 1e-9, "there is no such process any more");
    }
}
