//! The network: bytes become `message.rs`, and `message.rs` becomes bytes.
//!
//! **Invariant:** the only sockets of the library are opened here. Nothing here decides anything about a value: who
//! owns it, whether it is kept and how long are the business of the floors below.

pub(crate) mod client;
pub mod dialect;
pub mod intake;
pub mod listen;
#[cfg(test)]
mod raw;
mod reply;
pub(crate) mod server;
mod tap;
mod target;
mod wire;
