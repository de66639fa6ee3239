//! System calls of processes, counted by perf at the kernel's tracepoint, while they run as they always do.
//!
//! Not by strace: it stops a process at each call, and a process that is stopped gathers more in each batch.

use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;

use crate::wire::programs::{Missing, Programs};
use crate::wire::running::{Cores, GRACE, Running};
use crate::wire::stat;

const HOW: &str = "Debian's package linux-perf has it";
const EVENT: &str = "raw_syscalls:sys_enter";
/// The part of the stretch that is counted: perf needs some of it to begin.
const PART: f64 = 0.7;

/// perf, where it is and may count.
#[derive(Debug)]
pub(crate) struct Counter {
    programs: Programs,
}

/// A count under way.
pub(crate) struct Counting {
    running: Running,
    seconds: f64,
}

impl Counter {
    /// # Errors
    /// When perf is not here, or may not count on this machine.
    pub(crate) fn new(programs: &Programs) -> anyhow::Result<Self> {
        let mut perf = programs.command("perf", HOW)?;
        perf.args(["stat", "-x,", "-e", EVENT, "--", "true"]);
        let tried = Running::start(perf, Cores::All)?.output(GRACE)?;
        if calls(&tried.said).is_err() {
            let how = "and counting system calls needs the kernel's tracepoints: root, or kernel.perf_event_paranoid -1";
            return Err(Missing::new("perf that may count", how).into());
        }
        Ok(Self { programs: programs.clone() })
    }

    /// Counts those of these processes and all they started, for most of so many seconds from now.
    pub(crate) fn start(&self, processes: &[u32], seconds: f64) -> anyhow::Result<Counting> {
        let all: Vec<String> = stat::with_children(processes)?.iter().map(u32::to_string).collect();
        let seconds = seconds * PART;
        let mut perf: Command = self.programs.command("perf", HOW)?;
        perf.args(["stat", "-x,", "-e", EVENT, "-p", &all.join(","), "--", "sleep", &seconds.to_string()]);
        Ok(Counting { running: Running::start(perf, Cores::All)?, seconds })
    }
}

impl Counting {
    /// Waits for its end.
    ///
    /// # Errors
    /// When perf fails, or says no number.
    pub(crate) fn a_second(self) -> anyhow::Result<f64> {
        let output = self.running.output(Duration::from_secs_f64(self.seconds) + GRACE)?;
        Ok(calls(&output.said)? / self.seconds)
    }
}

/// `144,,raw_syscalls:sys_enter,1415095,100.00,,`
fn calls(said: &str) -> anyhow::Result<f64> {
    let line = said.lines().find(|line| line.contains(EVENT)).with_context(|| format!("no count: {said}"))?;
    let number = line.split(',').next().unwrap_or_default();
    number.parse().with_context(|| format!("no count: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_is_read_and_what_is_none_is_an_error() {
        assert!((calls("144,,raw_syscalls:sys_enter,1415095,100.00,,").unwrap() - 144.0).abs() < 1e-9);
        assert!(calls("<not supported>,,raw_syscalls:sys_enter,0,100.00,,").is_err());
        assert!(calls("Error: No permission").is_err());
    }
}
