//! A node of the library in a process of its own: it owns all keys that are asked for, and holds their values.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use carrotcache::{BoxError, ByteSize, Cluster, ClusterBuilder, Hot, Key};
use tokio::runtime::{Builder, Runtime};

use crate::wire::anchors::Serves;
use crate::wire::programs::{self, NODES};
use crate::wire::running::{Cores, Running, STARTS_WITHIN, free_port};

/// The subcommand by which the bench starts itself.
pub(crate) const CHILD: &str = "wire-node";
pub(crate) const GROUP: &str = "bench";
/// More than any row's values take.
const CAPACITY: ByteSize = ByteSize::mib(1024);

/// Two nodes, one of which is asked by the other.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Pair {
    /// The port of the node that is asked.
    #[arg(long)]
    pub(crate) owner: u16,
    /// The port of the node that asks.
    #[arg(long)]
    pub(crate) asker: u16,
    /// Bytes of each value.
    #[arg(long)]
    pub(crate) size: usize,
    /// Different keys.
    #[arg(long)]
    pub(crate) keys: u64,
    /// Whether they speak HTTP/1.1 alone, as to peers of other kinds.
    #[arg(long)]
    pub(crate) compatible: bool,
    /// Threads of each node's runtime.
    #[arg(long)]
    pub(crate) threads: usize,
}

/// The node that is asked.
pub(crate) struct Owner {
    pub(crate) pair: Pair,
    running: Running,
}

impl Pair {
    /// Appends the flags.
    pub(crate) fn tell(self, command: &mut Command) {
        for (flag, number) in [
            ("--owner", u64::from(self.owner)),
            ("--asker", u64::from(self.asker)),
            ("--size", self.size as u64),
            ("--keys", self.keys),
            ("--threads", self.threads as u64),
        ] {
            command.args([flag, &number.to_string()]);
        }
        if self.compatible {
            command.arg("--compatible");
        }
    }

    /// The runtime of either node. One thread is a runtime of its own kind: it wakes nobody.
    ///
    /// # Errors
    /// When the system gives none.
    pub(crate) fn runtime(self) -> std::io::Result<Runtime> {
        match self.threads {
            1 => Builder::new_current_thread().enable_all().build(),
            threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
        }
    }

    /// One of the two, about to be started.
    pub(crate) fn node(self, port: u16) -> ClusterBuilder {
        let members = [self.owner, self.asker].map(|port| format!("http://127.0.0.1:{port}"));
        let node = Cluster::bind(SocketAddr::from(([127, 0, 0, 1], port))).peers(members);
        if self.compatible { node.without_frames() } else { node }
    }
}

impl Owner {
    /// Starts it on a free port; the one for the asker is free now too.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(mut pair: Pair, cores: Cores) -> anyhow::Result<Self> {
        (pair.owner, pair.asker) = (free_port()?, free_port()?);
        let mut command = Command::new(programs::ours(NODES)?);
        command.arg(CHILD);
        pair.tell(&mut command);
        let mut running = Running::start(command, cores)?;
        running.line("ready", STARTS_WITHIN)?;
        Ok(Self { pair, running })
    }
}

impl Serves for Owner {
    fn running(&self) -> &Running {
        &self.running
    }
}

/// Runs the node that is asked, until standard input ends. Each key is loaded once: a second load is a fault that whoever
/// asked gets to see, since then a get was none of what is in memory.
///
/// # Errors
/// When it cannot start.
#[allow(clippy::print_stdout, reason = "the bench reads it")]
pub(crate) fn child(pair: Pair) -> anyhow::Result<()> {
    let runtime = pair.runtime()?;
    runtime.block_on(async {
        let cluster = pair.node(pair.owner).start().await?;
        let loads = Arc::new(AtomicU64::new(0));
        let group = cluster.group(GROUP).capacity(CAPACITY).hot(Hot::Off);
        let _group = group.open(move |key: Key| {
            let number = loads.fetch_add(1, Ordering::Relaxed);
            async move {
                let once = number < pair.keys;
                once.then(|| Some(vec![b'v'; pair.size]))
                    .ok_or_else(|| BoxError::from(format!("{key} was loaded twice")))
            }
        })?;
        println!("ready");
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await??;
        Ok(())
    })
}
