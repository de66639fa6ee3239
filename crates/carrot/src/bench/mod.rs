//! `carrot bench`: load against a running node, over HTTP or the Redis protocol; how much it answers, and how fast.
//!
//! What is asked for is looked through, then asked, then shown: rates, percentiles and errors by kind, for eyes or for
//! programs, and a plot. The node is asked as any client would; nothing of it is known here.

mod plot;
mod summary;
mod target;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use carrot_load::drive::Load;
use carrot_load::keys::{Law, Names, Zipf};
use carrotcache::{GroupName, Span};
use clap::Args;

use crate::bench::summary::Summary;
use crate::bench::target::Target;
use crate::bench::words::{Count, Popularity, Rate, Template};
use crate::plot::PlotFile;
use crate::print::print_whole;
use crate::secret::Secret;
use crate::some::SomeTime;

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot bench scores --keys 1000 --key 'user:{}'
  carrot bench scores --rate 5000 --duration 30s --keys-from keys.txt --zipf 0.99
  carrot bench scores --node redis://127.0.0.1:6380 --pipeline 16 --json
  carrot bench scores --rate 20000 --plot latency.svg

Without --rate each connection asks again once it is answered: that finds how much
the node can do, and flatters its latency, since a node that stalls is not asked
meanwhile. With --rate each request has its time, whatever became of those before,
and its latency counts from there: a stall is felt by all that were planned in it.
What could not be sent since the connections were too far behind is an error.

Every request is a GET of a key of the group. Keys are numbers from 0 in a text, or
the lines of a file; each is as likely as another, or by Zipf's law in proportion to
1/rank^S. A key that the group's origin does not have is counted as not found. What
is not in memory is loaded: the first seconds may be the origin's and not the node's.

Connections that break, and answers that do not come within --timeout, are errors of
their kind, and the load goes on. Nothing is set and nothing is removed. One request
goes ahead: a password or a group that the node does not take is said at once.

--json prints an object: node, group, connections, pipeline, rate (null without),
seconds, values, value_bytes, not_found, errors (kind: count), per_second,
latency_us (p50, p90, p99, p99_9, max), and percentiles: pairs of percent and µs.
The plot shows latency by percentile.
Exit codes: 0 done, 2 wrong usage, 3 nothing was answered, 4 cannot connect.
CARROT_PASSWORD holds the node's password, if it has one.";

/// The variable that holds the node's password.
const PASSWORD: &str = "CARROT_PASSWORD";

/// Arguments of `carrot bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The group
    group: GroupName,
    /// The node: http://HOST:PORT of its data front, or redis://HOST:PORT
    #[arg(long, env = "CARROT_NODE", value_name = "URL", default_value = "http://127.0.0.1:9999")]
    node: Target,
    /// Connections that ask
    #[arg(long, value_name = "N", default_value = "64")]
    connections: Count<10_000>,
    /// Requests that are written at once on a connection
    #[arg(long, value_name = "N", default_value = "1")]
    pipeline: Count<1000>,
    /// Requests a second of all connections together; without it each asks again once it is answered
    #[arg(long, value_name = "N")]
    rate: Option<Rate>,
    /// How long what is asked counts
    #[arg(long, value_name = "TIME", default_value = "10s")]
    duration: SomeTime,
    /// How long is asked before that; 0s for not at all
    #[arg(long, value_name = "TIME", default_value = "1s")]
    warm: Span,
    /// Different keys
    #[arg(long, value_name = "N", default_value = "100000")]
    keys: Count<100_000_000>,
    /// What keys are called: {} stands for the number
    #[arg(long, value_name = "TEXT", default_value = "key:{}")]
    key: Template,
    /// A file of keys, one a line, in place of numbers
    #[arg(long, value_name = "FILE", conflicts_with_all = ["keys", "key"])]
    keys_from: Option<PathBuf>,
    /// Ask by Zipf's law with this exponent, as in 0.99; without it all keys are asked for alike
    #[arg(long, value_name = "S")]
    zipf: Option<Popularity>,
    /// How long an answer may take, connecting included
    #[arg(long, value_name = "TIME", default_value = "10s")]
    timeout: SomeTime,
    /// Print an object for programs
    #[arg(long)]
    json: bool,
    /// Also draw latency by percentile into this file, .svg or .png; may be given again
    #[arg(long, value_name = "FILE")]
    plot: Vec<PlotFile>,
    /// The same seed asks for the same keys
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

