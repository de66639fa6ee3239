//! redis-server: one thread of IO, nothing on disk.

use super::fill::{Spoken, Values};
use super::{HOW, Server};
use crate::wire::programs::Programs;
use crate::wire::running::{Cores, Running, free_port};

/// Starts it, with these values in it.
///
/// # Errors
/// When it is not here or does not start.
pub(crate) fn start(programs: &Programs, values: Values, cores: Cores) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = programs.command("redis-server", HOW)?;
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--io-threads", "1"]);
    command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
    let server = Server::at(port, Running::start(command, cores)?)?;
    values.put(port, Spoken::Resp)?;
    Ok(server)
}
