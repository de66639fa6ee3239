//! `carrot stat`: what a node counts, once or again and again.

use std::io::{IsTerminal, Write, stderr, stdout};

use clap::Args;
use tokio::time::MissedTickBehavior;

use crate::ask::call::Call;
use crate::ask::client::Client;
use crate::ask::counts::Snapshot;
use crate::ask::error::{AskError, Failed};
use crate::ask::flags::Patience;
use crate::ask::output::{self, Reader};
use crate::ask::panel::panel;
use crate::ask::url::NodeUrl;
use crate::line::in_one_line;
use crate::some::SomeTime;

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot stat                           a live table, until Ctrl-C
  carrot stat -1                        once, since the node's start
  carrot stat -1 --json                 the node's own numbers, for programs
  carrot stat --interval 10s >> log     a block every ten seconds

What is shown of each group, over the last interval and since the node's start
  gets      asked of this node, by its callers and by other nodes; /s: in each second
  memory    of those, found in this node's memory, among the keys it owns
  mirror    found among its copies of other nodes' hot keys
  shared    waited for what another get had asked for already
  fetched   asked of the key's owner
  loaded    asked of the origin; loads: how many those are
  saved     gets - fetches - loads: answered without asking anyone. Over all nodes
            these add up to what the origin was saved
  hit, fetch, load   how long each took: half of them (p50) and all but one in a
            hundred (p99) at most so long, estimated from a histogram. Hits are timed
            where one key is asked for over HTTP, and nowhere else
  evicted   entries that left for room; expired: for time, past their ttl
  trouble   what was refused or failed, if anything was
and of each member
  share     its part of all keys; state: up, resting (after failures) or untried
  requests  sent to it by this node

Exit codes: 0 done, 2 wrong usage, 3 refused or failed (password), 4 no answer of a
carrot node. CARROT_PASSWORD holds the node's password, if it has one.";

/// Clears a terminal and begins at its top.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// The exit code of a node that does not answer.
const UNREACHABLE: u8 = 4;

/// Flags of `carrot stat`.
#[derive(Debug, Args)]
pub struct StatArgs {
    /// Once, and not again and again
    #[arg(short = '1', long = "once")]
    once: bool,
    /// Print what the node answers, as it is
    #[arg(long)]
    json: bool,
    /// How long to wait in between
    #[arg(long, value_name = "TIME", default_value = "1s")]
    interval: SomeTime,
    /// The node's admin address
    #[arg(long, env = "CARROT_ADMIN_URL", value_name = "URL", default_value = "http://127.0.0.1:9990")]
    admin: NodeUrl,
    #[command(flatten)]
    patience: Patience,
}

/// What a node told.
struct Told {
    json: Vec<u8>,
    counts: Snapshot,
}

impl StatArgs {
    /// Asks and shows, once or until it is interrupted.
    ///
    /// # Errors
    /// See [`Client::ask`]. Once there was an answer, a node that does not answer is asked on.
    pub async fn run(self) -> Result<(), AskError> {
        if self.once {
            return self.show(&self.ask().await?, None).map(drop);
        }
        tokio::select! {
            _ = tokio::signal::ctrl_c() => Ok(()),
            ended = self.watch() => ended,
        }
    }

    async fn watch(&self) -> Result<(), AskError> {
        let mut ticks = tokio::time::interval(self.interval.0);
        // After a slow answer the next question waits its turn.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = None;
        loop {
            ticks.tick().await;
            match self.ask().await {
                Ok(told) => {
                    if self.show(&told, before.as_ref())? == Reader::Gone {
                        return Ok(());
                    }
                    before = Some(told.counts);
                }
                // It may be starting anew, and whoever watches wants to see it come back.
                Err(error) if error.exit_code() == UNREACHABLE && before.is_some() => complain(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// What the node tells now. Each question has its own time.
    async fn ask(&self) -> Result<Told, AskError> {
        let mut client = Client::new(self.admin.clone(), self.patience.timeout.0)?;
        let call = Call::stats();
        let reply = client.ask(&call).await?;
        Ok(Told { counts: client.read(&call, &reply)?, json: reply.body.to_vec() })
    }

    fn show(&self, told: &Told, before: Option<&Snapshot>) -> Result<Reader, AskError> {
        if self.json {
            return output::write_line(&told.json);
        }
        let panel = panel(&told.counts, before);
        let block = match (self.once, stdout().is_terminal()) {
            (true, _) => panel,
            (false, true) => format!("{CLEAR}{panel}"),
            (false, false) => format!("{panel}\n"),
        };
        output::write(block.as_bytes())
    }
}

fn complain(error: AskError) {
    for line in Failed::from(error).lines() {
        // With standard error gone there is nobody left to tell.
        let _ = writeln!(stderr(), "carrot: {}; asking on", in_one_line(line));
    }
}