/// Why a bench has no result.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Nobody takes connections there, or not those of this kind.
    #[error(transparent)]
    Unreachable(#[from] carrot_load::drive::DriveError),
    /// It wants a password, and none was sent. So it is said of the first request, as the next three are.
    #[error("{0} wants a password: set {PASSWORD}")]
    NoPassword(Target),
    /// It wants another password.
    #[error("{0} does not take the password in {PASSWORD}")]
    WrongPassword(Target),
    /// It has no such group.
    #[error("{node} has no group {group}")]
    NoGroup {
        /// As it was given.
        node: Target,
        /// As it was given.
        group: GroupName,
    },
    /// What answers there speaks something else.
    #[error("{node} does not answer as a front of a carrot node: {kind}")]
    Foreign {
        /// As it was given.
        node: Target,
        /// What is wrong with the answer.
        kind: String,
    },
    /// All went wrong; what most.
    #[error("{node} answered nothing: {kind}, {count} times")]
    Nothing {
        /// As it was given.
        node: Target,
        /// What most of the errors were.
        kind: String,
        /// How many of those.
        count: u64,
    },
}

impl BenchError {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Nothing { .. }
            | Self::NoPassword(_)
            | Self::WrongPassword(_)
            | Self::NoGroup { .. }
            | Self::Foreign { .. } => 3,
            Self::Unreachable(_) => 4,
        }
    }
}

/// Asks, and shows what came of it.
///
/// # Errors
/// Arguments that cannot be; a [`BenchError`]; a plot that cannot be written. Errors of single requests are a result.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    args.plot.iter().try_for_each(PlotFile::has_a_place)?;
    let load = load(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asking = async {
        let first = load.one().await?;
        if let Some(kind) = first.errors.keys().next()
            && let Some(refused) = refused_for_ever(args, kind)
        {
            return Err(refused);
        }
        Ok(load.run(|_| {}).await?)
    };
    let found = runtime.block_on(asking)?;
    // The name of a host may still be looked up, in a thread that nobody can stop and nobody waits for.
    runtime.shutdown_background();
    let tally = &found.tally;
    if let Some((kind, count)) = tally.errors.iter().max_by_key(|(_, count)| **count)
        && tally.values + tally.missing == 0
    {
        let (node, kind) = (args.node.clone(), kind.clone());
        return Err(BenchError::Nothing { node, kind, count: *count }.into());
    }
    let summary = Summary { node: &args.node, group: &args.group, load: &load, found: &found };
    let text = if args.json { summary.json()? } else { summary.text() };
    print_whole(&text)?;
    // Last, so that one that cannot be written takes nothing else away.
    for file in &args.plot {
        file.draw(&[plot::panel(&args.node, &args.group, &found)])?;
    }
    Ok(())
}

/// What a first answer of this kind says of all that would follow, if it does: another key or another moment changes
/// nothing.
fn refused_for_ever(args: &BenchArgs, kind: &str) -> Option<BenchError> {
    let node = args.node.clone();
    let is_given = std::env::var(PASSWORD).is_ok_and(|password| !password.is_empty());
    match kind {
        "unauthorized" | "NOAUTH" if is_given => Some(BenchError::WrongPassword(node)),
        "unauthorized" | "NOAUTH" => Some(BenchError::NoPassword(node)),
        "no_such_group" | "NOGROUP" => Some(BenchError::NoGroup { node, group: args.group.clone() }),
        garbled if garbled.starts_with("garbled") => {
            Some(BenchError::Foreign { node, kind: garbled.to_owned() })
        }
        _ => None,
    }
}

fn load(args: &BenchArgs) -> anyhow::Result<Load> {
    let password = std::env::var(PASSWORD).ok().filter(|password| !password.is_empty()).map(Secret::new);
    let (keys, names) = match &args.keys_from {
        Some(file) => {
            let names = words::lines(file)?;
            (names.len() as u64, Names::Listed(names))
        }
        None => (args.keys.0 as u64, args.key.names()),
    };
    let law = match &args.zipf {
        Some(Popularity(exponent)) => Law::Zipf(Arc::new(Zipf::new(keys as usize, *exponent))),
        None => Law::Uniform(keys),
    };
    let (host, port) = args.node.host_and_port();
    Ok(Load {
        host: host.to_owned(),
        port,
        protocol: args.node.protocol(&args.group, password.as_ref()).context(PASSWORD)?,
        law,
        names,
        connections: args.connections.0,
        depth: args.pipeline.0,
        rate: args.rate.map(|Rate(rate)| rate),
        warm: args.warm.0,
        lasts: args.duration.0,
        timeout: args.timeout.0,
        seed: args.seed,
    })
}
