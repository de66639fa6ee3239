//! `carrot get`: the value of one key, byte for byte.

use carrotcache::{GroupName, Key};
use clap::Args;

use crate::ask::call::Call;
use crate::ask::error::AskError;
use crate::ask::flags::{NodeFlags, key};
use crate::ask::output;

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot get scores Tom
  carrot get pages a/b.html > b.html
  carrot get scores -- -1                a key that begins with a minus
  carrot get scores \"$(printf 'a\\nb')\"   a key with a line end

A key is any bytes. A value of more than 1GiB is not taken in.
Exit codes: 0 done, 1 the key has no value, 2 wrong usage, 3 refused or failed (no
such group, loader failed, busy, deadline, password), 4 no answer of a carrot node.
CARROT_PASSWORD holds the node's password, if it has one.";

/// Flags of `carrot get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// The group
    group: GroupName,
    /// The key
    #[arg(value_parser = key())]
    key: Key,
    #[command(flatten)]
    node: NodeFlags,
}

impl GetArgs {
    /// Asks, and writes the value.
    ///
    /// # Errors
    /// [`AskError::NotFound`] where the key has no value; nothing is written then, nor where the value did not come whole.
    pub async fn run(self) -> Result<(), AskError> {
        let mut client = self.node.client()?;
        let call = Call::get(&self.group, &self.key)?;
        let reply = client.ask(&call).await.map_err(or_not_found)?;
        if !reply.is_value() {
            return Err(client.stranger(&call, "its answer has no X-Cache that says where the value is from"));
        }
        output::write(&reply.body).map(drop)
    }
}

/// Of a key that was asked for by name, "not found" is an answer.
fn or_not_found(error: AskError) -> AskError {
    match error {
        AskError::Refused { word, message } if word == "not_found" => AskError::NotFound(message),
        other => other,
    }
}
