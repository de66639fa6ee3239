//! The servers that are measured, ours and others', each started anew for a row on a port of its own of this machine alone.
//!
//! Figures of others are with what their users would set for this machine: one thread of IO for redis, since more halve it
//! on two cores; meta commands for memcached, since only those are answered together; a large pool of idle connections
//! for Go's groupcache, whose default of two falls over, and that default beside it.

pub(crate) mod carrot;
pub(crate) mod fill;
pub(crate) mod groupcache;
pub(crate) mod memcached;
pub(crate) mod nginx;
pub(crate) mod redis;
pub(crate) mod varnish;

use std::net::SocketAddr;

use crate::wire::running::Running;

/// A server that takes connections.
pub(crate) struct Server {
    pub(crate) port: u16,
    running: Running,
}

/// What is measured of a server, whatever else is kept beside it.
pub(crate) trait Serves {
    /// Its process.
    fn running(&self) -> &Running;
}

impl Serves for Server {
    fn running(&self) -> &Running {
        &self.running
    }
}

impl Server {
    /// Waits until it takes them.
    fn at(port: u16, mut running: Running) -> anyhow::Result<Self> {
        running.accepts(address(port))?;
        Ok(Self { port, running })
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// How programs of Debian's packages are got.
const HOW: &str = "scripts/wire-anchors gets it";
