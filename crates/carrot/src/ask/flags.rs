//! The flags that several commands share, and how their words are read.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use carrotcache::Key;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::ask::client::Client;
use crate::ask::error::AskError;
use crate::ask::url::NodeUrl;
use crate::some::SomeTime;

/// Which node is asked for data.
#[derive(Debug, Args)]
pub struct NodeFlags {
    /// Any node of the cluster
    #[arg(long, env = "CARROT_NODE", value_name = "URL", default_value = "http://127.0.0.1:9999")]
    node: NodeUrl,
    #[command(flatten)]
    patience: Patience,
}

impl NodeFlags {
    /// A client of that node.
    ///
    /// # Errors
    /// See [`Client::new`].
    pub fn client(self) -> Result<Client, AskError> {
        Client::new(self.node, self.patience.timeout.0)
    }
}

/// How long a command waits.
#[derive(Clone, Copy, Debug, Args)]
pub struct Patience {
    /// How long an answer may take, connecting included
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub timeout: SomeTime,
}

/// Reads a key: any bytes that a command line can carry. How long it may be is the node's to say.
pub fn key() -> impl TypedValueParser<Value = Key> {
    OsStringValueParser::new().try_map(|text: OsString| match text.into_vec() {
        bytes if bytes.is_empty() => Err("a key has at least one byte"),
        bytes => Ok(Key::new(&bytes)),
    })
}
