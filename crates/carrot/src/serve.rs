//! `carrot serve`: one node, until it is told to stop.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carrotcache::Limits;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::node::{GroupPlan, NodePlan, RunningNode};
use crate::origin::{Allowance, Origin};
use crate::settings::{GroupSettings, LimitSettings, Settings};

/// Opens the origin, starts the node, prints its listeners, and waits for a signal.
///
/// # Errors
/// Whatever keeps the node from starting whole.
pub async fn serve(settings: Settings) -> anyhow::Result<()> {
    let signals = Signals::begin()?;
    let node = RunningNode::start(plan(settings)?).await?;
    print_lines(&node.listeners())?;
    stop_on(signals, vec![node]).await;
    Ok(())
}

fn plan(settings: Settings) -> anyhow::Result<NodePlan> {
    let Settings { node, cluster, limits, groups } = settings;
    let limits = limits_of(limits);
    Ok(NodePlan {
        name: node.name.or_else(|| default_name(node.peer.port())),
        url: node.url,
        peer: node.peer,
        http: node.http,
        admin: node.admin,
        peers: cluster.peers,
        dialect: cluster.dialect,
        placement: cluster.placement,
        groups: groups.into_iter().map(|group| group_of(group, &limits)).collect::<anyhow::Result<_>>()?,
        limits,
        drain: node.drain,
        password: node.password,
        hosts: node.hosts,
    })
}

fn limits_of(settings: LimitSettings) -> Limits {
    let mut limits = Limits::default();
    limits.key = settings.key;
    limits.value = settings.value;
    limits.connections = settings.connections.get() as usize;
    limits
}

fn group_of(settings: GroupSettings, limits: &Limits) -> anyhow::Result<GroupPlan> {
    let max_loads = settings.max_loads.get() as usize;
    let allowed = Allowance {
        load_deadline: settings.load_deadline,
        max_loads,
        value_max: limits.value,
        ttl: settings.ttl,
    };
    let origin = Origin::open(settings.origin, allowed)?;
    Ok(GroupPlan {
        name: settings.name,
        capacity: settings.capacity,
        ttl: settings.ttl,
        load_deadline: settings.load_deadline,
        max_loads,
        max_waiters: settings.max_waiters.get() as usize,
        hot: settings.hot,
        origin: Arc::new(origin),
        slowed: Duration::ZERO,
    })
}

/// Host name and peer port; `None` where the machine has no name, or the port is yet to be chosen: the library's own
/// choice, the peer address, serves then.
fn default_name(peer_port: u16) -> Option<String> {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let host = host.trim();
    (!host.is_empty() && peer_port != 0).then(|| format!("{host}:{peer_port}"))
}

/// Lines on standard output, whole and at once: whoever started the program may be waiting for them.
pub fn print_lines(lines: &[String]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for line in lines {
        writeln!(out, "{line}").context("standard output")?;
    }
    out.flush().context("standard output")
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
