//! What is measured: rows of contestants that are asked the same, and take turns.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::wire::anchors::fill::Values;
use crate::wire::anchors::groupcache::{self, Groupcache, Pool};
use crate::wire::anchors::{Serves, carrot, memcached, nginx, redis, varnish};
use crate::wire::load::gets::Callers;
use crate::wire::load::node::{Owner, Pair};
use crate::wire::load::pipes::{Pipes, Spoken};
use crate::wire::load::redis_benchmark::{self, Asks, CONNECTIONS};
use crate::wire::load::wrk;
use crate::wire::measure::Terms;
use crate::wire::programs::Programs;
use crate::wire::results::Played;
use crate::wire::running::Cores;
use crate::wire::syscalls::Counter;

// Who is measured, as the results call them.
pub(crate) const OURS: &str = "carrotcache";
pub(crate) const TUNED: &str = "groupcache, tuned";
pub(crate) const UNTUNED: &str = "groupcache, default";
pub(crate) const SERVE: &str = "carrot serve";
pub(crate) const REDIS: &str = "redis";
pub(crate) const MEMCACHED: &str = "memcached";
pub(crate) const NGINX: &str = "nginx";
pub(crate) const VARNISH: &str = "varnish";

/// A row of the table, by the name it is asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Row {
    Remote,
    Remote256,
    Many,
    Large,
    Paced,
    Single,
    Compatible,
    Resp1,
    Resp16,
    Resp64,
    RespCpu,
    Http,
    Wrk,
    Syscalls,
}

/// How much is asked for, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    pub(crate) programs: Programs,
    /// Where the Go program is built.
    pub(crate) built: PathBuf,
    pub(crate) warm: f64,
    pub(crate) seconds: f64,
    /// Different keys; of large values a tenth of them.
    pub(crate) keys: u64,
    /// Threads of our own nodes' runtimes.
    pub(crate) threads: usize,
}

/// A server that is running, as long as this is kept.
pub(crate) struct Playing {
    /// The command that runs it.
    pub(crate) server: String,
    /// One round of its client.
    pub(crate) round: Box<dyn FnMut() -> anyhow::Result<Played>>,
}

type Start = Box<dyn FnOnce(&Ground) -> anyhow::Result<Playing>>;

/// One that takes part in a row.
pub(crate) struct Contestant {
    pub(crate) subject: &'static str,
    start: Start,
}

impl Contestant {
    /// Starts its servers.
    ///
    /// # Errors
    /// When it is not here, or does not start.
    pub(crate) fn start(self, ground: &Ground) -> anyhow::Result<Playing> {
        (self.start)(ground).with_context(|| self.subject)
    }

    fn new(subject: &'static str, start: impl FnOnce(&Ground) -> anyhow::Result<Playing> + 'static) -> Self {
        Self { subject, start: Box::new(start) }
    }
}

/// Gets of another node's keys.
#[derive(Clone, Copy)]
struct Gets {
    callers: usize,
    batch: usize,
    size: usize,
    rate: Option<f64>,
    compatible: bool,
    cores: Cores,
    counted: bool,
}

/// 64 callers, 100 bytes, as fast as it goes.
const GETS: Gets = Gets {
    callers: 64,
    batch: 1,
    size: 100,
    rate: None,
    compatible: false,
    cores: Cores::All,
    counted: false,
};

/// Of a value that takes more copying than asking.
const LARGE: usize = 10_240;

