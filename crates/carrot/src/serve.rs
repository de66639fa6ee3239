//! `carrot serve`: one node, until it is told to stop.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::flags::ServeArgs;
use crate::config::{self, Configured};
use crate::node::{RunningNode, with_advice};
use crate::plan::plan;
use crate::print::print_lines;
use crate::reload::{Hangups, Reloading};

/// Reads the configuration, opens the origins, starts the node, prints its listeners, and waits for a signal.
///
/// # Errors
/// Whatever keeps the node from starting whole.
pub async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let Configured { settings, sources, exposed } = config::read(args.clone(), &|name| std::env::var(name))?;
    let (mut signals, hangups) = (Signals::begin()?, Hangups::begin()?);
    for warning in [exposed, settings.node.open_to_others()].into_iter().flatten() {
        tracing::warn!("{warning}");
    }
    let started = RunningNode::start(plan(settings.clone(), &sources)?).await;
    let advice = |listener: &str| format!("set node.{listener} or --{listener}");
    let node = started.map_err(|fault| with_advice(fault, advice))?;
    print_lines(&node.listeners())?;
    tokio::select! {
        () = signals.next() => {}
        () = Reloading::new(hangups, args, settings).run(&node) => {}
    }
    stop(signals, vec![node]).await;
    Ok(())
}

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

    async fn next(&mut self) {
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
async fn stop(mut signals: Signals, nodes: Vec<RunningNode>) {
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
