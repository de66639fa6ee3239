//! What is asked for on the command line, by either program.

use std::process::ExitCode;

use clap::Parser;

use crate::{engine, placement, tables, wire};

/// Measures carrotcache's parts beside what one would use instead.
#[derive(Parser)]
#[command(name = "carrot-bench")]
enum Command {
    /// How evenly placement spreads keys, and what it costs.
    Placement,
    /// The engine beside other caches: hit ratio, speed, memory, latency.
    Engine(engine::Options),
    /// Remote gets and the fronts beside groupcache, Redis, memcached, nginx and Varnish.
    Wire(wire::Options),
    /// Makes the tables and plots in docs/ from results/.
    Tables,
    /// One engine's memory, in a process that does nothing else.
    #[command(hide = true)]
    EngineMemory {
        /// As in the tables.
        name: String,
        entries: usize,
    },
    /// A node that is asked by another process.
    #[command(hide = true, name = wire::NODE)]
    WireNode(wire::Pair),
    /// A node that asks another process.
    #[command(hide = true, name = wire::GETS)]
    WireGets(wire::Gets),
    /// A client of RESP, memcached's meta commands or HTTP.
    #[command(hide = true, name = wire::PIPES)]
    WirePipes(wire::Pipes),
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Placement => placement::run(),
        Command::Engine(options) => engine::run(&options),
        Command::Tables => tables::run(),
        Command::Wire(options) => wire::run(&options),
        Command::WireNode(pair) => wire::node(pair),
        Command::WireGets(gets) => gets.child(),
        Command::WirePipes(pipes) => pipes.child(),
        Command::EngineMemory { name, entries } => engine::child(&name, entries),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("carrot-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
