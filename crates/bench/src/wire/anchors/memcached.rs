//! memcached: two threads, asked by meta commands.

use super::fill::{Spoken, Values};
use super::{HOW, Server};
use crate::wire::programs::Programs;
use crate::wire::running::{Cores, Running, free_port};

/// Starts it, with these values in it.
///
/// # Errors
/// When it is not here or does not start.
pub(crate) fn start(programs: &Programs, values: Values) -> anyhow::Result<Server> {
    let port = free_port()?;
    let mut command = programs.command("memcached", HOW)?;
    command.args([
        "-l",
        "127.0.0.1",
        "-p",
        &port.to_string(),
        "-U",
        "0",
        "-t",
        "2",
        "-m",
        "1024",
        "-c",
        "4096",
    ]);
    // Without it, it does not run as root.
    if rustix::process::geteuid().is_root() {
        command.args(["-u", "root"]);
    }
    let server = Server::at(port, Running::start(command, Cores::All)?)?;
    values.put(port, Spoken::Meta)?;
    Ok(server)
}
