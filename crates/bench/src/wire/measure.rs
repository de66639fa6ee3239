//! One round of one contestant: a client runs, and the CPU time of client and server is taken at both ends of the stretch
//! that it counts.
//!
//! Clients of ours and of Go print `begin` and `end JSON` there. Tools of others are measured from their start to their
//! end, all of which they count.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::wire::results::{Played, Sample};
use crate::wire::running::{Cores, GRACE, Output, Running};
use crate::wire::stat;
use crate::wire::syscalls::{Counter, Counting};

/// What a client found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// Gets that were answered with their value.
    pub(crate) asked: u64,
    pub(crate) seconds: f64,
    pub(crate) errors: u64,
    /// One of them; empty where there is none.
    pub(crate) first_error: String,
    pub(crate) p50_us: f64,
    pub(crate) p90_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p99_9_us: f64,
    pub(crate) max_us: f64,
}

/// How a client is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// The server, with all that it started.
    pub(crate) server: u32,
    pub(crate) cores: Cores,
    /// How long the stretch is that counts.
    pub(crate) seconds: f64,
    /// Whether system calls are counted, and by what.
    pub(crate) counter: Option<&'a Counter>,
}

/// Runs a client that prints `begin` and `end JSON`.
///
/// # Errors
/// When it fails, is not done in time, or had a single error: a figure with errors in it is none.
pub(crate) fn by_lines(client: Command, terms: Terms<'_>) -> anyhow::Result<Played> {
    let limit = Duration::from_secs_f64(terms.seconds) + GRACE;
    let mut running = Running::start(client, terms.cores)?;
    let (client, command) = (running.pid(), running.command().to_owned());
    running.line("begin", limit)?;
    let before = Taken::now(client, terms.server)?;
    let counting =
        terms.counter.map(|counter| counter.start(&[client, terms.server], terms.seconds)).transpose()?;
    let found = running.line("end", limit)?;
    let taken = Taken::now(client, terms.server)?.since(&before);
    let found: Found = serde_json::from_str(&found).with_context(|| format!("no finding: {found}"))?;
    let syscalls_a_second = counting.map(Counting::a_second).transpose()?;
    running.output(GRACE)?;
    let sample = sample(&found, &taken, syscalls_a_second)?;
    Ok(Played { sample, client: command })
}

/// CPU seconds, of the two processes and of the machine.
struct Taken {
    client: f64,
    server: f64,
    machine: f64,
}

impl Taken {
    /// Since each began.
    fn now(client: u32, server: u32) -> anyhow::Result<Self> {
        let [client, server] = [client, server].map(|pid| stat::cpu_seconds(&[pid]));
        Ok(Self { client: client?, server: server?, machine: stat::machine_seconds()? })
    }

    fn since(&self, before: &Self) -> Self {
        let (client, server) = (self.client - before.client, self.server - before.server);
        Self { client, server, machine: self.machine - before.machine }
    }

    /// Cores that were at work on anything else, over so many seconds.
    fn other_cores(&self, seconds: f64) -> f64 {
        f64::max((self.machine - self.client - self.server) / seconds, 0.0)
    }
}

fn sample(found: &Found, taken: &Taken, syscalls_a_second: Option<f64>) -> anyhow::Result<Sample> {
    anyhow::ensure!(found.errors == 0, "{} errors, one of them: {}", found.errors, found.first_error);
    anyhow::ensure!(found.asked > 0, "nothing was answered");
    let asked = found.asked as f64;
    Ok(Sample {
        asked: found.asked,
        seconds: found.seconds,
        p50_us: found.p50_us,
        p99_us: found.p99_us,
        p99_9_us: Some(found.p99_9_us),
        client_us: taken.client * 1e6 / asked,
        server_us: taken.server * 1e6 / asked,
        other_cores: taken.other_cores(found.seconds),
        syscalls: syscalls_a_second.map(|calls| calls * found.seconds / asked),
    })
}

/// What a tool says of its run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) asked: u64,
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
}

