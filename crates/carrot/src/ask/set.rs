//! `carrot set`: a value for one key, from the command line or from standard input.

use std::ffi::OsString;
use std::io::{Read, stdin};
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;
use carrotcache::{GroupName, Key, Span};
use clap::Args;

use crate::ask::call::{Call, VALUE_MAX};
use crate::ask::error::AskError;
use crate::ask::flags::{NodeFlags, key};
use crate::some::SomeTime;

/// What help shows.
pub const EXAMPLE: &str = "\
Examples
  carrot set scores Tom 631
  carrot set scores Tom 631 --ttl 10m
  carrot set pages logo < logo.png
  printf - | carrot set scores Tom      a value that is a minus

A value on standard input is read whole before it is sent, at most 1GiB; how much of
that a node takes is its own limit (8MiB by default), and it refuses what is larger.
A set that was not confirmed, or not answered, may have been done all the same.
Exit codes: 0 done, 2 wrong usage, 3 refused or failed (no such group, too large,
unconfirmed, password), 4 no answer of a carrot node.
CARROT_PASSWORD holds the node's password, if it has one.";

/// Flags of `carrot set`.
#[derive(Debug, Args)]
pub struct SetArgs {
    /// The group
    group: GroupName,
    /// The key
    #[arg(value_parser = key())]
    key: Key,
    /// The value, without a line end; - or none: standard input, whole
    value: Option<OsString>,
    /// How long it is served [default: as long as the group's values]
    #[arg(long, value_name = "TIME")]
    ttl: Option<SomeTime>,
    #[command(flatten)]
    node: NodeFlags,
}

impl SetArgs {
    /// Reads the value, and sends it.
    ///
    /// # Errors
    /// Where the value cannot be read or is too large nothing was asked; else see `Client::ask`.
    pub async fn run(self) -> Result<(), AskError> {
        let value = match self.value {
            Some(value) if value != "-" => Bytes::from(value.into_vec()),
            _ => whole(stdin().lock(), VALUE_MAX.as_u64())?,
        };
        let call = Call::set(&self.group, &self.key, value, self.ttl.map(|SomeTime(ttl)| Span(ttl)))?;
        // The clock of the question runs from here: standard input may be somebody typing.
        self.node.client()?.ask(&call).await.map(drop)
    }
}

/// All that there is to read, unless it is more than `limit` bytes: then no more than that is read.
fn whole(input: impl Read, limit: u64) -> Result<Bytes, AskError> {
    let mut value = Vec::new();
    input.take(limit + 1).read_to_end(&mut value).map_err(AskError::Input)?;
    if value.len() as u64 > limit { Err(AskError::LongInput(VALUE_MAX)) } else { Ok(value.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_read_whole_up_to_its_limit_and_no_further() {
        assert_eq!(whole(&b"\0\xff\n"[..], 3).unwrap(), &b"\0\xff\n"[..]);
        assert_eq!(whole(&b""[..], 3).unwrap(), &b""[..]);
        assert!(matches!(whole(std::io::repeat(b'y'), 3), Err(AskError::LongInput(_))));
    }
}
