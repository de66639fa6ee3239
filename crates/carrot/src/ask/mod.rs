//! The commands that ask a running node: `get`, `set`, `remove`, `owner` and `stat`.
//!
//! Each command is a file, with its flags. It asks over HTTP what the node's fronts answer, as any client would, and
//! ends with an exit code that scripts can rely on. Nothing here knows how a node works, and nothing is kept.

mod call;
mod client;
mod counts;
mod error;
mod flags;
mod front;
mod get;
mod output;
mod owner;
mod panel;
mod payload;
mod remove;
mod set;
mod stat;
mod times;
mod url;

use clap::Subcommand;

use crate::ask::error::AskError;
pub use crate::ask::error::Failed;
use crate::ask::get::GetArgs;
use crate::ask::owner::OwnerArgs;
use crate::ask::remove::RemoveArgs;
use crate::ask::set::SetArgs;
use crate::ask::stat::StatArgs;
pub use crate::ask::url::{BadUrl, NodeUrl};

/// What a running node is asked.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Print the value of a key: its bytes and nothing else
    #[command(after_help = get::EXAMPLE)]
    Get(GetArgs),
    /// Keep a value under a key, at the node that owns it
    #[command(after_help = set::EXAMPLE)]
    Set(SetArgs),
    /// Forget keys, so that the next get loads them anew
    #[command(after_help = remove::EXAMPLE)]
    Remove(RemoveArgs),
    /// Say which node owns a key, and what each node holds of it
    #[command(after_help = owner::EXAMPLE)]
    Owner(OwnerArgs),
    /// Show what a node counts: a live table, or one shot
    #[command(after_help = stat::EXAMPLE)]
    Stat(StatArgs),
}

impl Ask {
    /// Asks, and prints what was answered.
    ///
    /// # Errors
    /// What could not be done, as lines to print and an exit code.
    pub fn run(self) -> Result<(), Failed> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AskError::Runtime)?;
        let done = runtime.block_on(async {
            match self {
                Self::Get(args) => Ok(args.run().await?),
                Self::Set(args) => Ok(args.run().await?),
                Self::Remove(args) => args.run().await,
                Self::Owner(args) => Ok(args.run().await?),
                Self::Stat(args) => Ok(args.run().await?),
            }
        });
        // The name of a host may still be looked up, in a thread that nobody can stop and nobody waits for.
        runtime.shutdown_background();
        done
    }
}
