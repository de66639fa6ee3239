//! redis-benchmark: GET of random keys, over 64 connections, with so many requests at once on each.

use std::process::Command;

use anyhow::Context as _;

use crate::wire::measure::{Terms, Told, whole};
use crate::wire::programs::{Missing, Programs};
use crate::wire::results::Played;
use crate::wire::running::Output;

const HOW: &str = "Debian's package redis-tools has it";
pub(crate) const CONNECTIONS: usize = 64;

/// Where and how much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asks {
    pub(crate) port: u16,
    pub(crate) keys: u64,
    pub(crate) pipeline: usize,
}

/// One round. It is told a number of requests and no time, so it is told what takes about as long as the others.
pub(crate) fn round(programs: &Programs, asks: Asks, terms: Terms<'_>) -> anyhow::Result<Played> {
    // What two slow cores do a second; an order of magnitude is enough.
    let a_second = match asks.pipeline {
        1 => 60_000.0,
        2..=16 => 450_000.0,
        _ => 900_000.0,
    };
    let requests = (a_second * terms.seconds).ceil() as u64;
    let command = command(programs, asks, requests)?;
    whole(command, terms, |output| read(output, requests))
}

fn command(programs: &Programs, asks: Asks, requests: u64) -> Result<Command, Missing> {
    let mut command = programs.command("redis-benchmark", HOW)?;
    command.args(["-h", "127.0.0.1", "-p", &asks.port.to_string(), "-t", "get", "--csv"]);
    command.args(["-r", &asks.keys.to_string(), "-n", &requests.to_string()]);
    command.args(["-c", &CONNECTIONS.to_string(), "-P", &asks.pipeline.to_string()]);
    Ok(command)
}

/// `"test","rps","avg_latency_ms",…` and a line for GET.
fn read(output: &Output, asked: u64) -> anyhow::Result<Told> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().split(',').map(|cell| cell.trim_matches('"').to_owned()).collect()
    };
    let mut lines = output.printed.lines();
    let head = lines.clone().map(cells).find(|line| line.first().is_some_and(|cell| cell == "test"));
    let head = head.with_context(|| format!("redis-benchmark printed no table: {}", output.said))?;
    let row = lines
        .find(|line| line.starts_with("\"GET\""))
        .map(cells)
        .context("redis-benchmark has no row for GET")?;
    let number = |name: &str| -> anyhow::Result<f64> {
        let at =
            head.iter().position(|column| column == name).with_context(|| format!("no column {name}"))?;
        let cell = row.get(at).with_context(|| format!("no cell for {name}"))?;
        cell.parse().with_context(|| format!("{name} is {cell}"))
    };
    Ok(Told {
        asked,
        rate: number("rps")?,
        p50_us: number("p50_latency_ms")? * 1e3,
        p99_us: number("p99_latency_ms")? * 1e3,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(printed: &str) -> Output {
        Output { printed: printed.to_owned(), said: "Could not connect".to_owned() }
    }

    #[test]
    fn the_row_of_get_is_read_by_its_columns() {
        let printed = concat!(
            "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n",
            "\"GET\",\"53022.27\",\"0.607\",\"0.200\",\"0.551\",\"1.023\",\"1.511\",\"4.319\"\n",
        );
        let told = read(&output(printed), 1000).unwrap();
        assert_eq!(told, Told { asked: 1000, rate: 53022.27, p50_us: 551.0, p99_us: 1511.0 });
    }

    #[test]
    fn what_has_no_figures_is_an_error() {
        assert!(read(&output(""), 1).unwrap_err().to_string().contains("Could not connect"));
        assert!(read(&output("\"test\",\"rps\"\n\"SET\",\"1\"\n"), 1).is_err());
        assert!(read(&output("\"test\",\"rps\"\n\"GET\",\"nan?\"\n"), 1).is_err());
    }
}
