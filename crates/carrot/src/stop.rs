//! How a process with nodes in it ends: by a signal, after what was begun, and at a second signal at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::node::RunningNode;

/// The signals that ask a node to stop.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen for them: from now on they no longer kill the process.
    pub fn begin() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Waits for a signal, then lets the nodes finish what they began; a second signal stops at once.
pub async fn stop_on(mut signals: Signals, nodes: Vec<RunningNode>) {
    signals.next().await;
    stop(signals, nodes).await;
}

/// Lets the nodes finish what they began; a signal stops at once.
pub async fn stop(mut signals: Signals, nodes: Vec<RunningNode>) {
    tracing::info!("stopping; a second signal stops at once");
    let stopping = async {
        let stops: Vec<_> = nodes.into_iter().map(|node| tokio::spawn(node.stop())).collect();
        for stop in stops {
            if let Ok(Some(cut)) = stop.await {
                tracing::warn!("{cut}");
            }
        }
    };
    tokio::select! {
        () = stopping => {}
        () = signals.next() => tracing::warn!("stopped at once"),
    }
}
