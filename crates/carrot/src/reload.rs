//! SIGHUP: the configuration is read again while the node runs, and its list of peers takes effect.
//!
//! A file that cannot be read, or is wrong, changes nothing. What a running node cannot change is named in the log. Owned
//! by `serve`, in its one task: one reading at a time, and a stop abandons it.

use anyhow::Context;
use carrotcache::with_causes;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config;
use crate::config::changes::for_a_restart;
use crate::config::flags::ServeArgs;
use crate::node::RunningNode;
use crate::settings::Settings;

/// SIGHUP, heard from now on: it no longer kills the process.
pub struct Hangups(Signal);

impl Hangups {
    /// Begins to listen for it.
    pub fn begin() -> anyhow::Result<Self> {
        signal(SignalKind::hangup()).map(Self).context("signals")
    }
}

/// What a node was started with, and what of it has changed since.
pub struct Reloading {
    hangups: Hangups,
    args: ServeArgs,
    in_force: Settings,
}

impl Reloading {
    /// For a node with these settings, read from that command line.
    pub fn new(hangups: Hangups, args: ServeArgs, in_force: Settings) -> Self {
        Self { hangups, args, in_force }
    }

    /// Reads the file again on each SIGHUP, for as long as it is polled.
    pub async fn run(mut self, node: &RunningNode) {
        while self.hangups.0.recv().await.is_some() {
            if self.args.flags.config.is_none() {
                tracing::info!("SIGHUP: there is no --config to read again");
                continue;
            }
            match read(self.args.clone()).await {
                Ok(settings) => self.put_in_force(settings, node).await,
                Err(bad) => tracing::warn!("SIGHUP: nothing has changed: {bad}"),
            }
        }
        // No more can come; the node goes on.
        std::future::pending::<()>().await;
    }

    async fn put_in_force(&mut self, read: Settings, node: &RunningNode) {
        let waiting = for_a_restart(&self.in_force, &read);
        if !waiting.is_empty() {
            tracing::warn!("SIGHUP: these wait for a restart: {}", waiting.join(", "));
        }
        let peers = read.cluster.peers;
        if peers == self.in_force.cluster.peers {
            tracing::info!("SIGHUP: cluster.peers is as it was");
            return;
        }
        match node.set_peers(&peers).await {
            Ok(()) => {
                tracing::info!("SIGHUP: cluster.peers is in force: {}", listed(&peers));
                self.in_force.cluster.peers = peers;
            }
            Err(refused) => tracing::warn!("SIGHUP: nothing has changed: {}", with_causes(&refused)),
        }
    }
}

/// On a thread of its own: where a file system hangs, or the file has become a pipe, a stop must not wait for it.
async fn read(args: ServeArgs) -> anyhow::Result<Settings> {
    let reading = tokio::task::spawn_blocking(|| config::read(args, &|name| std::env::var(name)));
    Ok(reading.await??.settings)
}

/// The members of a list, as the log names them; an empty list leaves the node to itself.
fn listed(peers: &[String]) -> String {
    if peers.is_empty() { "none, this node is alone".to_owned() } else { peers.join(" ") }
}
