//! `carrot serve`: one node, until it is told to stop.

use tokio::runtime::Handle;

use crate::config::flags::ServeArgs;
use crate::config::{self, Configured};
use crate::node::{RunningNode, with_advice};
use crate::plan::plan;
use crate::print::print_lines;
use crate::reload::{Hangups, Reloading};
use crate::stop::{Signals, stop};

/// Reads the configuration, opens the origins, starts the node on these runtimes, prints its listeners, and waits for a signal.
///
/// # Errors
/// Whatever keeps the node from starting whole.
pub async fn serve(args: ServeArgs, cores: Vec<Handle>) -> anyhow::Result<()> {
    let Configured { settings, sources, exposed } = config::read(args.clone(), &|name| std::env::var(name))?;
    let (mut signals, hangups) = (Signals::begin()?, Hangups::begin()?);
    for warning in [exposed, settings.open_to_others()].into_iter().flatten() {
        tracing::warn!("{warning}");
    }
    let started = RunningNode::start(plan(settings.clone(), &sources)?, &cores).await;
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
