//! `carrot serve`: one node, until it is told to stop.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use carrotcache::Limits;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::flags::ServeArgs;
use crate::config::sources::Sources;
use crate::config::{self, Configured};
use crate::node::{GroupPlan, NodePlan, RunningNode, with_advice};
use crate::origin::{Allowance, Origin};
use crate::reload::{Hangups, Reloading};
use crate::settings::name::Setting;
use crate::settings::{GroupSettings, LimitSettings, Settings};

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

/// What a node of these settings is started with; its origins are open by then.
///
/// # Errors
/// An origin that could never be asked, with the place where it was said.
pub fn plan(settings: Settings, sources: &Sources) -> anyhow::Result<NodePlan> {
    let Settings { node, cluster, limits, groups } = settings;
    let limits = limits_of(limits);
    let groups = groups.into_iter().enumerate().map(|(at, group)| {
        // Where the file has it: of several origins, which one.
        let place = sources.place(&Setting::at("group.origin", at));
        let opened = group_of(group, &limits);
        if let Some(place) = place { opened.context(place) } else { opened }
    });
    let groups = groups.collect::<anyhow::Result<_>>()?;
    Ok(NodePlan {
        name: node.name.or_else(|| default_name(node.peer.port())),
        url: node.url,
        peer: node.peer,
        http: node.http,
        admin: node.admin,
        peers: cluster.peers,
        dialect: cluster.dialect,
        placement: cluster.placement,
        groups,
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
        policy: settings.policy,
        origin: Arc::new(origin),
        slowed: Duration::ZERO,
    })
}

/// Host name and peer port; `None` where the machine has no name, or the port is yet to be chosen: the library's own
/// choice, the peer address, serves then.
pub fn default_name(peer_port: u16) -> Option<String> {
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