impl Row {
    /// In the order of the table.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Remote,
        Self::Remote256,
        Self::Many,
        Self::Large,
        Self::Paced,
        Self::Single,
        Self::Compatible,
        Self::Resp1,
        Self::Resp16,
        Self::Resp64,
        Self::RespCpu,
        Self::Http,
        Self::Wrk,
        Self::Syscalls,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Remote => "remote",
            Self::Remote256 => "remote256",
            Self::Many => "many",
            Self::Large => "large",
            Self::Paced => "paced",
            Self::Single => "single",
            Self::Compatible => "compatible",
            Self::Resp1 => "resp1",
            Self::Resp16 => "resp16",
            Self::Resp64 => "resp64",
            Self::RespCpu => "resp-cpu",
            Self::Http => "http",
            Self::Wrk => "wrk",
            Self::Syscalls => "syscalls",
        }
    }

    /// In words.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Remote => "remote get, 100 B, 64 callers",
            Self::Remote256 => "remote get, 100 B, 256 callers",
            Self::Many => "64 callers: get_many(16), a key; a get",
            Self::Large => "remote get, 10 KB, 64 callers",
            Self::Paced => "remote get, 100 B, 10,000 a second planned, 64 callers",
            Self::Single => "one caller, 100 B, both sides on one core",
            Self::Compatible => "remote get over HTTP/1.1 and protobuf, 100 B, 64 callers",
            Self::Resp1 => "RESP GET hit, redis-benchmark, 64 connections, pipeline 1",
            Self::Resp16 => "RESP GET hit, redis-benchmark, 64 connections, pipeline 16",
            Self::Resp64 => "RESP GET hit, redis-benchmark, 64 connections, pipeline 64",
            Self::RespCpu => "GET hit, our client, 64 connections, pipeline 16",
            Self::Http => "HTTP API hit, and redis GET, our client, 64 connections",
            Self::Wrk => "HTTP hit, wrk, 64 connections",
            Self::Syscalls => "remote get, 100 B, 64 callers, system calls counted",
        }
    }

    /// Who takes part: ours first.
    pub(crate) fn contestants(self) -> Vec<Contestant> {
        match self {
            Self::Remote => vec![ours(GETS), go(TUNED, GETS), go(UNTUNED, GETS)],
            Self::Remote256 => {
                let gets = Gets { callers: 256, ..GETS };
                vec![ours(gets), go(TUNED, gets), go(UNTUNED, gets)]
            }
            Self::Many => vec![ours(Gets { batch: 16, ..GETS }), go(TUNED, GETS)],
            Self::Large => {
                let gets = Gets { size: LARGE, ..GETS };
                vec![ours(gets), go(TUNED, gets)]
            }
            Self::Paced => {
                let gets = Gets { rate: Some(10_000.0), ..GETS };
                vec![ours(gets), go(TUNED, gets)]
            }
            Self::Single => {
                vec![ours(Gets { callers: 1, cores: Cores::First, ..GETS }), piped_redis(1, Cores::First)]
            }
            Self::Compatible => vec![ours(Gets { compatible: true, ..GETS }), go(TUNED, GETS)],
            Self::Resp1 => by_redis_benchmark(1),
            Self::Resp16 => by_redis_benchmark(16),
            Self::Resp64 => by_redis_benchmark(64),
            Self::RespCpu => vec![serve(Spoken::Resp, 16), piped_memcached()],
            Self::Http => vec![serve(Spoken::Http, 1), piped_redis(64, Cores::All)],
            Self::Wrk => by_wrk(),
            Self::Syscalls => {
                let gets = Gets { counted: true, ..GETS };
                vec![ours(gets), go(TUNED, gets)]
            }
        }
    }
}

impl Ground {
    fn values(&self, size: usize) -> Values {
        // As many bytes in all of large values as a cache of some size has.
        let keys = if size >= LARGE { (self.keys / 10).max(1) } else { self.keys };
        Values { keys, size }
    }

    fn callers(&self, gets: Gets) -> Callers {
        let Gets { callers, batch, rate, .. } = gets;
        Callers { callers, batch, rate, warm: self.warm, seconds: self.seconds }
    }

    fn pipes(&self, port: u16, spoken: Spoken, connections: usize, depth: usize) -> Pipes {
        let (warm, seconds) = (self.warm, self.seconds);
        Pipes { port, spoken, connections, depth, keys: self.keys, size: GETS.size, warm, seconds }
    }

    fn counter(&self, gets: Gets) -> anyhow::Result<Option<Counter>> {
        gets.counted.then(|| Counter::new(&self.programs)).transpose()
    }
}

impl Playing {
    /// Rounds against a server that runs as long as these may be played.
    fn new<S: Serves + 'static>(
        server: S,
        cores: Cores,
        seconds: f64,
        counter: Option<Counter>,
        mut round: impl FnMut(&S, Terms<'_>) -> anyhow::Result<Played> + 'static,
    ) -> Self {
        let command = server.running().command().to_owned();
        let round = move || {
            let pid = server.running().pid();
            round(&server, Terms { server: pid, cores, seconds, counter: counter.as_ref() })
        };
        Self { server: command, round: Box::new(round) }
    }
}

fn ours(gets: Gets) -> Contestant {
    Contestant::new(OURS, move |ground| {
        let counter = ground.counter(gets)?;
        let Values { keys, size } = ground.values(gets.size);
        // One caller on one core has no use for a second thread.
        let threads = if gets.cores == Cores::First { 1 } else { ground.threads };
        let pair = Pair { owner: 0, asker: 0, size, keys, compatible: gets.compatible, threads };
        let (owner, callers) = (Owner::start(pair, gets.cores)?, ground.callers(gets));
        let round = move |owner: &Owner, terms: Terms<'_>| callers.round(owner, terms);
        Ok(Playing::new(owner, gets.cores, ground.seconds, counter, round))
    })
}

