//! The Redis front: values over the Redis protocol, for any Redis client.
//!
//! Bytes become requests in `request`, requests are run by `commands`' table in the order in which they came, and what
//! comes of them becomes bytes in `reply`. Imports run down:
//!
//! ```text
//! port                                  the listener, and how it ends
//! connection  ahead  outgo  kept  end   one client: reads all there is, runs all of it, writes once
//! dispatch                              one request: may it run, is it queued, who runs it
//! commands                              the table: name, arity, who runs it
//! reads writes residents walk           GET and its kin · SET, DEL · what memory holds · SCAN
//! ends  flush                           EXPIRE and its kin · FLUSHALL
//! greet client describe info            HELLO, AUTH · CLIENT · COMMAND · INFO, CONFIG, SLOWLOG
//! command  keyspace  expiry  help       an entry of the table · `group:key` · times to live · HELP
//! session  front                        what a connection is · what all share
//! request  reply  refused  clients  slowlog  glob  integer  window
//! ```

mod ahead;
mod client;
mod clients;
mod command;
mod commands;
mod connection;
#[cfg(test)]
mod deadlines;
mod describe;
mod dispatch;
mod end;
mod ends;
mod expiry;
mod flush;
mod front;
mod glob;
mod greet;
mod help;
mod info;
mod integer;
mod kept;
mod keyspace;
mod outgo;
#[cfg(test)]
mod pipelines;
pub mod port;
mod reads;
mod refused;
mod reply;
mod request;
mod residents;
mod session;
mod slowlog;
mod walk;
mod window;
mod writes;

pub use front::{CountsSnapshot, Front, FrontPlan};
