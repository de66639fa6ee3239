//! wrk: one thread, 64 kept connections, one URL. A client dearer than the others here, and one that everybody has.

use std::process::Command;

use anyhow::Context as _;

use crate::wire::measure::{Terms, Told, whole};
use crate::wire::programs::{Missing, Programs};
use crate::wire::results::Played;
use crate::wire::running::Output;

const HOW: &str = "Debian's package wrk has it";

/// One round, over whole seconds: at least one.
pub(crate) fn round(programs: &Programs, url: &str, terms: Terms<'_>) -> anyhow::Result<Played> {
    whole(command(programs, url, terms.seconds)?, terms, read)
}

fn command(programs: &Programs, url: &str, seconds: f64) -> Result<Command, Missing> {
    let mut command = programs.command("wrk", HOW)?;
    let seconds = format!("{:.0}s", f64::max(seconds, 1.0));
    command.args(["-t1", "-c64", "--latency", "-d", &seconds, url]);
    Ok(command)
}

fn read(output: &Output) -> anyhow::Result<Told> {
    let printed = &output.printed;
    for fault in ["Non-2xx", "Socket errors"] {
        if let Some(line) = printed.lines().find(|line| line.trim_start().starts_with(fault)) {
            anyhow::bail!("wrk: {}", line.trim());
        }
    }
    let behind = |name: &str| {
        let line = printed.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).with_context(|| format!("wrk does not say {name}: {}", output.said))
    };
    let requests = printed.lines().find_map(|line| line.trim().split_once(" requests in "));
    let (asked, _) = requests.context("wrk does not say how many requests it made")?;
    let rate = behind("Requests/sec:")?;
    Ok(Told {
        asked: asked.parse().with_context(|| format!("wrk made {asked} requests"))?,
        rate: rate.parse().with_context(|| format!("wrk made {rate} requests a second"))?,
        p50_us: micros(behind("50%")?)?,
        p99_us: micros(behind("99%")?)?,
    })
}

/// `1.18ms`, `812.00us`, `1.02s`.
fn micros(text: &str) -> anyhow::Result<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    let (number, unit) = units
        .iter()
        .find_map(|(unit, micros)| Some((text.strip_suffix(unit)?, micros)))
        .with_context(|| format!("{text} is no time"))?;
    Ok(number.parse::<f64>().with_context(|| format!("{text} is no time"))? * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
Running 3s test @ http://127.0.0.1:1/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     0.94ms  310.05us   9.10ms   92.29%
    Req/Sec    68.72k     3.01k   72.38k    83.33%
  Latency Distribution
     50%  812.00us
     75%    1.01ms
     90%    1.18ms
     99%    1.92ms
  205200 requests in 3.00s, 50.29MB read
Requests/sec:  68399.98
Transfer/sec:     16.76MB
";

    fn read_text(printed: &str) -> anyhow::Result<Told> {
        read(&Output { printed: printed.to_owned(), said: "unable to connect".to_owned() })
    }

    #[test]
    fn figures_are_read_with_their_units() {
        let told = read_text(PRINTED).unwrap();
        assert_eq!(told, Told { asked: 205_200, rate: 68_399.98, p50_us: 812.0, p99_us: 1920.0 });
        assert!((micros("1.02s").unwrap() - 1.02e6).abs() < 1e-6);
        assert!(micros("3m").is_err());
    }

    #[test]
    fn answers_that_are_no_hits_and_broken_connections_are_errors() {
        for fault in
            ["  Non-2xx or 3xx responses: 205200", "  Socket errors: connect 0, read 3, write 0, timeout 0"]
        {
            let said = read_text(&format!("{PRINTED}{fault}\n")).unwrap_err().to_string();
            assert!(said.contains(fault.trim()), "{said}");
        }
        assert!(read_text("").is_err());
    }
}