fn go(subject: &'static str, gets: Gets) -> Contestant {
    let pool = if subject == TUNED { Pool::Tuned } else { Pool::Default };
    Contestant::new(subject, move |ground| {
        let counter = ground.counter(gets)?;
        let server = groupcache::start(&ground.programs, &ground.built, ground.values(gets.size))?;
        let callers = ground.callers(gets);
        let round = move |server: &Groupcache, terms: Terms<'_>| server.round(pool, callers, terms);
        Ok(Playing::new(server, gets.cores, ground.seconds, counter, round))
    })
}

/// Rounds of our client.
fn piped(server: impl Serves + 'static, pipes: Pipes, cores: Cores) -> Playing {
    Playing::new(server, cores, pipes.seconds, None, move |_, terms| pipes.round(terms))
}

fn piped_redis(connections: usize, cores: Cores) -> Contestant {
    Contestant::new(REDIS, move |ground| {
        let server = redis::start(&ground.programs, ground.values(GETS.size), cores)?;
        let pipes = ground.pipes(server.port, Spoken::Resp, connections, 1);
        Ok(piped(server, pipes, cores))
    })
}

fn piped_memcached() -> Contestant {
    Contestant::new(MEMCACHED, |ground| {
        let server = memcached::start(&ground.programs, ground.values(GETS.size))?;
        let pipes = ground.pipes(server.port, Spoken::Meta, CONNECTIONS, 16);
        Ok(piped(server, pipes, Cores::All))
    })
}

fn serve(spoken: Spoken, depth: usize) -> Contestant {
    Contestant::new(SERVE, move |ground| {
        let node = carrot::start(ground.values(GETS.size))?;
        let port = if spoken == Spoken::Http { node.http } else { node.resp };
        Ok(piped(node, ground.pipes(port, spoken, CONNECTIONS, depth), Cores::All))
    })
}

fn by_redis_benchmark(pipeline: usize) -> Vec<Contestant> {
    let rounds = move |ground: &Ground, port: u16| {
        let (programs, asks) = (ground.programs.clone(), Asks { port, keys: ground.keys, pipeline });
        move |terms: Terms<'_>| redis_benchmark::round(&programs, asks, terms)
    };
    vec![
        Contestant::new(SERVE, move |ground| {
            let node = carrot::start(ground.values(GETS.size))?;
            let round = rounds(ground, node.resp);
            Ok(Playing::new(node, Cores::All, ground.seconds, None, move |_, terms| round(terms)))
        }),
        Contestant::new(REDIS, move |ground| {
            let server = redis::start(&ground.programs, ground.values(GETS.size), Cores::All)?;
            let round = rounds(ground, server.port);
            Ok(Playing::new(server, Cores::All, ground.seconds, None, move |_, terms| round(terms)))
        }),
    ]
}

fn by_wrk() -> Vec<Contestant> {
    vec![
        Contestant::new(SERVE, |ground| {
            let node = carrot::start(ground.values(GETS.size))?;
            let port = node.http;
            Ok(wrk_on(ground, port, node))
        }),
        Contestant::new(NGINX, |ground| {
            let nginx = nginx::start(&ground.programs, carrot::start(ground.values(GETS.size))?)?;
            let port = nginx.server.port;
            Ok(wrk_on(ground, port, nginx))
        }),
        Contestant::new(VARNISH, |ground| {
            let varnish = varnish::start(&ground.programs, carrot::start(ground.values(GETS.size))?)?;
            let port = varnish.server.port;
            Ok(wrk_on(ground, port, varnish))
        }),
    ]
}

fn wrk_on(ground: &Ground, port: u16, server: impl Serves + 'static) -> Playing {
    let programs = ground.programs.clone();
    let url = format!("http://127.0.0.1:{port}/v1/bench/key:000000000000");
    Playing::new(server, Cores::All, ground.seconds, None, move |_, terms| wrk::round(&programs, &url, terms))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_row_is_asked_for_by_the_name_that_results_have() {
        let named: Vec<String> = Row::value_variants()
            .iter()
            .map(|row| row.to_possible_value().unwrap().get_name().to_owned())
            .collect();
        assert_eq!(named, Row::ALL.iter().map(|row| row.name()).collect::<Vec<_>>());
    }

    #[test]
    fn ours_comes_first_in_each_row_and_somebody_elses_after_it() {
        for row in Row::ALL {
            let subjects: Vec<_> = row.contestants().iter().map(|contestant| contestant.subject).collect();
            assert!([OURS, SERVE].contains(&subjects[0]) && subjects.len() > 1, "{row:?}: {subjects:?}");
        }
    }
}
