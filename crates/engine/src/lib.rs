//! One process's memory: a bounded map of bytes, with eviction, expiry and exact weights.
//!
//! Keys and values are copied into one block per entry, beside a small `M` of the caller's own; a hit is a counted
//! handle on that block, which derefs to the value and stays valid after the entry is gone. The sum of the entries'
//! weights never exceeds the capacity, at any instant and over all shards; what does not fit is refused rather than
//! allowed to flush the rest. No async, no network, and no thread but the clock's.
//!
//! ```
//! use std::time::Duration;
//! use carrot_engine::{Cache, Clock, Weight};
//!
//! let clock = Clock::manual(); // or Clock::system(), the default
//! let scores = Cache::builder().capacity(2048).clock(clock.clone()).build();
//!
//! // Beside the value: when it was loaded. Charged by what it really takes. Served for a minute.
//! let loaded = clock.now();
//! let expires = loaded + Duration::from_secs(60);
//! let stored = scores.insert_if(b"Tom", b"630", loaded, Weight::Real, Some(expires), || true)?;
//!
//! let hit = scores.get(b"Tom").expect("it was just stored");
//! assert_eq!(&*hit, b"630");
//! assert_eq!(hit.meta(), loaded);
//! assert_eq!(scores.weight(), hit.weight());
//!
//! clock.advance(Duration::from_secs(60));
//! assert!(scores.get(b"Tom").is_none());
//! assert_eq!(&*stored, b"630"); // a handle outlives its entry
//! # Ok::<(), carrot_engine::Refused>(())
//! ```
//!
//! # Floors
//! Imports run down only:
//!
//! ```text
//!  7  lib
//!  6  insert  iter  loading  storing · walking · loading what is missing
//!  5  cache                  the handle, its builder, the other operations
//!  4  weight                 what an entry is charged, why it is refused
//!  3  shard                  a table, the order of use and the counters, under one lock
//!  2  lru                    the order of use
//!  1  block  budget          one allocation per entry · how much may be held
//!     flight  wheel          loads under way · what has expired
//!  0  clock  stats  sync     time · counts and causes · locks and atomics
//! ```
//!
//! Invariants: only `block` is unsafe; only `clock` reads a clock or waits; no thread holds two shards' locks; the
//! listener runs, and blocks are freed, outside all locks.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "in a test a panic is the report"))]

mod block;
mod budget;
mod cache;
mod clock;
mod flight;
mod insert;
mod iter;
mod loading;
mod lru;
mod shard;
mod stats;
mod sync;
mod weight;
#[allow(dead_code, reason = "the shards do not turn it yet")]
mod wheel;

pub use block::Hit;
pub use budget::Budget;
pub use cache::{Builder, Cache, Listener, Policy};
pub use clock::{Clock, Time};
pub use iter::Iter;
pub use loading::{Load, LoadError};
pub use stats::{Cause, Stats};
pub use weight::{Refused, Weight};
