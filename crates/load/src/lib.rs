//! Load for servers of key and value: who asks, for what, how fast, and how long the answers take.
//!
//! Two ways to ask. In a *closed loop* each connection asks again once it is answered: that finds how much a server
//! can do, and flatters its latency, since a server that stalls is not asked meanwhile. At a *planned rate* each request
//! has a time of its own, whatever became of those before, and its latency counts from that time: a stall is felt by all
//! that were planned in it.
//!
//! | module | what it does |
//! |---|---|
//! | [`histogram`] | latencies, to a hundredth part, in bounded memory |
//! | [`pace`] | the clock of a planned rate |
//! | [`window`] | the stretch of time that is counted |
//! | [`keys`] | which key is asked for next: uniform, or by Zipf's law |
//! | [`protocol`] | requests and answers of RESP, memcached's meta commands and HTTP/1.1, as bytes |
//! | [`drive`] | connections that ask by all of these |
//!
//! No more than one thread is taken by the clock; all else runs where it is called. Nothing is kept of a value but its
//! length.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

pub mod drive;
pub mod histogram;
pub mod keys;
pub mod pace;
pub mod protocol;
pub mod window;

mod connection;
mod tally;

pub use crate::tally::Tally;
