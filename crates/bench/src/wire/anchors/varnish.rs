//! Varnish in front of an HTTP origin: values in memory, for an hour.

use super::carrot::Carrot;
use super::{HOW, Server, Serves};
use crate::wire::programs::Programs;
use crate::wire::running::{Cores, Running, free_port};

/// Varnish, what it is in front of, and its files.
pub(crate) struct Varnish {
    // In this order they are dropped: first who asks, then who is asked, then what both have on disk.
    pub(crate) server: Server,
    _origin: Carrot,
    _folder: tempfile::TempDir,
}

impl Serves for Varnish {
    fn running(&self) -> &Running {
        &self.server.running
    }
}

/// Starts it in front of this node.
///
/// # Errors
/// When it is not here or does not start.
pub(crate) fn start(programs: &Programs, origin: Carrot) -> anyhow::Result<Varnish> {
    let port = free_port()?;
    let folder = tempfile::tempdir()?;
    let mut command = programs.command("varnishd", HOW)?;
    command.args(["-F", "-j", "none", "-T", "none", "-s", "malloc,256m", "-p", "default_ttl=3600"]);
    command.args(["-a", &format!("127.0.0.1:{port}"), "-b", &format!("127.0.0.1:{}", origin.http)]);
    command.arg("-n").arg(folder.path());
    let server = Server::at(port, Running::start(command, Cores::All)?)?;
    Ok(Varnish { server, _origin: origin, _folder: folder })
}
