//! The network: bytes become `message.rs`, and `message.rs` becomes bytes.
//!
//! **Invariant:** the only sockets of the library are opened here. Nothing here decides anything about a value: who
//! owns it, whether it is kept and how long are the business of the floors below.

mod calls;
pub(crate) mod client;
pub(crate) mod cluster_name;
mod desk;
pub mod dialect;
mod driver;
mod frame;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzzing;
mod gets;
mod http1;
mod inbox;
pub mod intake;
mod link;
pub mod listen;
pub(crate) mod native;
mod outbox;
mod pacing;
mod plain;
pub mod quick;
#[cfg(test)]
mod raw;
pub(crate) mod reached;
mod read_ahead;
mod reply;
mod seldom;
pub(crate) mod server;
mod service;
pub(crate) mod session;
mod target;
mod turn;
mod unsent;
pub(crate) mod upgrade;
mod wire;
mod words;
