//! `carrot remove`: keys forgotten, one after the other.

use carrotcache::{GroupName, Key};
use clap::Args;

use crate::ask::call::Call;
use crate::ask::client::Client;
use crate::ask::error::{AskError, Failed};
use crate::ask::flags::{NodeFlags, key};

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot remove scores Tom
  carrot remove scores Tom Jack Sam

Each key is tried, whatever became of those before it; each that failed is a line on
standard error, and the exit code is the worst of all. A key that nobody holds is done.
--timeout is for all keys together.
Two kinds of copies live on for at most their ttl or 60 s: those of hot keys, mirrored
on other nodes, and what a stand-in loaded while the owner was down.
Exit codes: 0 done, 2 wrong usage, 3 refused or failed (no such group, unconfirmed,
password), 4 no answer of a carrot node.
CARROT_PASSWORD holds the node's password, if it has one.";

/// Flags of `carrot remove`.
#[derive(Debug, Args)]
pub struct RemoveArgs {
    /// The group
    group: GroupName,
    /// The keys
    #[arg(required = true, value_name = "KEY", value_parser = key())]
    keys: Vec<Key>,
    #[command(flatten)]
    node: NodeFlags,
}

impl RemoveArgs {
    /// Asks for one key after the other.
    ///
    /// # Errors
    /// Those that failed, each with its key where there were several.
    pub async fn run(self) -> Result<(), Failed> {
        let mut client = self.node.client()?;
        if let [only] = &self.keys[..] {
            return Ok(remove(&mut client, &self.group, only).await?);
        }
        let mut failures = Vec::new();
        for key in self.keys {
            if let Err(error) = remove(&mut client, &self.group, &key).await {
                failures.push((key, error));
            }
        }
        Failed::of_keys(&failures).map_or(Ok(()), Err)
    }
}

async fn remove(client: &mut Client, group: &GroupName, key: &Key) -> Result<(), AskError> {
    client.ask(&Call::remove(group, key)?).await.map(drop)
}