/// Runs a tool of another's to its end; `read` finds the figures in what it prints.
///
/// # Errors
/// When it fails or is not done in time, or `read` finds no figures.
pub(crate) fn whole(
    tool: Command,
    terms: Terms<'_>,
    read: impl FnOnce(&Output) -> anyhow::Result<Told>,
) -> anyhow::Result<Played> {
    // A tool's own time is told once it has ended.
    let now = || -> anyhow::Result<Taken> {
        let (client, server) = (stat::ended_children_seconds()?, stat::cpu_seconds(&[terms.server])?);
        Ok(Taken { client, server, machine: stat::machine_seconds()? })
    };
    let before = now()?;
    let started = Instant::now();
    let running = Running::start(tool, terms.cores)?;
    let command = running.command().to_owned();
    let output = running.output(Duration::from_secs_f64(terms.seconds * 10.0) + GRACE)?;
    let lasted = started.elapsed();
    let taken = now()?.since(&before);
    let told = read(&output).with_context(|| format!("after {lasted:?}"))?;
    anyhow::ensure!(told.asked > 0 && told.rate > 0.0, "nothing was answered");
    let asked = told.asked as f64;
    let sample = Sample {
        asked: told.asked,
        seconds: asked / told.rate,
        p50_us: told.p50_us,
        p99_us: told.p99_us,
        p99_9_us: None,
        client_us: taken.client * 1e6 / asked,
        server_us: taken.server * 1e6 / asked,
        other_cores: taken.other_cores(lasted.as_secs_f64()),
        syscalls: None,
    };
    Ok(Played { sample, client: command })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::puppet::puppet;

    fn terms() -> Terms<'static> {
        Terms { server: std::process::id(), cores: Cores::All, seconds: 0.1, counter: None }
    }

    fn client(deeds: &[&str]) -> anyhow::Result<Sample> {
        by_lines(puppet(deeds), terms()).map(|played| played.sample)
    }

    fn end(errors: u64) -> String {
        format!(
            r#"say end {{"asked":1000,"seconds":0.5,"errors":{errors},"first_error":"no value","p50_us":1.5,"p90_us":2,"p99_us":3,"p99_9_us":4,"max_us":5}}"#
        )
    }

    #[test]
    fn a_round_is_what_the_client_found_and_what_the_processes_took() {
        let sample = client(&["say begin", "work", &end(0)]).unwrap();
        assert_eq!(
            (sample.asked, sample.p50_us, sample.p99_9_us, sample.syscalls),
            (1000, 1.5, Some(4.0), None)
        );
        assert!((sample.rate() - 2000.0).abs() < 1e-9 && sample.server_us >= 0.0);
        // 50 ms for 1000 gets, less what it took before it began.
        assert!((10.0..200.0).contains(&sample.client_us), "{sample:?}");
    }

    #[test]
    fn a_round_with_an_error_is_none() {
        let said = client(&["say begin", &end(1)]).unwrap_err().to_string();
        assert_eq!(said, "1 errors, one of them: no value");
        assert!(client(&["say begin", &end(0), "fail"]).is_err(), "a client that finds a fault after all");
        assert!(client(&["say begin", "say end"]).is_err());
    }

    #[test]
    fn cpu_time_is_told_a_get() {
        let found = Found {
            asked: 1_000_000,
            seconds: 2.0,
            errors: 0,
            first_error: String::new(),
            p50_us: 1.0,
            p90_us: 1.0,
            p99_us: 1.0,
            p99_9_us: 1.0,
            max_us: 1.0,
        };
        let taken = Taken { client: 1.5, server: 0.5, machine: 2.6 };
        let sample = sample(&found, &taken, Some(50_000.0)).unwrap();
        assert_eq!((sample.client_us, sample.server_us, sample.cpu_us()), (1.5, 0.5, 2.0));
        assert_eq!(sample.syscalls, Some(0.1));
        assert!((sample.other_cores - 0.3).abs() < 1e-9);
    }

    #[test]
    fn a_tool_is_measured_from_its_start_to_its_end() {
        let read = |output: &Output| {
            let asked = output.printed.trim().rsplit('\n').next().unwrap_or_default();
            Ok(Told { asked: asked.parse()?, rate: 21.0, p50_us: 1.0, p99_us: 2.0 })
        };
        let sample = whole(puppet(&["work", "say 42"]), terms(), read).unwrap().sample;
        assert_eq!((sample.asked, sample.seconds), (42, 2.0));
        assert!(sample.client_us >= 40_000.0 / 42.0, "{sample:?}");
    }
}
