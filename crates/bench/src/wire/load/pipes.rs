//! Our own client of servers over TCP, in a process of its own on one thread: RESP, memcached's meta commands or HTTP, as
//! many requests at once on a connection as it is told.

use std::process::Command;
use std::time::Duration;

use carrot_load::drive::Load;
use carrot_load::keys::{Law, Names};
use carrot_load::protocol::{Http, Meta, Protocol, Resp};

use crate::wire::load::told;
use crate::wire::measure::{Terms, by_lines};
use crate::wire::results::Played;

/// The subcommand by which the bench starts itself.
pub(crate) const CHILD: &str = "wire-pipes";

/// What is asked, of whom.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Pipes {
    #[arg(long)]
    pub(crate) port: u16,
    #[arg(long)]
    pub(crate) spoken: Spoken,
    #[arg(long)]
    pub(crate) connections: usize,
    /// Requests at once on a connection.
    #[arg(long)]
    pub(crate) depth: usize,
    #[arg(long)]
    pub(crate) keys: u64,
    /// Bytes of each value.
    #[arg(long)]
    pub(crate) size: usize,
    /// Seconds before it counts.
    #[arg(long)]
    pub(crate) warm: f64,
    /// Seconds that count.
    #[arg(long)]
    pub(crate) seconds: f64,
}

/// Which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Spoken {
    Resp,
    Meta,
    Http,
}

impl Spoken {
    fn word(self) -> &'static str {
        match self {
            Self::Resp => "resp",
            Self::Meta => "meta",
            Self::Http => "http",
        }
    }

    fn protocol(self, port: u16) -> Protocol {
        match self {
            Self::Resp => Protocol::Resp(Resp::default()),
            Self::Meta => Protocol::Meta(Meta),
            Self::Http => Protocol::Http(Http {
                path: "/v1/bench/".to_owned(),
                host: format!("127.0.0.1:{port}"),
                authorization: None,
            }),
        }
    }
}

impl Pipes {
    /// One round.
    pub(crate) fn round(self, terms: Terms<'_>) -> anyhow::Result<Played> {
        by_lines(self.command()?, terms)
    }

    fn command(self) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([CHILD, "--spoken", self.spoken.word()]);
        for (flag, number) in [
            ("--port", u64::from(self.port)),
            ("--connections", self.connections as u64),
            ("--depth", self.depth as u64),
            ("--keys", self.keys),
            ("--size", self.size as u64),
        ] {
            command.args([flag, &number.to_string()]);
        }
        command.args(["--warm", &self.warm.to_string(), "--seconds", &self.seconds.to_string()]);
        Ok(command)
    }

    /// Asks, in a process that does nothing else.
    ///
    /// # Errors
    /// When nobody is there.
    pub(crate) fn child(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let load = Load {
            host: "127.0.0.1".to_owned(),
            port: self.port,
            protocol: self.spoken.protocol(self.port),
            law: Law::Uniform(self.keys),
            names: Names::of_redis_benchmark(),
            connections: self.connections,
            depth: self.depth,
            rate: None,
            warm: Duration::from_secs_f64(self.warm),
            lasts: Duration::from_secs_f64(self.seconds),
            timeout: Duration::from_secs(10),
            seed: 1,
        };
        let mut found = runtime.block_on(load.run(told::edge))?;
        let tally = &mut found.tally;
        tally.errors_of("no value", tally.missing);
        if tally.value_bytes != tally.values * self.size as u64 {
            tally.error("a value of another length");
        }
        told::end(&found)
    }
}
